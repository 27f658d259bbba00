"""What tests of sweeps share."""

from pathlib import Path

import pytest


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a quick scoring but for its width, in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    backbone = ["backbone.name=random:resnet10", "backbone.crop_size=32"]
    return [
        *backbone,
        "task.name=hue",
        "task.num_train=40",
        "task.num_test=20",
        "task.size=32",
        "folds=2",
        "device=cpu",
    ]
