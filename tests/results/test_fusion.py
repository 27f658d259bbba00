import json
from collections.abc import Callable
from pathlib import Path

import pytest

from solo_invariance.cli import main
from solo_invariance.errors import UserError
from solo_invariance.results import FusionResult


def _fuse(checkpoint: Callable[..., Path], mode: str, out: Path) -> Path:
    members = ",".join(str(checkpoint(seed=seed)) for seed in (0, 1))
    task = ["task.name=hue", "task.num_train=40", "task.num_test=20", "task.size=32"]
    assert main(["fuse", f"members=[{members}]", f"mode={mode}", *task, "device=cpu", f"out={out}"]) == 0
    return out.with_suffix(".json")


def test_which_members_were_chosen(host_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    file = _fuse(host_checkpoint, "auto", tmp_path / "fused.ckpt")
    content, fusion = json.loads(file.read_text()), FusionResult.read(file)
    assert fusion.as_content() == content
    assert fusion.steps is not None
    assert fusion.chosen == tuple(step.member for step in fusion.steps if step.accepted)
    assert fusion.steps[0].candidates.keys() == set(fusion.members)
    assert fusion.weights is None


def test_which_weights_were_chosen(host_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    file = _fuse(host_checkpoint, "weighted", tmp_path / "fused.ckpt")
    content, fusion = json.loads(file.read_text()), FusionResult.read(file)
    assert fusion.as_content() == content
    assert fusion.weights == tuple(content["weights"])
    assert (fusion.metric, fusion.chosen, fusion.steps) == ("r2", None, None)
    content["weights"][1] = None
    with pytest.raises(UserError, match=r"key 'weights\[1\]' must be a finite number, not null"):
        FusionResult.from_content(content)
