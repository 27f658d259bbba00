"""The cost of measuring over the forward passes alone, and of rendering the embedded images."""

from collections.abc import Iterator

import torch

from benchmarks.timing import Comparison, compare
from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.data.images import TensorImages
from solo_invariance.data.latent_scenes import LatentScenes
from solo_invariance.hosts.plugins import load_plugin
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings


def run(device: torch.device) -> Iterator[Comparison]:
    count, k, crop = 16, 16, 112
    backbone = load_backbone(BackboneConfig(name="random:resnet18", crop_size=crop)).to(device)
    source = TensorImages(torch.randint(0, 256, (64, 3, 128, 128), dtype=torch.uint8))
    settings = MeasureSettings(k=k, num_images=count, geometry=Geometry(128, crop), batch_size=64)
    measurement = InvarianceMeasurement(backbone, source, settings)
    ready = torch.rand(64, 3, crop, crop, device=device)

    def floor() -> None:
        with torch.inference_mode():
            for _ in range(count * (k + 1) // 64):
                backbone(ready)
        if device.type == "cuda":
            torch.cuda.synchronize()

    for name in ("rotation", "hue", "blur", "translation"):
        transform = load_plugin("transforms", name)
        yield compare(
            f"measure {name}",
            lambda name=name, transform=transform: measurement.measure_transform(name, transform, source),
            "the forward passes alone",
            floor,
            pairs=5,
            target=1 / 1.10,
            note=f"{count} images x {k} parameters, ResNet-18 at {crop} px",
        )
    yield compare(
        "render 200 LatentScenes",
        lambda: LatentScenes(200, size=64).images,
        "two seconds (100 images a second)",
        lambda: __import__("time").sleep(2),
        target=1.0,
        note="64 px",
    )
