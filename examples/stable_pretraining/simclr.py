"""SimCLR as stable-pretraining has it; a family makes the views, and a monitor says what the backbone learns."""

import argparse
from pathlib import Path

import lightning as pl
import stable_pretraining as spt
import torchvision
from stable_pretraining.forward import simclr
from torch import nn
from torch.utils.data import DataLoader

from solo_invariance import InvarianceMonitor
from solo_invariance.families import FamilyViews


def forward(self, batch, stage):
    if self.training:  # the views of a batch of canvases, where it is
        batch["views"] = [{"image": view, "label": batch["label"]} for view in self.views(batch["image"])]
    return simclr(self, batch, stage)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", help="a folder with a folder of images for each class")
    parser.add_argument("--family", default="ventral")
    parser.add_argument("--crop-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runs/stable_pretraining"))
    args = parser.parse_args()

    spt.set(cache_dir=str(args.out.resolve()))
    views = FamilyViews(args.family, args.crop_size)
    backbone = spt.backbone.from_torchvision("resnet18")
    backbone.fc = nn.Identity()
    module = spt.Module(
        forward=forward,
        views=views,
        backbone=backbone,
        projector=nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 128)),
        simclr_loss=spt.losses.NTXEntLoss(temperature=0.5),
        optim={"optimizer": {"type": "AdamW", "lr": 1e-3}},
    )

    images = torchvision.datasets.ImageFolder(args.photos, transform=views.canvas, loader=views.canvas.load)
    dataset = spt.data.FromTorchDataset(images, names=["image", "label"])
    train = DataLoader(dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=2)
    data = spt.data.DataModule(train=train)

    monitor = InvarianceMonitor(backbone="backbone", every=5, data=args.photos, crop_size=args.crop_size)
    trainer = pl.Trainer(max_steps=args.steps, callbacks=[monitor], log_every_n_steps=1)
    spt.Manager(trainer=trainer, module=module, data=data, seed=0)()
    trainer.save_checkpoint(args.out / "simclr.ckpt")
