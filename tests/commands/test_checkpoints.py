"""Anybody's checkpoints, from the command line to the result."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from solo_invariance.backbones import Architecture
from solo_invariance.results import read_result

Cli = Callable[..., tuple[int, str, str]]
NETWORK = ("backbone.name=resnet10", "backbone.kwargs={width: 0.125}", "backbone.crop_size=32")
SMALL = ("data.name=latent_scenes", "data.num_images=8", "views=[]", "k=1", "num_images=2", "transforms=[hue]")


@pytest.fixture
def dino(tmp_path: Path) -> Path:
    """A file with a teacher and a student."""
    states = {}
    for seed, name in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        state = Architecture("resnet10", {"width": 0.125}).build().state_dict()
        states[name] = {f"module.backbone.{own}": value for own, value in state.items()}
    torch.save({**states, "epoch": 1}, tmp_path / "dino.pth")
    return tmp_path / "dino.pth"


def test_it_is_said_which_of_two_networks_was_measured(cli: Cli, dino: Path, tmp_path: Path) -> None:
    code, said, _ = cli("measure", *NETWORK, f"backbone.checkpoint={dino}", *SMALL, f"out={tmp_path / 'a'}")
    remark = (
        "dino.pth: the weights are those of teacher.module.backbone; backbone.weights chooses student.module.backbone"
    )
    assert code == 0
    assert said.count(remark) == 1
    record = read_result(tmp_path / "a" / "invariance.json").backbone
    assert (record.key, record.remarks) == ("teacher.module.backbone", (remark,))
    student = ("backbone.key=student", f"backbone.checkpoint={dino}")
    code, said, _ = cli("measure", *NETWORK, *student, "twin=true", *SMALL, f"out={tmp_path / 'b'}")
    assert code == 0
    assert "the weights are those" not in said
    assert read_result(tmp_path / "b" / "invariance.json").backbone.key == "student.module.backbone"
    assert read_result(tmp_path / "b" / "untrained" / "invariance.json").backbone.key is None
    first, second = (read_result(tmp_path / run / "invariance.json").transforms["hue"] for run in "ab")
    assert first.similarity.mean != second.similarity.mean


def test_transfer_and_fuse_say_it_too(cli: Cli, dino: Path, tmp_path: Path) -> None:
    task = ("task.name=hue", "task.num_train=40", "task.num_test=20", "folds=2", f"out={tmp_path / 't'}")
    code, said, _ = cli("transfer", *NETWORK, f"backbone.checkpoint={dino}", *task)
    assert (code, said.count("the weights are those of teacher.module.backbone")) == (0, 1)
    assert read_result(tmp_path / "t" / "transfer.json").backbone.key == "teacher.module.backbone"
    keys = f"{{checkpoint: {dino}, name: resnet10, kwargs: {{width: 0.125}}, crop_size: 32, mean: [0.5,0.5,0.5]}}"
    code, said, _ = cli("fuse", f"members=[{keys},{keys}]", f"out={tmp_path / 'fused.ckpt'}")
    assert (code, said.count("the weights are those of teacher.module.backbone")) == (0, 1)
    members = torch.load(tmp_path / "fused.ckpt", weights_only=True)["fusion"]["members"]
    assert [member["input"]["mean"] for member in members] == [(0.5, 0.5, 0.5)] * 2
    assert members[0]["provenance"]["key"] == "teacher.module.backbone"


def test_the_input_is_recorded_as_the_keys_say(cli: Cli, dino: Path, tmp_path: Path) -> None:
    keys = (
        "backbone.mean=[0.5,0.5,0.5]",
        "backbone.std=[0.2,0.2,0.2]",
        "backbone.interpolation=bicubic",
        "backbone.crop_pct=0.8",
    )
    code, _, _ = cli("measure", *NETWORK, f"backbone.checkpoint={dino}", *keys, *SMALL, f"out={tmp_path / 'a'}")
    assert code == 0
    result = json.loads((tmp_path / "a" / "invariance.json").read_text())
    assert result["backbone"]["input"] == {
        "crop_size": 32,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "interpolation": "bicubic",
        "crop_pct": 0.8,
    }
    assert result["geometry"] == {"resize": 40, "crop_size": 32}
    # Another input is another run: nothing is taken over.
    other = ("backbone.mean=[0.4,0.5,0.5]", *keys[1:])
    code, _, complaint = cli(
        "measure", *NETWORK, f"backbone.checkpoint={dino}", *other, *SMALL, f"out={tmp_path / 'a'}"
    )
    assert (code, len(complaint.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            ["backbone.mean=[123,116,103]"],
            "backbone.mean=[123, 116, 103]: expected numbers between 0 and 1; these are for 0 to 255",
        ),
        (["backbone.std=[0,1,1]"], "backbone.std=[0, 1, 1]: expected positive numbers"),
        (["backbone.interpolation=cubic"], "backbone.interpolation=cubic: expected one of bilinear, bicubic, nearest"),
        (["backbone.key=nobody"], "has the weights in student.module.backbone, teacher.module.backbone"),
        (["backbone.name=resnet50"], "it looks like backbone.name=resnet10 backbone.kwargs.width=0.125"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(
    cli: Cli, dino: Path, tmp_path: Path, keys: list[str], message: str
) -> None:
    arguments = (*NETWORK, *keys, f"backbone.checkpoint={dino}", *SMALL)
    code, _, complaint = cli("measure", *dict.fromkeys(arguments), f"out={tmp_path / 'out'}")
    assert code == 2
    assert message in complaint
    assert len(complaint.splitlines()) == 1
    assert not (tmp_path / "out").exists()
