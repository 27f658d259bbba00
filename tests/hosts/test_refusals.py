"""What is said of our keys inside solo-learn's scripts, and how a run of theirs ends for one."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from solo_invariance.config.recipes import crop_size_of_run, origin_of_crop_size, recipe_crop_size
from solo_invariance.errors import UserError
from solo_invariance.hosts.refusals import explanation, leave_solo_learn


@pytest.fixture
def in_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_solo_learn: Any) -> Any:
    """Be in a job of a Hydra application whose recipe is in a folder; extra keys are its primary configuration's."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(mode: str = "RUN", **primary: Any) -> Path:
        OmegaConf.save(OmegaConf.create({"lr": 0.1, **primary}), tmp_path / "run.yaml")
        with initialize_config_dir(str(tmp_path), version_base="1.2"):
            cfg = compose("run", ["hydra.mode=" + mode], return_hydra_config=True)
        with open_dict(cfg):
            cfg.hydra.job.name = "run"
        HydraConfig.instance().set_config(cfg)
        return tmp_path

    return run


def _write(folder: Path, **sizes: Any) -> None:
    (folder / "augmentations").mkdir(exist_ok=True)
    for name, size in sizes.items():
        entries = [{"crop_size": one} for one in (size if isinstance(size, list) else [size])]
        OmegaConf.save(OmegaConf.create(entries), folder / "augmentations" / f"{name}.yaml")


def test_the_recipes_own_crop_size_comes_before_the_datasets(in_job: Any) -> None:
    folder = in_job()
    assert (recipe_crop_size(), crop_size_of_run("cifar10"), crop_size_of_run("custom")) == (None, 32, 224)
    assert origin_of_crop_size("cifar10") == "crop size of data.dataset=cifar10"
    assert "neither the recipe nor data.dataset=custom says one, +invariance.crop_size=N" in origin_of_crop_size(
        "custom"
    )
    _write(folder, symmetric=48, swav=[48, 18])
    assert (recipe_crop_size(), crop_size_of_run("cifar10"), crop_size_of_run("custom")) == (48, 48, 48)
    assert origin_of_crop_size("custom") == "crop size of the recipe's own augmentations"
    assert (crop_size_of_run("custom", 96), origin_of_crop_size("custom", 96)) == (96, "")


def test_a_recipe_that_does_not_say_one_size_leaves_it_to_the_dataset(in_job: Any) -> None:
    folder = in_job()
    _write(folder, symmetric=48, other=64)
    assert recipe_crop_size() is None
    assert crop_size_of_run("stl10") == 96
    _write(folder, other="${size}", third=True)
    assert recipe_crop_size() == 48
    (folder / "augmentations" / "broken.yaml").write_text("[: {")
    (folder / "augmentations" / "empty.yaml").write_text("")
    assert recipe_crop_size() == 48


def test_a_list_in_the_recipe_itself_comes_first(in_job: Any) -> None:
    _write(in_job(augmentations=[{"crop_size": 40}]), symmetric=48)
    assert recipe_crop_size() == 40


def test_no_application_has_no_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    assert recipe_crop_size() is None


def test_a_refusal_is_one_line_in_solo_learns_scripts(in_job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    in_job()
    with pytest.raises(SystemExit) as leaving:
        leave_solo_learn(UserError("crop_size=0: too small"))
    assert leaving.value.code == 2
    worker = UserError(
        "Caught UserError in DataLoader worker process 0.\nsolo_invariance.errors.UserError: a.png: broken"
    )
    with pytest.raises(SystemExit):
        leave_solo_learn(worker)
    assert capsys.readouterr().err.splitlines() == [
        "solo-invariance: error: crop_size=0: too small",
        "solo-invariance: error: a.png: broken",
    ]


def test_other_processes_say_which_they_are(
    in_job: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_job()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit):
        leave_solo_learn(UserError("no images"))
    assert capsys.readouterr().err == "solo-invariance: error (process 1): no images\n"


@pytest.mark.parametrize("where", ["elsewhere", "no job", "sweep", "full error"])
def test_elsewhere_an_error_takes_its_course(where: str, in_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if where != "no job":
        in_job("MULTIRUN" if where == "sweep" else "RUN")
    if where == "elsewhere":
        monkeypatch.delitem(sys.modules, "solo.methods.base")
    if where == "full error":
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    leave_solo_learn(UserError("no images"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["augmentations=invariance/dorsl"], "did you mean 'invariance/dorsal'?"),
        (["+augmentations=invariance/xyz"], "there is no such choice of ours; known: byol"),
        (["augmentations=ventral"], "augmentations=ventral: ours is augmentations=invariance/ventral"),
        (["invariance.views=[a,b]"], "takes a plus, +invariance.views=[a,b]"),
        (["invariance=monitor"], "takes a plus, +invariance=monitor"),
        (["+invariance=monitor", "invariance.monitor.every=1"], None),
        (["+invariance=[monitor,transfer]", "invariance.transfer.every=1"], None),
        (["+invariance=monitor", "+invariance=transfer"], "one list, '+invariance=[monitor,transfer]'"),
        (["augmentations=invariance/dorsal", "+invariance.crop_size=32"], None),
        (["augmentations=symmetric", "name=invariance"], None),
    ],
)
def test_what_does_not_compose_is_explained(arguments: list[str], expected: str | None) -> None:
    line = explanation(arguments)
    assert line is None if expected is None else line is not None and expected in line


def test_a_family_of_another_package_is_chosen_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from solo_invariance import plugins

    sunset = plugins.Plugin("families", "sunset", "sun 1.0", plugins.EntryPoint("sunset", "sun:x", "g"))
    monkeypatch.setattr(plugins, "discover", lambda kind: (sunset,))
    assert "augmentations=invariance/family +invariance.family=sunset" in str(
        explanation(["augmentations=invariance/sunset"])
    )
