"""SimCLR as lightly's examples have it; a family makes the views, and a monitor says what the backbone learns."""

import argparse

import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from solo_invariance import InvarianceMonitor
from solo_invariance.families import FamilyViews


class SimCLR(pl.LightningModule):
    def __init__(self, family, crop_size):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1])
        self.projection_head = SimCLRProjectionHead(512, 512, 128)
        self.criterion = NTXentLoss()
        self.views = FamilyViews(family, crop_size)

    def forward(self, x):
        x = self.backbone(x).flatten(start_dim=1)
        return self.projection_head(x)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        canvases, *others = batch
        return self.views(canvases), *others  # where the batch is

    def training_step(self, batch, batch_idx):
        x0, x1 = batch[0]
        loss = self.criterion(self.forward(x0), self.forward(x1))
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.06)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", help="a folder of images")
    parser.add_argument("--family", default="ventral")
    parser.add_argument("--crop-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", default="runs/lightly")
    args = parser.parse_args()

    pl.seed_everything(0)
    model = SimCLR(args.family, args.crop_size)
    dataset = LightlyDataset(args.photos, transform=model.views.canvas)
    dataloader = torch.utils.data.DataLoader(dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=2)

    monitor = InvarianceMonitor(backbone="backbone", every=5, data=args.photos, crop_size=args.crop_size)
    trainer = pl.Trainer(max_steps=args.steps, callbacks=[monitor], logger=CSVLogger(args.out), log_every_n_steps=1)
    trainer.fit(model, dataloader)
    trainer.save_checkpoint(f"{args.out}/simclr.ckpt")
