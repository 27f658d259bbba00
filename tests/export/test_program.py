import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from solo_invariance import export, load_backbone
from solo_invariance.backbones import Backbone, InputSpec, Provenance, ViewsConfig
from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.fused import network_of
from solo_invariance.errors import UserError
from solo_invariance.fuse import Standardized, fit_fusion

_TINY: dict[str, Any] = {"kwargs": {"width": 0.125}, "crop_size": 32}
_READER = """
import sys, importlib.abc
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("solo_invariance", "timm", "torchvision", "kornia"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import torch
found = {}
for path, batches in torch.load("images.pt").items():
    network = torch.export.load(path).module() if path.endswith("pt2") else torch.jit.load(path)
    with torch.no_grad():
        found[path] = [network(batch) for batch in batches]
torch.save(found, "features.pt")
"""


def _fused() -> Backbone:
    members = []
    for seed, size in enumerate((32, 48)):
        torch.manual_seed(seed)
        architecture = Architecture("resnet10", {"width": 0.125})
        spec = InputSpec(size, (0.5,) * 3, (0.25,) * 3)
        members.append(Backbone(architecture.build(), architecture, spec, Provenance(f"member{seed}")))
    features = [torch.randn(20, 64), torch.randn(20, 64)]
    return fit_fusion(members, Standardized, "standardized", features=features)


_BACKBONES: dict[str, Callable[[], Backbone]] = {
    "ResNet": lambda: load_backbone("random:resnet10", **_TINY),
    "layers": lambda: load_backbone("random:resnet10", layer=["layer2", "layer4"], **_TINY),
    "ViT": lambda: load_backbone("random:timm:vit_tiny_patch16_224", kwargs={"depth": 1, "img_size": 32}, crop_size=32),
    "torchvision": lambda: load_backbone("random:torchvision:mobilenet_v3_small", crop_size=32),
    "fused": _fused,
}


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    return {kind: make() for kind, make in _BACKBONES.items()}


def _shapes(backbone: Backbone, end: str) -> list[tuple[int, int, int, int]]:
    size = backbone.input_spec.crop_size
    return [(1, 3, size, size), (5, 3, size, size), *([(2, 3, 70, 50)] if end == "ts" else [])]


@pytest.fixture(scope="module")
def read_elsewhere(
    backbones: dict[str, Backbone], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Images and their features, by a process that has neither this package nor those that built the networks."""
    folder = tmp_path_factory.mktemp("programs")
    images = {}
    for kind, backbone in backbones.items():
        for end in ("pt2", "ts"):
            export(backbone, folder / f"{kind}.{end}")
            images[f"{kind}.{end}"] = [torch.rand(shape) for shape in _shapes(backbone, end)]
    torch.save(images, folder / "images.pt")
    command = [sys.executable, "-W", "ignore", "-c", _READER]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    features = torch.load(folder / "features.pt")
    return {name: [*zip(batches, features[name], strict=True)] for name, batches in images.items()}


@pytest.mark.parametrize("end", ["pt2", "ts"])
@pytest.mark.parametrize("kind", _BACKBONES)
def test_another_process_has_the_same_features_for_any_number_of_images(
    kind: str, end: str, backbones: dict[str, Backbone], read_elsewhere: dict[str, list[tuple[Tensor, Tensor]]]
) -> None:
    network = network_of(backbones[kind]) if kind == "fused" else backbones[kind]
    found = read_elsewhere[f"{kind}.{end}"]
    assert len(found) == (3 if end == "ts" else 2)
    for images, features in found:
        with torch.no_grad():
            torch.testing.assert_close(features, network(images), atol=1e-5, rtol=1e-5)


def test_torch_exports_refuse_images_of_another_size(tmp_path: Path) -> None:
    network = torch.export.load(export(_BACKBONES["ResNet"](), tmp_path / "network.pt2")).module()
    with pytest.raises((AssertionError, RuntimeError)):  # which one depends on the version
        network(torch.rand(2, 3, 48, 48))


class _Odd(nn.Module):
    """Features by a step that looks at the images' number, which a trace turns into a constant."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * float(len(images))


class _Branching(nn.Module):
    """Features that a program cannot have: what is computed depends on values."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) if float(images.mean()) > 0.3 else images.amax((2, 3))


def test_what_would_give_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"out=.*odd\.ts: the exported network gives other features for 1 images"):
        export(_Odd(), tmp_path / "odd.ts")
    with pytest.raises(UserError, match=r"out=.*branching\.pt2: _Branching cannot be exported \(.+\)$"):
        export(_Branching(), tmp_path / "branching.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["pt2", "ts"])
def test_averages_over_views_are_refused(end: str, tmp_path: Path) -> None:
    averaged = load_backbone("random:resnet10", views=ViewsConfig("ventral", 2), **_TINY)
    with pytest.raises(UserError, match=r"averaged over views need solo-invariance.*; export to a folder"):
        export(averaged, tmp_path / f"network.{end}")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_module_of_ones_own_is_exported_as_it_is(tmp_path: Path) -> None:
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    network = torch.jit.load(export(Backbone.of(pooled, crop_size=8), tmp_path / "pooled.ts"))
    images = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(network(images), Backbone.of(pooled, crop_size=8)(images))


@pytest.mark.parametrize("end", ["pt2", "ts"])
def test_a_file_of_the_same_backbone_is_written_again_and_no_other(end: str, tmp_path: Path) -> None:
    path = tmp_path / f"network.{end}"
    export(_BACKBONES["ResNet"](), path)
    export(_BACKBONES["ResNet"](), path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"network\.{end}: holds another backbone \(now random:resnet10, 64 features"):
        export(load_backbone("random:resnet10", 1, **_TINY), path)
    assert path.read_bytes() == before
    for content in (b"", b"something else", None):
        if content is None:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("extra/notes.txt", "something else")
        else:
            path.write_bytes(content)
        with pytest.raises(UserError, match="is there already, and export did not write it"):
            export(_BACKBONES["ResNet"](), path)


@pytest.mark.parametrize("name", ["network.onnx", "network.pth", "network.safetensors"])
def test_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    expected = r"expected a name that ends in \.pt2 \(torch\.export\) or \.ts \(TorchScript\), or a folder"
    with pytest.raises(UserError, match=expected):
        export("random:resnet10", tmp_path / name)
