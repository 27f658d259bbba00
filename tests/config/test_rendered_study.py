"""What the preset of the rendered study promises of its images and controls."""

from itertools import combinations

import pytest

from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.measure import DataConfig
from solo_invariance.config.pretrain import PretrainDataConfig
from solo_invariance.config.study import PresetConfig, StudyConfig
from solo_invariance.config.task_entries import task_from

_FEATURES = {"resnet10w025": 128, "resnet10w075": 384}


@pytest.fixture(scope="module")
def preset() -> PresetConfig:
    return as_object(compose_command("study", ["study=rendered"]), StudyConfig).study


def test_no_part_has_scenes_of_another(preset: PresetConfig) -> None:
    """Scenes of different seeds are different ones: ``tests/transfer/tasks/test_scenes.py``."""
    tasks = {task.label or task.name: task for task in (task_from(one, preset.task) for one in preset.tasks)}
    seeds = [{preset.pretrain["data"].get("seed", PretrainDataConfig().seed)}, {preset.measure.data.seed}]
    seeds += [{preset.measure.reference.seed}, {preset.fuse_reference.seed}, {task.seed for task in tasks.values()}]
    assert not any(one & other for one, other in combinations(seeds, 2))
    assert preset.measure.data.seed == DataConfig().seed
    # Few labels are new ones, and so is the test of them: not those that other tasks' probes are trained on.
    assert tasks["recognition"].seed not in {task.seed for name, task in tasks.items() if name != "recognition"}


def test_seeds_and_references_are_enough_for_the_widest(preset: PresetConfig) -> None:
    assert len(preset.seeds) >= 5
    usual = str(preset.pretrain["backbone"]["name"])
    widths = [_FEATURES[arm.backbone or usual] for arm in preset.arms.values()]
    widest = max(*widths, *(len(members) * _FEATURES[usual] for members in preset.fusions.values()))
    assert widest == 3 * _FEATURES[usual] == _FEATURES["resnet10w075"]
    assert preset.measure.reference.num_images >= 16 * widest
    assert preset.fuse_reference.num_images >= 16 * widest


def test_all_controls_of_a_fusion_are_claimed_against_at_both_widths(preset: PresetConfig) -> None:
    controls = {"best single", "default", "default x3", *preset.ensembles}
    for prefix in ("score", "projected"):
        quantities = [f"{prefix}/{name}" for name in ("shape", "recognition", "hue", "position", "pose")]
        claims = [one for one in preset.claims.values() if one.get("of") == quantities and one["arm"] == "D+V+O"]
        assert {one["against"] for one in claims} == controls
        assert any(one.get("of") == f"rank/{prefix}" for one in preset.claims.values())
