"""Sweeps whose jobs run side by side."""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# Optuna 2, which is what Hydra's sweeper needs, is older than what it imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}


def _require(plugin: str) -> None:
    if find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"Hydra's {plugin.replace('_', '-')} is not installed")


def _scores(root: str = "runs/transfer") -> dict[str, dict[str, Any]]:
    found = {path.parent.name: json.loads(path.read_text()) for path in Path(root).rglob("transfer.json")}
    return {name: {key: one[key] for key in ("score", "ci95", "backbone", "details")} for name, one in found.items()}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_side_by_side_give_what_they_give_in_turn(cli: Any, small: list[str], launcher: str) -> None:
    _require(LAUNCHERS[launcher])
    jobs = [*small, "-m", "backbone.kwargs.width=0.125,0.25"]
    assert cli("transfer", *jobs, "out=serial")[0] == 0
    at_once = {"joblib": ["hydra.launcher.n_jobs=2"], "ray": ["+hydra.launcher.ray.init.num_cpus=2"]}
    code, printed, err = cli("transfer", *jobs, "out=both", f"hydra/launcher={launcher}", *at_once.get(launcher, []))
    assert code == 0, err
    assert _scores("both") == _scores("serial")
    assert len(_scores("both")) == 2
    assert sorted(os.listdir()) == ["both", "serial"]  # and no folder of the launcher's
    assert {path.name for path in Path("both").rglob("*") if path.is_file()} == {
        "run.json", "transfer.json", "transfer.npz",
    }  # fmt: skip
    rows = [line.split()[0] for line in printed.splitlines() if line.startswith("0.")]
    assert rows == ["0.125", "0.25"]  # in order, whoever is first
    assert printed.startswith("2 jobs")  # no job's own table, which others' would mix with
    assert cli("report", "runs=[both]", "out=page.html")[0] == 0


def test_the_same_values_at_the_same_time_wait_for_each_other(cli: Any, small: list[str]) -> None:
    _require(LAUNCHERS["joblib"])
    _require("hydra_optuna_sweeper")
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    seek = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"]
    sweep = [*seek, *parallel, "backbone.kwargs.width=choice(0.125)", "objective=score"]
    code, printed, err = cli("transfer", *small, *sweep)
    assert code == 0, err
    assert len(_scores()) == 1
    assert printed.count("*") == 1


def test_a_job_that_fails_beside_others_is_said_once(cli: Any, small: list[str]) -> None:
    _require(LAUNCHERS["joblib"])
    others = [one for one in small if not one.startswith("task.name")]
    sweep = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "task.name=hue,nothing"]
    code, printed, err = cli("transfer", *others, *sweep, "backbone.kwargs.width=0.125")
    assert code == 2
    assert set(_scores()) == {"task.name=hue"}
    assert err.count("there is no 'nothing'") == 1
    assert "1 of 2 jobs failed: task.name=nothing" in err
    assert "failed" in printed
    assert os.listdir() == ["runs"]


_MORTAL = """
import os, torch
def network(dies=False):
    if dies:
        os._exit(9)
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
"""


def test_a_job_that_dies_without_a_word_is_one_line(
    cli: Any, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require(LAUNCHERS["submitit_local"])
    (tmp_path / "mortal.py").write_text(_MORTAL)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    backbone = ["backbone.name=python:mortal:network", "backbone.trust=true", "backbone.kwargs.dies=false,true"]
    code, printed, err = cli("transfer", *small[1:], "-m", "hydra/launcher=submitit_local", *backbone)
    assert (code, printed) == (2, "")
    *_, kept, said = err.splitlines()
    assert said.startswith("solo-invariance: error: the launcher gave up (UncompletedJobError: ")
    assert "what is done (1) is kept" in said
    assert len(_scores()) == 1
    (logs,) = (name for name in os.listdir() if name != "runs")  # which say of what it has died
    assert kept.endswith(logs)
