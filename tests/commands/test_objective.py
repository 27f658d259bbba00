"""Sweeps that seek the best values."""

import json
import os
import re
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from solo_invariance.commands.outcome import Outcome, deliver, recorded_to
from solo_invariance.commands.sweep_table import best_of
from solo_invariance.config.measure import ALWAYS_MEASURED, OF_FEATURES
from solo_invariance.config.objective import EVERYWHERE, ObjectiveError, require_objective, values_of
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.logged import last_logged
from solo_invariance.measure.health import HEALTH
from solo_invariance.measure.measurement import METRICS
from solo_invariance.results import FusionResult, InvarianceResult, TransferResult

# Optuna 2, which is what Hydra's sweeper needs, is older than what it imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

OPTUNA = "hydra_optuna_sweeper"


def _require(plugin: str) -> None:
    if find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"Hydra's {plugin.replace('_', '-')} is not installed")


def _optuna(trials: int, *directions: str) -> list[str]:
    _require(OPTUNA)
    direction = directions[0] if len(directions) == 1 else f"[{','.join(directions)}]"
    seek = ["hydra/sweeper=optuna", f"hydra.sweeper.direction={direction}", f"hydra.sweeper.n_trials={trials}"]
    return ["-m", *seek, "hydra.sweeper.sampler.seed=1"]


def _scores(root: str = "runs/transfer") -> dict[str, dict[str, Any]]:
    found = {path.parent.name: json.loads(path.read_text()) for path in Path(root).rglob("transfer.json")}
    return {name: {key: one[key] for key in ("score", "ci95", "backbone", "details")} for name, one in found.items()}


@pytest.mark.parametrize(("direction", "best"), [("maximize", max), ("minimize", min)])
def test_optuna_seeks_the_number_that_is_named(
    cli: Any, small: list[str], direction: str, best: Callable[..., Any]
) -> None:
    sweep = [*_optuna(4, direction), "backbone.kwargs.width=choice(0.125,0.25,0.375)", "objective=score"]
    code, printed, err = cli("transfer", *small, *sweep)
    assert (code, err) == (0, "")
    scores = {name: one["score"] for name, one in _scores().items()}
    assert len(scores) > 1
    name = best(scores, key=scores.__getitem__)
    written = yaml.safe_load(Path("runs/transfer/optimization_results.yaml").read_text())
    width = float(name.removeprefix("backbone.kwargs.width="))
    assert written == {"name": "optuna", "best_params": {"backbone.kwargs.width": width}, "best_value": scores[name]}
    assert f"best: {name}: score {scores[name]:.4g} ({direction}); runs/transfer/{name}" in printed
    assert f"{scores[name]:.4g}*" in printed
    assert printed.count("*\n") + printed.count("* ") >= 1
    assert os.listdir() == ["runs"]
    assert {path.name for path in Path("runs").rglob("*") if path.is_file()} == {
        "run.json", "transfer.json", "transfer.npz", "optimization_results.yaml",
    }  # fmt: skip
    assert cli("report", "runs=[runs]", "out=page.html")[0] == 0


def test_json_says_the_objective_and_which_is_best(cli: Any, small: list[str]) -> None:
    sweep = [*_optuna(2, "maximize"), "backbone.kwargs.width=interval(0.1,0.3)", "objective=[score]"]
    code, printed, err = cli("transfer", *small, *sweep, "--json")
    assert code == 0, err
    jobs = json.loads(printed)
    scores = [job["results"]["hue"]["score"] for job in jobs]
    assert [job["objective"] for job in jobs] == [{"score": score} for score in scores]
    assert [job["best"] for job in jobs] == [score == max(scores) for score in scores]


def test_a_trial_that_fails_stops_no_other(cli: Any, small: list[str]) -> None:
    sweep = [*_optuna(3, "maximize"), "task.name=choice(hue,nothing)", "objective=score", "backbone.kwargs.width=0.125"]
    code, printed, err = cli("transfer", *(one for one in small if not one.startswith("task.name")), *sweep)
    assert code == 2
    assert set(_scores()) == {"task.name=hue"}
    assert "best: task.name=hue" in printed
    failed = [line for line in err.splitlines() if "jobs failed" in line]
    assert len(failed) == 1
    assert failed[0].startswith("solo-invariance: ")
    assert all(line.startswith("solo-invariance: ") for line in err.splitlines())


def test_where_all_trials_fail_nothing_but_that_is_said(cli: Any, small: list[str]) -> None:
    sweep = [*_optuna(2, "maximize"), "backbone.kwargs.width=choice(0.1,0.2)", "objective=score"]
    code, _, err = cli("transfer", *small, *sweep, "backbone.checkpoint=nowhere.ckpt")
    assert code == 2
    assert "2 of 2 jobs failed" in err
    assert "Traceback" not in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            ["objective=scor"],
            "objective=scor: there is no such number; did you mean 'score'?; there are score, score.hue",
        ),
        ([], "objective is missing: hydra/sweeper=optuna needs a number of each job, objective=NAME"),
        (
            ["objective=[score,seconds]"],
            "objective=[score,seconds] and hydra.sweeper.direction=[maximize]: 2 and 1, expected a direction for each",
        ),
        (["objective=[score,score]"], "objective=[score,score]: score is there twice; once is enough"),
        (["objective=score.shape"], "objective=score.shape: there is no such number"),
    ],
)
def test_an_objective_that_is_none_is_refused_once_before_anything_is_done(
    cli: Any, small: list[str], objective: list[str], said: str
) -> None:
    sweep = [*_optuna(4, "maximize"), "backbone.kwargs.width=choice(0.1,0.2)", *objective]
    code, printed, err = cli("transfer", *small, *sweep)
    assert (code, printed) == (2, "")
    assert len(err.splitlines()) == 1
    assert said in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("hydra.sweeper.direction=up", "expected minimize or maximize, one for each objective"),
        ("hydra.sweeper.direction=[maximize,minimise]", "expected minimize or maximize, .*; did you mean 'minimize'?"),
        ("hydra.sweeper.n_trials=-2", "expected a whole number of at least 1"),
        ("hydra.sweeper.n_jobs=many", "expected a whole number of at least 1"),
    ],
)
def test_what_optuna_does_not_take_is_refused_by_name(cli: Any, small: list[str], argument: str, said: str) -> None:
    sweeper = _optuna(2, "maximize")[1]
    sweep = ["-m", sweeper, argument, "objective=score", "backbone.kwargs.width=choice(0.1,0.2)"]
    code, printed, err = cli("transfer", *small, *sweep)
    assert (code, printed) == (2, "")
    assert re.fullmatch(rf"solo-invariance: error: .*{re.escape(argument)}: {said.replace('?', '.')}\n", err), err
    assert "backbone" not in err


def test_a_number_that_one_job_lacks_is_no_reason_to_end_the_sweep(cli: Any, small: list[str]) -> None:
    """Only the results show which of the tasks has it."""
    sweep = [*_optuna(4, "maximize"), "task.name=choice(position,hue)", "backbone.kwargs.width=0.125"]
    small = [one for one in small if not one.startswith("task.name")]
    code, printed, err = cli("transfer", *small, *sweep, "objective=outputs.cos(object_hue)")
    assert code == 2
    assert {*_scores()} == {"task.name=hue", "task.name=position"}
    assert "best: task.name=hue: outputs.cos(object_hue) " in printed
    lines = [line for line in err.splitlines() if "error" in line]
    assert lines
    assert all("objective=outputs.cos(object_hue): there is no such number" in line for line in lines)
    assert "jobs failed" in err


def test_several_objectives_have_several_best_jobs(cli: Any, small: list[str]) -> None:
    sweep = [*_optuna(3, "maximize", "minimize"), "backbone.kwargs.width=choice(0.125,0.25,0.5)"]
    code, printed, err = cli("transfer", *small, *sweep, "objective=[score,num_features]")
    assert code == 0, err
    found = {(one["score"], one["backbone"]["num_features"]) for one in _scores().values()}
    best = {(s, n) for s, n in found if not any(t >= s and m <= n and (t, m) != (s, n) for t, m in found)}
    written = yaml.safe_load(Path("runs/transfer/optimization_results.yaml").read_text())["solutions"]
    assert {tuple(one["values"]) for one in written} == best
    for score, width in best:
        assert f"score {score:.4g} (maximize), num_features {width:.4g} (minimize)" in printed


def test_an_objective_changes_no_run(cli: Any, small: list[str]) -> None:
    one = [*small, "backbone.kwargs.width=0.125", "out=o"]
    assert cli("transfer", *one)[0] == 0
    before = Path("o/transfer.npz").stat().st_mtime_ns
    code, _, err = cli("transfer", *one, "objective=score")
    assert code == 0, err
    assert Path("o/transfer.npz").stat().st_mtime_ns == before
    code, printed, err = cli("transfer", *one, "objective=scores")  # a job by itself, too
    assert (code, printed) == (2, "")
    assert "did you mean 'score'?" in err


def test_a_grid_shows_its_objective_and_has_no_direction(cli: Any, small: list[str]) -> None:
    code, printed, err = cli("transfer", *small, "-m", "backbone.kwargs.width=0.125,0.25", "objective=score")
    assert code == 0, err
    assert "objective score" in printed
    assert "best:" not in printed


def test_health_is_sought_by_measuring(cli: Any, small: list[str]) -> None:
    backbone = small[:2]
    sweep = [*_optuna(2, "maximize"), "backbone.kwargs.width=choice(0.125,0.25)", "objective=health.rankme"]
    images = ["data.name=latent_scenes", "data.num_images=40", "data.size=32", "views=[]", "device=cpu"]
    code, printed, err = cli("measure", *backbone, *images, *sweep, "transforms=[]", "metrics=[rankme]")
    assert code == 0, err
    found = [json.loads(path.read_text())["health"]["rankme"]["mean"] for path in Path("runs").rglob("invariance.json")]
    assert f"health.rankme {max(found):.4g} (maximize)" in printed


def test_a_database_that_optuna_cannot_keep_is_refused_at_once(cli: Any, small: list[str]) -> None:
    _require(OPTUNA)
    if version("optuna").startswith("2.") and not version("sqlalchemy").startswith("1."):
        storage = "hydra.sweeper.storage=sqlite:///study.db"
        code, _, err = cli("transfer", *small, *_optuna(1, "maximize"), storage, "objective=score")
        assert code == 2
        assert "pip install 'sqlalchemy<2'" in err
        assert os.listdir() == []


# What may be sought


def test_the_numbers_of_a_measurement_are_its_means(write_invariance: Any, make_transform: Any, make_view: Any) -> None:
    file = write_invariance(
        "a", "a",
        transforms={
            "rotation": make_transform(0.5),
            "shear": make_transform(0.7),
            "hue": make_transform(0.9, kind="appearance"),
        },
        views={"pose": make_view(0.25)},
        health={"rankme": {"mean": 40.5, "ci95": [40.0, 41.0]}},
    )  # fmt: skip
    numbers = InvarianceResult.read(file).numbers()
    expected = {
        "similarity.rotation": 0.5,
        "similarity.hue": 0.9,
        "similarity.pose": 0.25,
        "similarity.mean_spatial": 0.6,
        "similarity.mean_appearance": 0.9,
        "similarity.mean_spatial_views": 0.25,
        "similarity_without_identity.rotation": 0.4,
        "distance.hue": 1.0,
        "health.rankme": 40.5,
        "num_features": 128,
        "seconds": 12.34,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)


def test_the_numbers_of_a_score(write_transfer: Any) -> None:
    result = TransferResult.read(write_transfer("a", "a", task="t", score=0.75, outputs={"x": 0.5}))
    assert result.numbers() == {"score": 0.75, "outputs.x": 0.5, "num_features": 128, "seconds": 12.34}


def test_the_score_of_a_fusion_is_of_what_was_added() -> None:
    step = {"member": 0, "label": "a", "metric": "r2", "gain": 0.1, "candidates": {}}
    steps = [
        step | {"score": score, "accepted": accepted} for score, accepted in ((0.5, True), (0.6, True), (0.9, False))
    ]
    about = {"schema": 1, "kind": "fuse", "members": [], "mode": "auto", "task": "t", "num_train": 3, "folds": 2}
    about |= {"labels": ["a"], "seed": 0, "versions": {}}
    assert FusionResult.from_content(about | {"steps": steps}).best_score == 0.6
    assert FusionResult.from_content(about | {"score": 0.7}).best_score == 0.7
    assert FusionResult.from_content(about).best_score is None


def test_numbers_that_are_none_are_not_recorded(tmp_path: Path) -> None:
    """A run may log any; JSON has no infinity."""
    with recorded_to(tmp_path / "0.json"):
        deliver(Outcome("run", {}, [], {"loss": 1.5, "health/alpha_req": float("inf"), "similarity": float("nan")}))
    assert json.loads((tmp_path / "0.json").read_text())["numbers"] == {"loss": 1.5}


def test_a_log_gives_the_mean_over_the_last_epoch_that_has_a_column(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,train_loss,health/rankme\n0,0,9,\n0,1,7,3\n1,2,5,\n1,3,4,\n1,3,,\n")
    assert last_logged(file) == {"train_loss": 4.5, "health/rankme": 3.0}
    assert last_logged(tmp_path / "nothing.csv") == {}


@pytest.mark.parametrize(
    ("values", "directions", "best"),
    [
        ([1.0, 3.0, 2.0], ["maximize"], [1]),
        ([1.0, 3.0, 2.0], ["minimize"], [0]),
        ([3.0, 3.0], ["maximize"], [0]),
        ([1.0], [], []),
        ([(1.0, 5.0), (2.0, 5.0), (3.0, 9.0), (0.0, 9.0)], ["maximize", "minimize"], [1, 2]),
        ([(1.0, 5.0), (1.0, 5.0)], ["maximize", "maximize"], [0, 1]),
    ],
)
def test_the_best_are_those_that_no_other_beats(values: list[Any], directions: list[str], best: list[int]) -> None:
    found = {
        number: {
            "objective": dict(zip("ab", one if isinstance(one, tuple) else (one,), strict=False)),
            "directions": directions,
        }
        for number, one in enumerate(values)
    }
    assert best_of(found | {len(values): {"swept": {}, "error": "no"}}) == best


def test_names_are_looked_up_and_what_is_wrong_is_listed() -> None:
    assert values_of(["b", "a"], {"a": 1.0, "b": 2.0, "c": 3.0}) == [2.0, 1.0]
    assert values_of(None, {}) == []
    for chosen, message in (
        ("d", "objective=d: there is no such number; there are a, b"),
        ("a", "objective=a: is nan"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            values_of(chosen, {"a": float("nan"), "b": 2.0})
        assert not isinstance(caught.value, ObjectiveError)  # by which a sweep ends
    with pytest.raises(ObjectiveError, match="expected the name of a number"):
        require_objective(3, ["a"])
    with pytest.raises(ObjectiveError, match="and 8 more"):
        require_objective("x", map(str, range(20)))
    require_objective("k_1", [], ["k_"])


def test_names_that_are_known_without_importing_anything_are_those_that_are_measured() -> None:
    assert (*METRICS,) == ALWAYS_MEASURED
    assert (*HEALTH,) == OF_FEATURES
    assert EVERYWHERE == ("num_features", "seconds")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["measure", "data.name=latent_scenes", "transforms=[hue]", "objective=similarity.rotation"], "similarity.hue"),
        (["measure", "data.name=latent_scenes", "objective=health.rankme"], "there are num_features, seconds"),
        (["pretrain", "objective=accuracy"], "there are loss, train_NAME"),
        (["pretrain", "objective=transfer/shape/accuracy"], "there are loss, train_NAME"),
        (["fuse", "members=[a.ckpt,b.ckpt]", "objective=score"], "there are num_features"),
        (["transfer", "tasks=[hue,shape]", "objective=score"], "score.mean, score.hue, score.shape"),
    ],
)
def test_what_a_command_will_not_have_is_refused_before_anything_is_loaded(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *others = arguments
    backbone = ["backbone.name=random:resnet10"] if command in ("measure", "transfer") else []
    code, printed, err = cli(command, *backbone, *others)
    assert (code, printed, len(err.splitlines())) == (2, "", 1)
    assert "there is no such number" in err
    assert said in err
    assert os.listdir() == []
