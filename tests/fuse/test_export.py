from pathlib import Path

import pytest
import torch

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.backbones.fused import network_of
from solo_invariance.errors import UserError
from solo_invariance.fuse import Standardized, fit_fusion
from solo_invariance.fuse.export import export_network


@pytest.fixture
def fused() -> Backbone:
    members = []
    for seed, size in enumerate((32, 48)):
        torch.manual_seed(seed)
        architecture = Architecture("resnet10", {"width": 0.125})
        spec = InputSpec(size, (0.5,) * 3, (0.25,) * 3)
        members.append(Backbone(architecture.build(), architecture, spec, Provenance(f"member{seed}")))
    features = [torch.randn(20, 64), torch.randn(20, 64)]
    return fit_fusion(members, Standardized, "standardized", features=features)


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("fused.pt2", lambda path: torch.export.load(path).module()),
        pytest.param("fused.ts", torch.jit.load, marks=pytest.mark.filterwarnings("ignore:.*torch.jit")),
    ],
)
def test_the_exported_network_gives_the_same_features_for_any_number_of_images(fused, name, load, tmp_path) -> None:
    export_network(fused, tmp_path / name)
    network = load(tmp_path / name)
    shapes = [(1, 3, 48, 48), (5, 3, 48, 48)]
    if name.endswith(".ts"):
        shapes += [(2, 3, 32, 32), (2, 3, 70, 50)]
    else:
        with pytest.raises((AssertionError, RuntimeError)):  # which one depends on the version
            network(torch.rand(2, 3, 32, 32))
    for shape in shapes:
        images = torch.rand(shape)
        torch.testing.assert_close(network(images), network_of(fused)(images), atol=1e-5, rtol=1e-5)


def test_another_format_is_refused(fused, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.pt2 \(torch\.export\) or \.ts"):
        export_network(fused, tmp_path / "fused.onnx")
