from importlib.metadata import entry_points
from pathlib import Path

import pytest

from solo_invariance.errors import UserError
from solo_invariance.plugins import discover, load_plugin
from solo_invariance.transfer.scores import METRICS
from solo_invariance.transfer.tasks import Task, TaskSettings

NAMES = sorted(entry.name for entry in entry_points(group="solo_invariance.tasks") if "solo_invariance" in entry.value)
PUBLISHED = ["300w", "caltech101", "causal3dident", "celeba", "celeba_attributes", "cifar10", "flowers102", "lsp"]


def test_all_tasks_are_known_by_name() -> None:
    assert {*PUBLISHED, "folder", "table", "shape", "hue", "position", "rotation"} <= {*NAMES}
    assert len([name for name in NAMES if name.startswith("causal3dident")]) == 11
    assert {plugin.name for plugin in discover("tasks")} >= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_task_has_a_known_kind_and_metric_and_refuses_options_that_it_does_not_read(name: str) -> None:
    task = load_plugin("tasks", name)
    assert isinstance(task, Task)
    assert task.kind in ("classification", "multilabel", "regression")
    assert {task.metric, task.paper_metric or task.metric} <= {*METRICS}
    with pytest.raises(UserError, match=r"task\.options\.colour: this task reads"):
        task.load(TaskSettings(options={"colour": 1}))


@pytest.mark.parametrize("name", [*PUBLISHED, "folder"])
def test_a_path_is_needed(name: str) -> None:
    with pytest.raises(UserError, match=r"task\.path is not set, expected a folder with "):
        load_plugin("tasks", name).load(TaskSettings())


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_not_there_is_said_in_one_line_with_path_and_layout(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected .*(\.jpg|\.png|batches)") as error:
        load_plugin("tasks", name).load(TaskSettings(path=str(tmp_path / "nowhere")))
    assert str(error.value).startswith(f"task.path={tmp_path / 'nowhere'}: ")
    assert "\n" not in str(error.value)
    fetched = name in ("caltech101", "celeba", "celeba_attributes", "cifar10", "flowers102")
    assert ("task.download=true fetches it" in str(error.value)) == fetched
    assert ("http" in str(error.value)) != fetched


@pytest.mark.parametrize("name", ["300w", "causal3dident", "lsp"])
def test_what_cannot_be_downloaded_says_where_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.download=true: .* by hand; expected .*, from http"):
        load_plugin("tasks", name).load(TaskSettings(path=str(tmp_path), download=True))


def test_the_paper_scores_only_flowers_in_another_way() -> None:
    quirks = {name: load_plugin("tasks", name).paper_metric for name in NAMES}
    assert {name: metric for name, metric in quirks.items() if metric} == {"flowers102": "accuracy"}
    assert load_plugin("tasks", "flowers102").metric == "mean_per_class_accuracy"


def test_a_failing_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    def fail(dataset: object) -> None:
        raise OSError("no network\nand more")

    for name, dataset in (("cifar10", datasets.CIFAR10), ("caltech101", datasets.Caltech101)):
        monkeypatch.setattr(dataset, "download", fail)
        with pytest.raises(UserError, match=r": no network; expected .*$"):
            load_plugin("tasks", name).load(TaskSettings(path=str(tmp_path), download=True))
