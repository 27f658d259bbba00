"""Tasks in memory give the numbers of ``transfer``, whoever computes them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from solo_invariance import OwnTask, TaskConfig, TransferSettings, transfer
from solo_invariance.backbones import Backbone
from solo_invariance.config.task_entries import watch_transfer_from
from solo_invariance.config.watch_transfer import WatchTransferConfig
from solo_invariance.data.framing import SquareCrops
from solo_invariance.data.images import TensorImages
from solo_invariance.errors import UserError
from solo_invariance.processes import Processes
from solo_invariance.transfer.held_tasks import HeldTasks
from solo_invariance.transfer.tasks import Split
from solo_invariance.transfer.tasks.splits import select
from solo_invariance.transfer.watched_tasks import watched_tasks


def _tasks(photo_folder: Path) -> list[Any]:
    return ["shape", "hue", {"name": "folder", "path": str(photo_folder), "label": "photos", "probe": "knn"}]


def _held(tasks: list[Any], backbone: Backbone, at_most: int | None = None, **settings: Any) -> HeldTasks:
    processes = settings.pop("processes", None)
    config = WatchTransferConfig(tasks=tasks, **settings)
    return HeldTasks(watched_tasks(config), backbone, at_most, processes)


def _scores(held: HeldTasks, backbone: Backbone) -> dict[str, float]:
    return {one.number: one.score for one in held.score(backbone)}


def test_the_numbers_are_those_of_transfer(tiny_backbone: Backbone, photo_folder: Path) -> None:
    held = _held(_tasks(photo_folder), tiny_backbone, at_most=24, folds=4, batch_size=7)
    settings = TransferSettings(folds=4, batch_size=7)
    few = {"num_train": 24, "num_test": 24}
    expected = transfer(tiny_backbone, [TaskConfig("shape", **few), TaskConfig("hue", **few)], settings, device="cpu")
    photos = TaskConfig("folder", path=str(photo_folder), num_train=24)
    by_knn = transfer(tiny_backbone, photos, TransferSettings("knn", folds=4, batch_size=7), device="cpu").only
    scores = _scores(held, tiny_backbone)
    assert scores == {
        "shape/accuracy": expected["shape"].score.mean,
        "hue/r2": expected["hue"].score.mean,
        "photos/accuracy": by_knn.score.mean,
    }
    assert _scores(held, tiny_backbone) == scores
    # What shape and hue share is there once; 24 of 48 training photographs, and all 24 of the test.
    assert held.num_images == 4 * 24
    assert held.num_bytes == 4 * 24 * 3 * 32 * 32
    assert [round(task.chance, 3) for task in held.tasks[1:]] == [0, 0.167]


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_images_features_and_probes(
    tiny_backbone: Backbone, photo_folder: Path, in_threads: Any, count: int
) -> None:
    tasks = _tasks(photo_folder)
    alone = _held(tasks, tiny_backbone, at_most=24, batch_size=5)
    expected = _scores(alone, tiny_backbone)

    def work(them: Processes) -> tuple[dict[str, float], int]:
        held = _held(tasks, tiny_backbone, at_most=24, batch_size=5, processes=them)
        return _scores(held, tiny_backbone), held.num_bytes

    found = in_threads(count, work)
    assert [scores for scores, _ in found] == [expected] * count
    shares = [num_bytes for _, num_bytes in found]
    assert sum(shares) == alone.num_bytes
    assert max(shares) < alone.num_bytes


def test_a_probe_that_fails_in_one_process_fails_in_all(
    tiny_backbone: Backbone, in_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solo_invariance.transfer import held_tasks

    def score(data: Any, *rest: Any) -> Any:
        raise ValueError(data.label)

    monkeypatch.setattr(held_tasks, "score_task", score)

    def work(them: Processes) -> str:
        held = _held(["shape", "hue"], tiny_backbone, at_most=24, processes=them)
        with pytest.raises(UserError) as caught:
            _scores(held, tiny_backbone)
        return str(caught.value)

    assert in_threads(2, work) == ["ValueError: shape"] * 2


def test_a_task_has_its_own_probe_and_metric_and_else_the_configurations(photo_folder: Path) -> None:
    photos = {"name": "folder", "path": str(photo_folder)}
    own = {**photos, "label": "own", "probe": "logistic", "metric": "mean_per_class_accuracy"}
    config = WatchTransferConfig(
        tasks=[{**photos, "label": "usual"}, own], probe="knn", metric="accuracy", seed=3, folds=4, batch_size=7
    )
    usual, other = watched_tasks(config)
    assert (usual.number, other.number) == ("usual/accuracy", "own/mean_per_class_accuracy")
    shared = {"folds": 4, "seed": 3, "batch_size": 7, "num_workers": 4}
    assert usual.settings == TransferSettings("knn", metric="accuracy", **shared)
    assert other.settings == TransferSettings("logistic", metric="mean_per_class_accuracy", **shared)


def test_images_are_read_once_and_each_draw_is_the_same(tiny_backbone: Backbone, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / name).mkdir()
        for index in range(12):
            pixels = draw.integers(0, 128, (40, 50, 3)) + (100 if name == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{index}.png")
    entry = {"name": "folder", "path": str(tmp_path)}
    first = _held([entry], tiny_backbone, at_most=6, folds=2, num_workers=0)
    again = _held([entry], tiny_backbone, at_most=6, folds=2, num_workers=2)
    scores = _scores(first, tiny_backbone)
    assert {len(first.tasks[0].train), len(first.tasks[0].test)} == {6}
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    assert _scores(first, tiny_backbone) == _scores(again, tiny_backbone) == scores


def test_an_image_that_cannot_be_read_is_named_before_any_score(tiny_backbone: Backbone, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.fromarray(np.full((9, 9, 3), 20 * index + ord(name), np.uint8)).save(tmp_path / name / f"{index}.png")
    (tmp_path / "b" / "2.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"b/2\.png: not a readable image"):
        _held([{"name": "folder", "path": str(tmp_path)}], tiny_backbone, folds=2)


def test_a_test_image_among_the_training_images_is_refused(tiny_backbone: Backbone) -> None:
    images = torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    task = OwnTask.of(images[:8], torch.rand(8), images[4:], torch.rand(8))
    with pytest.raises(UserError, match="4 of 8 test images are among those that the probe is trained on"):
        _held([task], tiny_backbone, folds=2)


def test_own_images_are_limited_too(tiny_backbone: Backbone) -> None:
    images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    targets = images.float().mean((1, 2, 3))
    own = (images[:20], targets[:20], images[20:], targets[20:])
    assert _held([own], tiny_backbone, at_most=8, folds=2).num_images == 16
    assert _held([own], tiny_backbone, folds=2).num_images == 40


def test_squares_stay_outermost_where_some_are_selected() -> None:
    """An image is known whole, whatever square of it is looked at."""
    images = TensorImages(torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8))
    squares = torch.tensor([[1, 0, 4], [0, 1, 4], [2, 2, 4], [3, 3, 4]])
    split = select(Split(SquareCrops(images, squares), torch.arange(4)), np.array([1, 3]))
    assert isinstance(split.images, SquareCrops)
    for place, row in enumerate((1, 3)):
        whole = SquareCrops(images, squares)
        assert torch.equal(split.images[place], whole[row])
        assert split.images.digest(place) == whole.digest(row)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("yes", "invariance.transfer=yes: expected keys and values; +invariance=transfer has them"),
        ({"evry": 1}, "invariance.transfer.evry: there is no such key; did you mean 'every'?"),
        ({"every": 0}, "invariance.transfer.every=0: expected at least 1"),
        ({"every": "often"}, "invariance.transfer.every: Value 'often' of type 'str' could not be converted"),
        ({"num_images": 1}, "invariance.transfer.num_images=1: expected at least 2"),
        ({"folds": 1}, "invariance.transfer.folds=1: expected at least 2"),
        ({"probe": "forest"}, "invariance.transfer.probe=forest: there is none; known: auto, ridge, logistic,"),
        ({"tasks": []}, "invariance.transfer.tasks=[]: expected a list, such as [shape,hue]"),
        ({"tasks": "shape"}, "invariance.transfer.tasks=shape: expected a list, "),
        ({"tasks": ["shpe"]}, "tasks: there is no 'shpe'; did you mean 'shape'?"),
        ({"tasks": [3]}, "invariance.transfer.tasks: 3 is neither a task's name nor a mapping with a name"),
        ({"tasks": [{"name": "folder", "pth": "x"}]}, "invariance.transfer.tasks: folder: there is no key 'pth'; did"),
        ({"tasks": [{"name": "hue", "probe": "kn"}]}, "invariance.transfer.tasks: hue: probe=kn: there is none; did"),
        ({"tasks": [{"name": "hue", "probe": "knn"}]}, "probe=knn: task.name=hue is regression, take ridge or"),
        ({"tasks": ["hue"], "metric": "accuracy"}, "metric=accuracy: task.name=hue is regression, take r2"),
        ({"tasks": ["hue", "hue"]}, "tasks: hue is there twice; give one of them another label"),
        ({"tasks": [{"name": "hue", "label": "a/b"}]}, "tasks: a/b: scores are called TASK/METRIC; give it a label"),
        ({"tasks": ["hue"], "knn": {"k": 3}}, "knn: is read by probe=knn alone"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_one_line(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}") as caught:
        watched_tasks(watch_transfer_from(values))
    assert "\n" not in str(caught.value)


def test_each_task_has_its_own_probe_and_name() -> None:
    config = watch_transfer_from(
        {"tasks": ["shape", {"name": "shape", "label": "few", "probe": "few_shot"}], "few_shot": {"shots": 1}}
    )
    assert [task.number for task in watched_tasks(config)] == ["shape/accuracy", "few/5_way_1_shot_accuracy"]
