"""A model's own input, by its name as by a file of its weights, and what keys say in its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as F

from solo_invariance.backbones import Backbone, BackboneConfig, InputSpec, load_backbone
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.data.sources import DatasetImages, with_interpolation, with_short_side
from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache, extract_features
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.fuse import fuse
from solo_invariance.measure import InvarianceMeasurement, MeasureSettings

NARROW = {"width": 0.125}


def _saved(path: Path, network: torch.nn.Module) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    "name", ["test_vit", "vit_tiny_patch16_224", "resnet18.a1_in1k", "convnext_atto", "test_byobnet"]
)
def test_timms_input_by_name_and_by_file(tmp_path: Path, name: str) -> None:
    network = timm.create_model(name)
    own = timm.data.resolve_data_config(model=network)
    path = _saved(tmp_path / "weights.pth", network)
    for backbone in (load_backbone(f"random:timm:{name}"), load_backbone(path, name=f"timm:{name}")):
        spec = backbone.input_spec
        assert (spec.crop_size, spec.mean, spec.std) == (own["input_size"][-1], own["mean"], own["std"])
        assert spec.interpolation == own["interpolation"]
    assert backbone.describe()["input"]["mean"] == own["mean"]


def test_timms_network_sees_what_timm_shows_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=0).eval()
    backbone = load_backbone(_saved(tmp_path / "weights.pth", network), name="timm:test_vit")
    config = timm.data.resolve_data_config(model=network)
    transform = timm.data.create_transform(**{**config, "crop_pct": 1.0})
    size, pixels = config["input_size"][-1], torch.randint(0, 256, (3, 160, 160), dtype=torch.uint8)
    assert size == 160
    with torch.no_grad():
        expected = network(transform(Image.fromarray(pixels.permute(1, 2, 0).numpy()))[None])
    torch.testing.assert_close(backbone(pixels[None] / 255), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
def test_torchvisions_input_by_name_and_by_file(tmp_path: Path, name: str) -> None:
    path = _saved(tmp_path / "weights.pth", torchvision.models.get_model(name, weights=None))
    own = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    for backbone in (load_backbone(f"random:torchvision:{name}"), load_backbone(path, name=f"torchvision:{name}")):
        spec = backbone.input_spec
        assert (spec.crop_size, spec.mean, spec.std) == (own.crop_size[0], tuple(own.mean), tuple(own.std))
        assert spec.interpolation == own.interpolation.value


def test_torchvisions_input_is_that_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several weights of one architecture, those that are named, or whose hash the file has."""
    name, path = "squeezenet1_1", _saved(tmp_path / "a.pth", torchvision.models.squeezenet1_1(weights=None))
    known = torchvision.models.get_model_weights("regnet_y_16gf")
    monkeypatch.setattr("torchvision.models.get_model_weights", lambda name: known)  # of 224 and of 384 pixels
    named = load_backbone(path, name=f"torchvision:{name}", kwargs={"weights": "IMAGENET1K_SWAG_E2E_V1"})
    assert (named.input_spec.crop_size, named.input_spec.interpolation) == (384, "bicubic")
    assert load_backbone(path, name=f"torchvision:{name}").input_spec.crop_size == 224
    beginning = known["IMAGENET1K_SWAG_E2E_V1"].value.url.removesuffix(".pth").rpartition("-")[2]
    monkeypatch.setattr("solo_invariance.backbones.load.sha256_of", lambda path: beginning + "0" * 56)
    assert load_backbone(path, name=f"torchvision:{name}").input_spec.crop_size == 384


def test_keys_win(host_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "nearest",
        "crop_size": 48,
        "crop_pct": 0.75,
    }
    expected = InputSpec(48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "nearest", 0.75)
    bare = _saved(tmp_path / "bare.pth", load_backbone("random:resnet10", kwargs=NARROW).network)
    for source, more in (
        (host_checkpoint(), {}),
        (bare, {"name": "resnet10", "kwargs": NARROW}),
        ("random:resnet10", {"kwargs": NARROW}),
    ):
        backbone = load_backbone(source, **more, **keys)
        assert backbone.input_spec == expected
        images = torch.rand(2, 3, 48, 48)
        normalised = (images - torch.tensor(keys["mean"])[:, None, None]) / torch.tensor(keys["std"])[:, None, None]
        torch.testing.assert_close(backbone(images), backbone.network(normalised))


def test_a_key_mends_what_args_have_wrong(host_checkpoint: Callable[..., Path]) -> None:
    path = host_checkpoint()
    args = json.loads((path.parent / "args.json").read_text())
    args["augmentations"][0]["mean"] = "unknown"
    (path.parent / "args.json").write_text(json.dumps(args))
    with pytest.raises(
        UserError, match="mean is 'unknown', expected three numbers; the same key of backbone overrides"
    ):
        load_backbone(path)
    assert load_backbone(path, mean=[0.5] * 3).input_spec.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mean": [0.5, 0.5]}, r"backbone\.mean=\[0\.5, 0\.5\]: expected three numbers"),
        ({"mean": 0.5}, r"backbone\.mean=0\.5: expected three numbers"),
        ({"mean": ["a", 0, 0]}, "expected three numbers"),
        ({"mean": [float("nan"), 0, 0]}, r"backbone\.mean=nan: expected a finite number"),
        ({"mean": [True, 0, 0]}, "expected three numbers"),
        ({"mean": [123.675, 116.28, 103.53]}, "these are for 0 to 255, divide them by 255"),
        ({"std": [58.395, 57.12, 57.375]}, "these are for 0 to 255, divide them by 255"),
        ({"mean": [-0.1, 0, 0]}, "expected numbers between 0 and 1"),
        ({"std": [0, 0.5, 0.5]}, "expected positive numbers"),
        ({"std": [-1, 0.5, 0.5]}, "expected positive numbers"),
        ({"interpolation": "cubic"}, r"backbone\.interpolation=cubic: expected one of bilinear, bicubic, nearest"),
        ({"crop_pct": 1.5}, r"backbone\.crop_pct=1\.5: expected a fraction from 0\.1 to 1"),
        ({"crop_pct": 87.5}, "expected a fraction"),
        ({"crop_size": 0}, r"backbone\.crop_size=0: expected at least 1"),
        ({"crop_size": 10**6}, "expected at most 4096 pixels"),
    ],
)
def test_values_that_are_none(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BackboneConfig(name="random:resnet10", **keys)


def test_keys_of_a_checkpoint_are_not_read_without_one() -> None:
    for keys in ({"weights": "teacher"}, {"key": "teacher"}, {"heads": ["g"]}):
        with pytest.raises(UserError, match=rf"backbone\.{next(iter(keys))}: .*set backbone\.checkpoint"):
            BackboneConfig(name="random:resnet10", **keys)


def test_a_fusion_keeps_what_its_members_want(tmp_path: Path) -> None:
    vit = _saved(tmp_path / "vit.pth", timm.create_model("test_vit"))
    members = [
        BackboneConfig(checkpoint=str(vit), name="timm:test_vit"),
        BackboneConfig(name="random:resnet10", kwargs=NARROW, crop_size=32, mean=[0.5] * 3, std=[0.25] * 3),
    ]
    fused = fuse(members, out=tmp_path / "fused.ckpt")
    again = load_backbone(tmp_path / "fused.ckpt")
    assert [member.input_spec for member in again.members] == [member.input_spec for member in fused.members]
    assert [member.input_spec.interpolation for member in again.members] == ["bicubic", "bilinear"]
    assert again.members[1].input_spec.mean == (0.5,) * 3
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(again(images), torch.cat([member(images) for member in fused.members], 1))
    with pytest.raises(UserError, match=r"backbone\.mean: .*fused\.ckpt is a fused one"):
        load_backbone(tmp_path / "fused.ckpt", mean=[0.5] * 3)


def test_older_fused_checkpoints_are_still_read(tmp_path: Path) -> None:
    fused = fuse([BackboneConfig(name="random:resnet10", kwargs=NARROW, crop_size=32)])
    save_fused(fused, tmp_path / "fused.ckpt")
    content = torch.load(tmp_path / "fused.ckpt", weights_only=True)
    member = content["fusion"]["members"][0]
    for section, names in (("input", ("interpolation", "crop_pct")), ("provenance", ("key", "remarks"))):
        for name in names:
            del member[section][name]
    torch.save(content, tmp_path / "old.ckpt")
    assert load_backbone(tmp_path / "old.ckpt").members[0].input_spec == InputSpec(32)


def _pixels() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_a_backbone_resizes_as_it_wants(interpolation: str) -> None:
    backbone = Backbone.of(_pixels(), 8, (0.0,) * 3, (1.0,) * 3, interpolation=interpolation)
    images = torch.rand(2, 3, 19, 23)
    mode = F.InterpolationMode(interpolation)
    expected = F.resize(images, [8, 8], mode, antialias=True).clamp(0, 1)
    torch.testing.assert_close(backbone(images), expected.flatten(1))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_sources_resize_as_pillow_does(photo_folder: Path, interpolation: str) -> None:
    files = ImageFiles(photo_folder / "val")
    picture = Image.open(files.paths[0])
    pixels = F.pil_to_tensor(picture)
    expected = F.pil_to_tensor(F.resize(picture, 24, F.InterpolationMode(interpolation)))
    for source in (files, TensorImages(pixels[None]), DatasetImages([(picture, 0)])):
        sized = with_short_side(with_interpolation(source, interpolation), 24)
        assert torch.equal(sized[0], expected)
        assert with_interpolation(sized, interpolation) is sized
    digests = {
        with_short_side(with_interpolation(files, how), 24).digest(0) for how in ("bilinear", "bicubic", "nearest")
    }
    assert len(digests) == 3


@pytest.mark.parametrize(("protocol", "expected"), [("clean", "bicubic"), ("paper", "bilinear")])
def test_images_are_measured_as_the_backbone_wants_them(protocol: Any, expected: str) -> None:
    backbone = Backbone.of(_pixels(), 14, (0.0,) * 3, (1.0,) * 3, interpolation="bicubic")
    images = TensorImages(
        torch.randint(0, 256, (300, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    )
    measurement = InvarianceMeasurement(backbone, images, MeasureSettings(protocol=protocol))
    sized = with_short_side(with_interpolation(images, expected), 16)
    first = sized[0][:, 1:15, 1:15][None] / 255
    torch.testing.assert_close(measurement.clean_features(images, [0]).cpu(), backbone(first))


def test_crop_pct_is_of_the_short_side_that_images_are_resized_to() -> None:
    # timm: scale_size = floor(img_size / crop_pct)
    for size, pct in ((224, 0.9), (224, 0.95), (224, 0.875), (384, 1.0), (160, 0.94)):
        assert InputSpec(size, crop_pct=pct).resize_for(size) == int(size / pct)
    for side in range(224, 448):  # a fraction that a whole number was divided to
        assert InputSpec(224, crop_pct=224 / side).resize_for(224) == side
    assert InputSpec(32).resize_for(32) == 37  # the paper's 8/7
    backbone = Backbone.of(_pixels(), 32)
    backbone.input_spec = InputSpec(32, crop_pct=0.5)
    images = TensorImages(torch.randint(0, 256, (300, 3, 40, 40), dtype=torch.uint8))
    assert InvarianceMeasurement(backbone, images, MeasureSettings()).geometry == (64, 32)


def test_features_are_kept_by_all_that_the_input_is(feature_cache: Path) -> None:
    images = TensorImages(torch.randint(0, 256, (5, 3, 20, 30), dtype=torch.uint8))
    specs: list[dict[str, Any]] = [{}, {"mean": (0.1,) * 3}, {"std": (0.1,) * 3}, {"interpolation": "bicubic"}]
    backbones = [Backbone.of(_pixels(), 8, **spec) for spec in specs]
    assert len({digest_of_backbone(backbone) for backbone in backbones}) == len(specs)
    for _ in range(2):  # computed, then found
        found = [extract_features(backbone, images, cache=FeatureCache.default()) for backbone in backbones]
        fresh = [extract_features(backbone, images) for backbone in backbones]
        assert all(map(torch.equal, found, fresh))
        assert not any(torch.equal(found[0], other) for other in found[1:])
