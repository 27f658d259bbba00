"""What the presets whose results are published promise of their images and controls."""

from itertools import combinations

import pytest

from solo_invariance.config.claims import claims_from
from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.measure import DataConfig
from solo_invariance.config.pretrain import PretrainDataConfig
from solo_invariance.config.study import PresetConfig, StudyConfig
from solo_invariance.config.task_entries import task_from

_FEATURES = {"resnet10w025": 128, "resnet10w075": 384}
_LABELS = {
    "rendered": ["shape", "recognition", "hue", "position", "pose"],
    "photos": ["classes", "few_labels", "clothing", "landmarks", "colour"],
}
_FEWEST_SEEDS = 4
"""Of three, an ensemble of three says nothing of other seeds."""


def _preset(name: str) -> PresetConfig:
    return as_object(compose_command("study", [f"study={name}"]), StudyConfig).study


@pytest.fixture(params=_LABELS)
def preset(request: pytest.FixtureRequest) -> PresetConfig:
    return _preset(request.param)


def test_seeds_and_references_are_enough_for_the_widest(preset: PresetConfig) -> None:
    assert len(preset.seeds) >= _FEWEST_SEEDS
    usual = str(preset.pretrain["backbone"]["name"])
    widths = [_FEATURES[arm.backbone or usual] for arm in preset.arms.values()]
    widest = max(*widths, *(len(members) * _FEATURES[usual] for members in preset.fusions.values()))
    assert widest == 3 * _FEATURES[usual] == _FEATURES["resnet10w075"]
    assert preset.measure.reference.num_images >= 16 * widest
    assert preset.fuse_reference.num_images >= 16 * widest


def test_all_tasks_count_and_all_controls_are_claimed_against_at_both_widths(preset: PresetConfig) -> None:
    entries = [task_from(entry, preset.task) for entry in preset.tasks]
    labels = [task.label or task.name for task in entries]
    assert labels == _LABELS[preset.name]
    controls = {"best single", "default", "default x3", *preset.ensembles}
    for prefix in ("score", "projected"):
        quantities = [f"{prefix}/{label}" for label in labels]
        claims = [one for one in preset.claims.values() if one.get("of") == quantities and one["arm"] == "D+V+O"]
        assert {one["against"] for one in claims} == controls
        assert any(one.get("of") == f"rank/{prefix}" for one in preset.claims.values())
    assert {claim.finding for claim in claims_from(preset.claims)} == {"1a", "1b", "1c", "2a", "2b", "3"}


def test_no_part_has_scenes_of_another() -> None:
    """Scenes of different seeds are different ones: ``tests/transfer/tasks/test_scenes.py``."""
    preset = _preset("rendered")
    tasks = {task.label or task.name: task for task in (task_from(one, preset.task) for one in preset.tasks)}
    seeds = [{preset.pretrain["data"].get("seed", PretrainDataConfig().seed)}, {preset.measure.data.seed}]
    seeds += [{preset.measure.reference.seed}, {preset.fuse_reference.seed}, {task.seed for task in tasks.values()}]
    assert not any(one & other for one, other in combinations(seeds, 2))
    assert preset.measure.data.seed == DataConfig().seed
    # Few labels are new ones, and so is the test of them: not those that other tasks' probes are trained on.
    assert tasks["recognition"].seed not in {task.seed for name, task in tasks.items() if name != "recognition"}


def test_all_photographs_are_below_one_folder_and_what_is_fitted_to_is_not_tested_on() -> None:
    preset = _preset("photos")
    fitted = [preset.pretrain["data"]["train_path"], preset.measure.reference.path, preset.fuse_reference.path]
    assert {*fitted} == {"photos/cifar10/train"}
    assert preset.measure.data.path == "photos/cifar10/test"
    views = [(view["path"], view["reference"]["path"]) for view in preset.measure.views]
    assert all(one != other for one, other in views)
    paths = [
        *(path for pair in views for path in pair),
        *(task_from(entry, preset.task).path for entry in preset.tasks),
    ]
    assert {str(path).split("/")[0] for path in paths} == {"photos"}
