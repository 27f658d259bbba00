"""What a study reads is looked for before anything is trained."""

import json
from pathlib import Path

import pytest
import torch

from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.study import StudyConfig
from solo_invariance.errors import UserError
from solo_invariance.study.checkpoints import plan_of
from solo_invariance.study.needs import missing
from solo_invariance.study.run import checked_plan, study
from tests.conftest import Cli

TABLE = "study.tasks=[shape,hue,position,{name: table, path: nowhere, options: {targets: table.csv}, label: places}]"


def _settings(*overrides: str) -> StudyConfig:
    return as_object(compose_command("study", overrides), StudyConfig)


def test_a_study_that_has_all_it_reads_misses_nothing() -> None:
    assert missing(plan_of(_settings("study.task.num_train=40", "study.task.num_test=20"))) == []


def test_all_that_is_not_there_is_said_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = [
        "study.measure.data",
        "study.measure.reference",
        "study.measure.views: pose",
        "study.measure.views: pose: reference",
        "study.fuse_reference",
        *(f"study.tasks: {task}" for task in ("classes", "few_labels", "clothing", "landmarks", "colour")),
    ]
    for key, sentence in zip(keys, missing(plan_of(_settings("study=photos"))), strict=True):
        assert sentence.startswith(f"{key}: ")
        assert "photos" in sentence


def test_what_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    others = "study.fuse_reference={path: nowhere/others}"
    with pytest.raises(UserError, match=r"fuse_reference: nowhere/others.* \(and 1 more: dry_run=true names them"):
        study(_settings(others, TABLE, f"out={tmp_path / 'out'}"))
    with pytest.raises(UserError, match=r"study\.tasks: places: .*nowhere[^(]*$"):
        study(_settings(TABLE, f"out={tmp_path / 'out'}"))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_names_what_is_missing_and_is_no_error(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("study", TABLE, "dry_run=true", f"out={tmp_path / 'out'}")
    assert code == 0, err
    (line,) = (line for line in out.splitlines() if line.startswith("missing: "))
    assert "left: about" in out
    assert line.startswith("missing: study.tasks: places: ")


def test_a_width_that_an_arm_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"study\.width=200: \w+ has 128 features; take 128 at most"):
        checked_plan(_settings("study.width=200", "study.fuse_reference.num_images=400"))
    checked_plan(_settings("study.width=128", "study.fuse_reference.num_images=129"))
    with pytest.raises(UserError, match=r"study\.measure\.matched_width=129: \w+ has 128 features; take 128 at most"):
        checked_plan(_settings("study.measure.matched_width=129"))


def test_images_too_few_to_project_by_are_refused(photo_folder: Path) -> None:
    # N images about their mean span N - 1 dimensions.
    with pytest.raises(UserError, match=r"num_images: 64 images, of which a projection to study\.width=64 needs 65"):
        checked_plan(_settings("study.width=64", "study.fuse_reference.num_images=64"))
    (sentence,) = missing(plan_of(_settings(f"study.fuse_reference={{path: {photo_folder / 'train'}}}")))
    assert sentence.startswith("study.fuse_reference: train: 48 images, ")
    assert "needs 65" in sentence


def test_a_checkpoint_that_was_cut_off_is_named_with_its_key(tmp_path: Path) -> None:
    args = {"augmentations": [{"family": "ventral"}], "seed": 0, "backbone": {"name": "resnet10w025", "kwargs": {}}}
    (tmp_path / "args.json").write_text(json.dumps(args))
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"backbone.weight": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    (sentence,) = missing(plan_of(_settings(f"study.checkpoints=[{path}]")))
    assert sentence.startswith(f"study.checkpoints: checkpoint {path}: ")


def test_a_dry_run_that_nothing_can_be_timed_for_gives_no_time(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("study", "study=photos", "dry_run=true")
    assert code == 0, err
    assert "0 of 26 jobs done; how long the rest takes, nothing here says" in out
