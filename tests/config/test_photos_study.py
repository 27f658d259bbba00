"""What the preset of the study on photographs promises of its images and controls."""

import pytest

from solo_invariance.config.claims import claims_from
from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.study import PresetConfig, StudyConfig
from solo_invariance.config.task_entries import task_from

_FEATURES = {"resnet10w025": 128, "resnet10w075": 384}


@pytest.fixture(scope="module")
def preset() -> PresetConfig:
    return as_object(compose_command("study", ["study=photos"]), StudyConfig).study


def test_all_files_are_below_one_folder(preset: PresetConfig) -> None:
    views = preset.measure.views
    paths = [preset.pretrain["data"]["train_path"], preset.measure.data.path, preset.measure.reference.path]
    paths += [
        preset.fuse_reference.path,
        *(view["path"] for view in views),
        *(view["reference"]["path"] for view in views),
    ]
    paths += [task_from(entry, preset.task).path for entry in preset.tasks]
    assert {str(path).split("/")[0] for path in paths} == {"photos"}


def test_what_is_fitted_to_is_not_what_is_measured_or_tested_on(preset: PresetConfig) -> None:
    assert preset.measure.data.path == "photos/cifar10/test"
    fitted = {preset.pretrain["data"]["train_path"], preset.measure.reference.path, preset.fuse_reference.path}
    assert fitted == {"photos/cifar10/train"}
    for view in preset.measure.views:
        assert view["path"] != view["reference"]["path"]


def test_seeds_and_references_are_enough_for_the_widest(preset: PresetConfig) -> None:
    assert len(preset.seeds) >= 4  # which the controls of other seeds need
    usual = str(preset.pretrain["backbone"]["name"])
    widths = [_FEATURES[arm.backbone or usual] for arm in preset.arms.values()]
    widest = max(*widths, *(len(members) * _FEATURES[usual] for members in preset.fusions.values()))
    assert widest == 3 * _FEATURES[usual] == _FEATURES["resnet10w075"]
    assert preset.measure.reference.num_images >= 16 * widest
    assert preset.fuse_reference.num_images >= 16 * widest


def test_all_tasks_count_and_all_controls_are_claimed_against(preset: PresetConfig) -> None:
    labels = [task_from(entry, preset.task).label for entry in preset.tasks]
    controls = {"best single", "default", "default x3", *preset.ensembles}
    for prefix in ("score", "projected"):
        quantities = [f"{prefix}/{label}" for label in labels]
        claims = [one for one in preset.claims.values() if one.get("of") == quantities and one["arm"] == "D+V+O"]
        assert {one["against"] for one in claims} == controls
    assert {claim.finding for claim in claims_from(preset.claims)} == {"1a", "1b", "1c", "2a", "2b", "3"}
