"""Folders of other programs, which say themselves what they hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from solo_invariance import load_backbone
from solo_invariance.backbones import BackboneConfig
from solo_invariance.backbones.files.folders import of_folder
from solo_invariance.errors import UserError

_VIT = {"depth": 1, "img_size": 32}


def _written_by_timm(folder: Path, name: str = "resnet10t", safe: bool = True, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=7, **kwargs).eval()
    timm.models._hub.save_for_hf(network, str(folder), model_args=kwargs, safe_serialization=safe)
    return network


def _change(folder: Path, **entries: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **entries}))


@pytest.mark.parametrize(("name", "kwargs"), [("resnet10t", {}), ("vit_tiny_patch16_224", _VIT)])
@pytest.mark.parametrize("safe", [True, False])
def test_a_folder_of_timms_brings_its_architecture_and_input(
    name: str, kwargs: dict[str, Any], safe: bool, tmp_path: Path
) -> None:
    network = _written_by_timm(tmp_path / "mine", name, safe, **kwargs)
    size = kwargs.get("img_size", 64)
    said = {"input_size": [3, size, size], "mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1], "interpolation": "bilinear"}
    _change(tmp_path / "mine", pretrained_cfg={"num_classes": 7, **said})
    backbone = load_backbone(tmp_path / "mine")
    images = torch.rand(2, 3, size, size)
    normalised = (images - torch.tensor(said["mean"])[:, None, None]) / torch.tensor(said["std"])[:, None, None]
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(normalised), pre_logits=True)
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-5)
    spec = backbone.input_spec
    assert (spec.crop_size, spec.mean, spec.std, spec.interpolation) == (
        size,
        (0.1, 0.2, 0.3),
        (0.3, 0.2, 0.1),
        "bilinear",
    )
    assert backbone.provenance.label == "mine"
    assert backbone.provenance.checkpoint == str(tmp_path / "mine")
    assert len(str(backbone.provenance.sha256)) == 64


def test_own_keys_win_over_those_of_a_folder(tmp_path: Path) -> None:
    _written_by_timm(tmp_path)
    backbone = load_backbone(tmp_path, crop_size=40, std=[0.5] * 3, label="mine")
    assert (backbone.input_spec.crop_size, backbone.input_spec.std) == (40, (0.5,) * 3)
    assert backbone.input_spec.mean == pytest.approx(timm.data.IMAGENET_DEFAULT_MEAN)
    assert backbone.provenance.label == "mine"
    _change(tmp_path, architecture="resnet18")
    named = load_backbone(tmp_path, name="timm:resnet10t", crop_size=40)
    assert (named.input_spec.crop_size, named.architecture.name) == (40, "timm:resnet10t")


def test_an_older_folder_of_timms_has_all_in_one(tmp_path: Path) -> None:
    _written_by_timm(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "resnet10t", "num_classes": 7, "input_size": [3, 48, 48], "mean": [0.5] * 3})
    )
    spec = load_backbone(tmp_path).input_spec
    assert (spec.crop_size, spec.mean) == (48, (0.5,) * 3)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"architecture": "resnet10x"}, r"timm:resnet10x.*timm has no such model"),
        ({"architecture": ["resnet18"]}, r"its config\.json names no architecture of timm"),
        ({"architecture": "resnet18"}, r"model\.safetensors"),
        ({"model_args": [1]}, r"model_args in its config\.json is \[1\], expected a mapping"),
        ({"pretrained_cfg": "x"}, r"pretrained_cfg in its config\.json is 'x', expected a mapping"),
        ({"pretrained_cfg": {"mean": ["a"]}}, r"config\.json: .*mean is \('a',\), expected three numbers"),
        ({"pretrained_cfg": {"input_size": 3}}, r"config\.json: "),
        ({"pretrained_cfg": {"input_size": [3, 9999, 9999]}}, r"config\.json: .*crop_size is 9999"),
    ],
)
def test_what_is_wrong_with_a_folder_of_timms(entries: dict[str, Any], message: str, tmp_path: Path) -> None:
    _written_by_timm(tmp_path)
    _change(tmp_path, **entries)
    with pytest.raises(UserError, match=message) as error:
        load_backbone(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_folder_of_timms_fetches_and_runs_nothing(tmp_path: Path) -> None:
    _written_by_timm(tmp_path)
    _change(tmp_path, model_args={"checkpoint_path": "https://nowhere.invalid/x.pth", "pretrained": True})
    assert load_backbone(tmp_path).num_features == 512


@pytest.mark.parametrize("key", ["weights", "heads"])
def test_keys_about_weights_are_refused_where_the_folder_says_what_they_are(key: str, tmp_path: Path) -> None:
    _written_by_timm(tmp_path)
    with pytest.raises(
        UserError, match=rf"backbone\.{key}: .*config\.json says what the weights of .* are; leave it out"
    ):
        load_backbone(tmp_path, **{key: {"weights": "student", "heads": ["fc"]}[key]})


@pytest.mark.parametrize("says", [{"model_type": "dinov2"}, {"architectures": ["ViTModel"]}])
def test_a_folder_of_transformers_is_one_for_that_source(says: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**says, "architecture": "resnet18"}))
    found = of_folder(BackboneConfig(checkpoint=str(tmp_path), crop_size=56))
    assert (found.checkpoint, found.name, found.crop_size) == (None, f"hf:{tmp_path}", 56)


def test_a_configuration_that_says_nothing(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "weights.pth")
    (tmp_path / "config.json").write_text('{"width": 3}')
    with pytest.raises(UserError, match=r"config\.json: has no architecture .*model_type .*; set backbone\.name"):
        load_backbone(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config\.json: the document must be a mapping"):
        load_backbone(tmp_path)


def test_the_folder_of_a_run_is_its_checkpoint(host_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = host_checkpoint("ventral", 1)
    images = torch.rand(2, 3, 32, 32)
    of_run = load_backbone(checkpoint.parent)
    assert torch.equal(of_run(images), load_backbone(checkpoint)(images))
    assert of_run.provenance == load_backbone(checkpoint).provenance
    for epoch in (9, 99, 10):
        (checkpoint.parent / f"ventral-ep={epoch}.ckpt").write_bytes(checkpoint.read_bytes())
    expected = (
        r"is a directory with 4 checkpoints \(.* and 1 more\): name one of them, backbone\.checkpoint=.*ep=99\.ckpt$"
    )
    with pytest.raises(UserError, match=expected):
        load_backbone(checkpoint.parent)


def test_a_folder_of_other_things_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"with neither config\.json nor a checkpoint in it \(it is empty\)"):
        load_backbone(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        (tmp_path / name).write_text("")
    (tmp_path / "x.ckpt").mkdir()
    with pytest.raises(UserError, match=r"\(it has a\.jpg, b\.jpg, c\.jpg and 2 more\); name a file, or a folder of"):
        load_backbone(tmp_path)
