from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from solo_invariance.fuse import FuseSettings
from solo_invariance.fuse.choose import choose_members
from solo_invariance.results.targets import TargetsRecord


def _images(members: list[Tensor], classes: Tensor) -> Any:
    """What choosing reads of a fusion's images."""
    train = SimpleNamespace(images=range(len(classes)), targets=classes)
    targets = TargetsRecord(kind="classification", count=2)
    task = SimpleNamespace(label="planted", task=SimpleNamespace(kind="classification"), train=train, targets=targets)
    names = [f"member {index}" for index in range(len(members))]
    return SimpleNamespace(
        settings=FuseSettings(), task_features=members, labels=names, members=members, required_task=lambda: task
    )


def _planted(noise_features: int = 0) -> tuple[Tensor, Tensor]:
    """Features by which two classes are told apart without error, and others that hardly vary and say nothing."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(60) % 2
    sides = (2.0 * classes - 1)[:, None] + 0.5 * (2 * torch.rand(60, 1, generator=generator) - 1)
    return torch.cat([sides, 1e-4 * torch.randn(60, noise_features, generator=generator)], dim=1), classes


def test_classes_are_scored_by_the_share_that_is_right() -> None:
    features, classes = _planted()
    choice = choose_members(_images([features], classes), ["only"])
    assert choice.record["steps"][0]["metric"] == "accuracy"
    assert choice.record["steps"][0]["score"] == pytest.approx(1)  # R^2 is 0.9, as the sides are blurred


def test_what_hardly_varies_in_the_fusion_is_not_brought_up_again_by_the_probe() -> None:
    features, classes = _planted(noise_features=200)
    choice = choose_members(_images([features], classes), ["only"])
    assert choice.record["steps"][0]["score"] == pytest.approx(1)
