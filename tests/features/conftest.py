from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.data.images import TensorImages
from solo_invariance.features import FeatureCache, extract


def _network(width: int) -> nn.Module:
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


@pytest.fixture
def make_backbone() -> Callable[..., Backbone]:
    """Make a backbone of one random convolution; its ``seen`` is how many images it was given."""

    def make(seed: int = 0, crop_size: int = 8, width: int = 5, **changes: object) -> Backbone:
        torch.manual_seed(seed)
        architecture = Architecture("resnet10", {"width": width})
        spec = InputSpec(crop_size, **changes)  # type: ignore[arg-type]
        backbone = Backbone(_network(width), architecture, spec, Provenance(f"member{seed}"))
        backbone.seen = 0  # type: ignore[assignment]

        def count(module: nn.Module, inputs: tuple[Tensor]) -> None:
            backbone.seen += len(inputs[0])  # type: ignore[assignment, operator]

        backbone.register_forward_pre_hook(count)
        return backbone

    return make


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> TensorImages:
    """Ten images of 10 x 12 pixels, in units of four."""
    monkeypatch.setattr(extract, "_UNIT", 4)
    generator = torch.Generator().manual_seed(0)
    return TensorImages(torch.randint(256, (10, 3, 10, 12), dtype=torch.uint8, generator=generator))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", 10**6)
