"""SimCLR in a loop of plain PyTorch; a family makes the views, and the backbone is measured at the end."""

import argparse
from itertools import chain, islice, repeat
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from solo_invariance import MeasureSettings, measure
from solo_invariance.families import FamilyViews
from solo_invariance.measure import ResizeCrop


def contrast(first, second, temperature=0.1):
    """The normalised temperature-scaled cross entropy of Chen et al. (2020), of projections (N, D) of two views."""
    z = F.normalize(torch.cat([first, second]))
    similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(z), device=z.device).roll(len(first)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", help="a folder with a folder of images for each class")
    parser.add_argument("--family", default="ventral")
    parser.add_argument("--crop-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runs/plain_pytorch"))
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = torchvision.models.resnet18()
    backbone.fc = nn.Identity()
    projector = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))
    model = nn.Sequential(backbone, projector).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9)

    views = FamilyViews(args.family, args.crop_size)
    dataset = torchvision.datasets.ImageFolder(args.photos, transform=views.canvas, loader=views.canvas.load)
    loader = DataLoader(dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=2)

    if not len(loader):
        parser.error(f"{len(dataset)} images make no batch of {args.batch_size}: set --batch-size")
    batches = chain.from_iterable(repeat(loader))
    for step, (canvases, _) in enumerate(islice(batches, args.steps)):
        first, second = views([canvases.pixels.to(device), canvases.extent])
        loss = contrast(model(first), model(second))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(backbone.state_dict(), args.out / "simclr.pth")
    settings = MeasureSettings(k=8, num_images=64, geometry=ResizeCrop.of_crop(args.crop_size))
    result = measure(backbone, args.photos, ["rotation", "resized_crop", "hue", "grayscale"], settings).only
    for name, transform in result.transforms.items():
        print(f"{name}: similarity {transform.similarity.mean:.3f}")
