"""``fuse`` in Python does what ``solo-invariance fuse`` does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_invariance import Backbone, TaskConfig, UserError, fuse, load_backbone, transfer
from solo_invariance.data import ImageFiles
from solo_invariance.features import ExtractionSettings, extract_features
from solo_invariance.fuse import FuseSettings
from solo_invariance.transfer import TransferSettings

_TASK = TaskConfig("hue", num_train=60, num_test=30, size=32)
_TASK_KEYS = ("task.name=hue", "task.num_train=60", "task.num_test=30", "task.size=32")
_REFERENCE_KEYS = ("reference.name=latent_scenes", "reference.num_images=40")


@pytest.fixture
def members(host_checkpoint) -> list[Path]:
    return [host_checkpoint("default"), host_checkpoint("ventral", 1, width=0.25)]


@pytest.mark.parametrize(
    ("mode", "keys", "arguments"),
    [
        ("concat", (), {}),
        (
            "standardized",
            _REFERENCE_KEYS,
            {"reference": "latent_scenes", "settings": FuseSettings(reference_images=40)},
        ),
        (
            "projected",
            (*_REFERENCE_KEYS, "width=8"),
            {"reference": "latent_scenes", "settings": FuseSettings(width=8, reference_images=40)},
        ),
        ("weighted", _TASK_KEYS, {"task": _TASK}),
        ("auto", (*_TASK_KEYS, "max_members=1"), {"task": _TASK, "settings": FuseSettings(max_members=1)}),
    ],
)
def test_python_fuses_what_the_command_fuses(cli, members, tmp_path: Path, mode, keys, arguments) -> None:
    listed = f"members=[{','.join(map(str, members))}]"
    code, _, err = cli("fuse", listed, f"mode={mode}", *keys, "device=cpu", f"out={tmp_path / 'cli' / 'fused.ckpt'}")
    assert code == 0, err
    paths = [str(path) for path in members]
    ours = fuse(paths, mode, device="cpu", out=tmp_path / "python" / "fused.ckpt", **arguments)
    contents = [torch.load(tmp_path / name / "fused.ckpt", weights_only=True) for name in ("cli", "python")]
    assert contents[0]["fusion"] == contents[1]["fusion"]
    for name, weights in contents[0]["state_dict"].items():
        assert torch.equal(weights, contents[1]["state_dict"][name]), name
    for name in ("fused.json", "args.json"):
        files = [tmp_path / one / name for one in ("cli", "python")]
        assert files[0].is_file() == files[1].is_file()
    if mode in ("weighted", "auto"):
        records: list[Any] = [json.loads((tmp_path / name / "fused.json").read_text()) for name in ("cli", "python")]
        assert records[0] == records[1]
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(ours(images), load_backbone(tmp_path / "cli" / "fused.ckpt")(images))


def test_a_fused_backbone_is_a_backbone_without_a_file(members, photo_folder: Path) -> None:
    loaded = [load_backbone(path) for path in members]
    fused = fuse(loaded, "standardized", reference=photo_folder / "train", device="cpu")
    assert isinstance(fused, Backbone)
    assert [member.provenance.label for member in fused.members] == ["default", "ventral"]
    assert len(fused.fitted_on) == 48
    files = ImageFiles(photo_folder / "val")
    features = extract_features(fused, files, ExtractionSettings(num_workers=0))
    alone = [extract_features(member, files, ExtractionSettings(num_workers=0)) for member in loaded]
    torch.testing.assert_close(features, fused.combine(alone))
    task = TaskConfig("folder", path=str(photo_folder))
    assert transfer(fused, task, TransferSettings(folds=2), device="cpu").only.backbone.num_features == 192


def test_any_module_can_be_a_member() -> None:
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    fused = fuse([Backbone.of(pooled, crop_size=16), pooled], "mean")
    assert (fused.num_features, fused.input_spec.crop_size) == (12, 224)
    assert pooled.training


def test_a_test_image_among_the_reference_images_is_refused(members, photo_folder: Path) -> None:
    task = TaskConfig("folder", path=str(photo_folder))
    with pytest.raises(UserError, match="24 of 24 test images are among those that the fusion is fitted to"):
        fuse(members, "weighted", reference=photo_folder, task=task, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": []}, "members: name the checkpoints to fuse"),
        ({"mode": "concatt"}, "did you mean 'concat'"),
        ({"reference": "photos"}, "reference.path: mode=concat is not fitted to images"),
        ({"task": "shape"}, "task.name: mode=concat is chosen without a task"),
        ({"mode": "standardized"}, "mode=standardized is fitted to images: name them"),
        ({"mode": "auto"}, "mode=auto: name the task that the members are chosen for"),
        ({"settings": FuseSettings(max_members=1)}, "max_members: mode=concat takes all members"),
        ({"out": "fused.txt"}, "solo-learn reads checkpoints called"),
        ({"export": "fused.onnx"}, "expected a name that ends in"),
    ],
)
def test_what_does_not_fit_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fuse(**{"members": ["random:resnet10"], "mode": "concat", "device": "cpu", **arguments})
