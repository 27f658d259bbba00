"""Checkpoints of runs that are there belong to the arm that would train as they were trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.study import StudyConfig
from solo_invariance.errors import UserError
from solo_invariance.study.checkpoints import plan_of
from solo_invariance.study.plan import Pretraining


def _settings(*overrides: str) -> StudyConfig:
    return as_object(compose_command("study", overrides), StudyConfig)


def _run(folder: Path, family: str | None = "ventral", seed: int = 0, name: str = "resnet10w025", **keys: Any) -> Path:
    folder.mkdir()
    entry = {} if family is None else {"family": family}
    args = {"augmentations": [entry], "seed": seed, "backbone": {"name": name, "kwargs": {}}, **keys}
    (folder / "args.json").write_text(json.dumps(args))
    torch.save({"state_dict": {"backbone.weight": torch.zeros(1)}}, folder / "a.ckpt")
    return folder / "a.ckpt"


def test_checkpoints_belong_to_the_arm_of_their_family_and_seed(tmp_path: Path) -> None:
    path = _run(tmp_path / "a", "dorsal")
    plan = plan_of(_settings(f"study.checkpoints=[{path}]"))
    assert plan.checkpoints == {Pretraining("dorsal", 0): path}
    assert Pretraining("dorsal", 0) not in plan.to_train


ARMS = """study.arms={
    long: {family: dorsal, pretrain: {max_epochs: 24}},
    kept: {family: dorsal, pretrain: {max_epochs: 24, invariance: {sensitive: [color_jitter]}}},
    kept short: {family: dorsal, pretrain: {invariance: {sensitive: [color_jitter]}}},
    slow: {family: dorsal, pretrain: {optimizer: {lr: 0.05}}}}"""
USUAL = {"max_epochs": 8, "optimizer": {"lr": 0.3}}  # as args.json has it of SGD, which no configuration names


def _arm(path: Path, *overrides: str) -> str:
    (one,) = plan_of(_settings("study.pretrain.max_epochs=8", *overrides, f"study.checkpoints=[{path}]")).checkpoints
    return one.arm


@pytest.mark.parametrize(
    ("ran", "arm"),
    [
        (USUAL, "dorsal"),
        ({**USUAL, "max_epochs": 24}, "long"),
        ({**USUAL, "max_epochs": 24, "invariance": {"sensitive": "color_jitter"}}, "kept"),
        ({**USUAL, "max_epochs": 24, "invariance": {"sensitive": ["color_jitter"], "sensitive_weight": 1}}, "kept"),
        ({**USUAL, "invariance": {"sensitive": "color_jitter"}}, "kept short"),
        ({**USUAL, "optimizer": {"lr": 0.05}}, "slow"),
    ],
)
def test_a_checkpoint_of_a_family_of_several_arms_belongs_to_that_whose_own_keys_it_was_trained_by(
    ran: dict[str, Any], arm: str, tmp_path: Path
) -> None:
    assert _arm(_run(tmp_path / "a", "dorsal", **ran), ARMS) == arm


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        (
            {**USUAL, "max_epochs": 12},
            r"a resnet10w025, max_epochs=12, optimizer\.lr=0\.3 of .*; none of them is of that",
        ),
        ({**USUAL, "invariance": {"sensitive": ["resized_crop"]}}, r"sensitive to resized_crop, .* none of them is"),
        (
            {**USUAL, "max_epochs": 24, "invariance": {"sensitive": ["color_jitter"], "sensitive_weight": 2}},
            "sensitive to color_jitter, weight 2 .* none of them is",
        ),
        ({**USUAL, "invariance": {"sensitive": 3}}, r"args\.json: invariance\.sensitive=3: expected names"),
    ],
)
def test_a_checkpoint_that_was_trained_as_none_of_several_arms_is_refused(
    ran: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        _arm(_run(tmp_path / "a", "dorsal", **ran), ARMS)


def test_the_one_arm_of_a_family_takes_runs_of_any_length_but_not_such_as_are_kept_sensitive(tmp_path: Path) -> None:
    one = "study.arms.dorsal.pretrain={max_epochs: 3}"
    assert _arm(_run(tmp_path / "a", "dorsal", max_epochs=100), one) == "dorsal"
    with pytest.raises(UserError, match="sensitive to color_jitter, weight 1 of family 'dorsal', of which there are"):
        _arm(_run(tmp_path / "b", "dorsal", invariance={"sensitive": ["color_jitter"]}), one)


def test_two_arms_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which of them it is, nothing says"):
        _arm(_run(tmp_path / "a", "dorsal"), "study.arms={again: {family: dorsal}}")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"family": "corruption"}, "no arm of the study is of family 'corruption'"),
        ({"family": None}, "names no family"),
        ({"seed": 5}, "seed 5 is none of arm ventral's"),
        ({"name": "resnet18"}, "none of them is of that"),
    ],
)
def test_checkpoints_of_no_arm_are_refused(about: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = _run(tmp_path / "a", **about)
    with pytest.raises(UserError, match=said):
        plan_of(_settings(f"study.checkpoints=[{path}]"))


def test_two_checkpoints_of_one_arm_and_seed_are_refused(tmp_path: Path) -> None:
    paths = [_run(tmp_path / name) for name in "ab"]
    with pytest.raises(UserError, match="are both of arm ventral, seed 0"):
        plan_of(_settings(f"study.checkpoints=[{paths[0]},{paths[1]}]"))
    (tmp_path / "a" / "args.json").unlink()
    with pytest.raises(UserError, match=r"no args\.json beside it"):
        plan_of(_settings(f"study.checkpoints=[{paths[0]}]"))
