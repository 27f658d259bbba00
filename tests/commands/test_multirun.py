"""Sweeps, and what scripts read."""

import json
import os
from pathlib import Path

import pytest

from solo_invariance.commands.sweep import folder_of
from solo_invariance.commands.sweep_table import told_apart


@pytest.fixture
def small(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a quick measurement, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    common = ["backbone.name=random:resnet10", "backbone.kwargs={width: 0.125}", "backbone.crop_size=32", "device=cpu"]
    return ["measure", *common, f"data.path={photo_folder / 'val'}", "num_images=8", "k=3", "transforms=[hue]"]


def _results(root: Path) -> dict[str, dict]:
    return {str(path.parent.relative_to(root)): json.loads(path.read_text()) for path in root.rglob("invariance.json")}


def test_each_job_has_a_place_of_its_own_and_a_row(cli, small) -> None:
    code, printed, err = cli(*small, "--multirun", "k=3,4", "seed=0,1")
    assert (code, err) == (0, "")
    found = _results(Path("runs/measure"))
    expected = {f"k={k}/seed={seed}": (k, seed) for k in (3, 4) for seed in (0, 1)}
    assert {place: (one["k"], one["seed"]) for place, one in found.items()} == expected
    assert os.listdir() == ["runs"]  # nothing of Hydra's, and no records
    table = printed[printed.index("4 jobs") :].splitlines()
    assert table[1].split() == ["k", "seed", "label", "appearance"]
    rows = {tuple(line.split()[:2]): line for line in table[3:7]}
    for one in found.values():
        assert f"{one['transforms']['hue']['similarity']['mean']:.3f}" in rows[str(one["k"]), str(one["seed"])]


def test_the_same_sweep_goes_on_and_its_report_tells_the_jobs_apart(cli, small) -> None:
    assert cli(*small, "-m", "seed=0,1")[0] == 0
    code, _, err = cli(*small, "-m", "seed=0,1,2")
    assert code == 0, err
    assert cli.plan["work"].startswith("1 transform")  # the last job's
    assert set(_results(Path("runs/measure"))) == {"seed=0", "seed=1", "seed=2"}
    assert cli("report", "runs=[runs/measure]", "out=page.html")[0] == 0
    for seed in range(3):
        assert f"random:resnet10 (seed={seed})" in Path("page.html").read_text()


def test_one_job_that_fails_stops_no_other(cli, small, photo_folder) -> None:
    photos = photo_folder / "val"
    code, printed, err = cli(*small, "-m", f"data.path=nowhere,{photos}", "out=o")
    assert code == 2
    assert len(_results(Path("o"))) == 1
    assert err.splitlines() == [
        "solo-invariance: error: nowhere: no such folder of images",
        "solo-invariance: 1 of 2 jobs failed: data.path=nowhere",
    ]
    assert "failed" in printed


def test_a_place_that_differs_anyway_is_taken_as_it_is(cli, small) -> None:
    assert cli(*small, "-m", "seed=0,1", "out=a/${seed}")[0] == 0
    assert cli(*small, "-m", "out=b,c")[0] == 0
    assert set(_results(Path())) == {"a/0", "a/1", "b", "c"}
    assert cli(*small, "-m", "out=d")[0] == 0  # one job
    assert set(_results(Path("d"))) == {"."}


def test_checkpoints_of_one_name_do_not_clash(cli, small, host_checkpoint) -> None:
    first, second = host_checkpoint("ventral"), host_checkpoint("ventral", 1)
    assert first.name == second.name
    arguments = [one for one in small if not one.startswith("backbone.")]
    code, printed, err = cli(*arguments, "-m", f"backbone.checkpoint={first},{second}")
    assert code == 0, err
    assert len(_results(Path("runs/measure"))) == 2
    assert "ventral-0 " in printed[printed.index("2 jobs") :]


def test_fusions_and_tasks_have_places_of_their_own(cli, small, host_checkpoint) -> None:
    members = f"members=[{host_checkpoint('default')},{host_checkpoint('ventral', 1)}]"
    code, printed, err = cli("fuse", "-m", members, "mode=concat,mean", "device=cpu")
    assert code == 0, err
    assert {str(path) for path in Path().rglob("*.ckpt")} == {
        "fused/mode=concat/fused.ckpt",
        "fused/mode=mean/fused.ckpt",
    }
    assert "default+ventral" in printed[printed.index("2 jobs") :]
    tasks = [
        "transfer",
        "-m",
        "task.name=shape,hue",
        "task.num_train=40",
        "task.num_test=20",
        "task.size=32",
        "folds=2",
    ]
    code, printed, err = cli(*tasks, *small[1:5])
    assert code == 0, err
    assert {str(path.parent) for path in Path().rglob("transfer.json")} == {
        "runs/transfer/task.name=shape",
        "runs/transfer/task.name=hue",
    }
    table = printed[printed.index("2 jobs") :].splitlines()
    assert [line.split()[0] for line in table[3:5]] == ["shape", "hue"]


def test_pretraining_has_folders_of_its_own(cli, small) -> None:
    pytest.importorskip("lightly")
    arguments = ["pretrain", "-m", "augmentations=invariance/ventral,invariance/dorsal", "max_epochs=1"]
    arguments += ["data.num_images=32", "data.size=32", "invariance.crop_size=32", "optimizer.batch_size=16"]
    code, printed, err = cli(*arguments, "accelerator=cpu")
    assert code == 0, err
    found = sorted(str(path.relative_to("trained_models")) for path in Path("trained_models").rglob("*.ckpt"))
    assert [place.split("/")[0] for place in found] == [
        "augmentations=invariance--dorsal",
        "augmentations=invariance--ventral",
    ]
    assert "loss" in printed[printed.index("2 jobs") :]


@pytest.mark.parametrize(
    ("values", "folders"),
    [
        (["16", "64"], ["k=16", "k=64"]),
        (["a/b.ckpt", "a--b.ckpt"], ["k=a--b.ckpt", "k=a--b.ckpt-"]),
        (["x y", "x-y", "x_y"], ["k=x-y-", "k=x-y", "k=x_y"]),
        (["..", "../a", "/"], ["k=", "k=a-", "k="]),
        (["-", ""], ["k=", "k="]),
        (["a" * 300, "a" * 299], [f"k={'a' * 40}-", f"k={'a' * 40}-"]),
        (["['hue', 'blur']", "['hue','blur']"], ["k=hue-blur-", "k=hue-blur-"]),
    ],
)
def test_folders_are_readable_safe_and_unique(values: list[str], folders: list[str]) -> None:
    found = [folder_of("k", value) for value in values]
    assert len(set(found)) == len(values)
    for one, beginning in zip(found, folders, strict=True):
        assert one.startswith(beginning)
        assert "/" not in one
        assert len(one) < 100
        assert Path("out", one).resolve().parent == Path("out").resolve()


def test_values_are_told_apart_by_what_they_do_not_share() -> None:
    assert told_apart(["t/a/0/x.ckpt", "t/b/0/x.ckpt"]) == ["a", "b"]
    assert told_apart(["x", "t/x"]) == ["x", "t/x"]
    assert told_apart(["x", "x"]) == ["x", "x"]


# Quiet, and JSON


def test_json_is_one_document_with_what_the_files_have(cli, small) -> None:
    code, printed, _ = cli(*small, "--json", "out=o")
    assert code == 0
    document = json.loads(printed)
    assert document["results"][""] == json.loads(Path("o/invariance.json").read_text())
    assert (document["out"], document["report"], document["comparisons"]) == ("o", "o/report.html", [])
    assert "SOLO_INVARIANCE_OUTPUT" not in os.environ


def test_json_of_a_sweep_is_one_list_with_errors_in_their_places(cli, small) -> None:
    code, printed, err = cli("--json", *small, "-m", "seed=0,1", "data.path=nowhere", "out=o")
    assert code == 2
    assert [(one["job"], one["swept"], one["error"]) for one in json.loads(printed)] == [
        (number, {"seed": str(number)}, "nowhere: no such folder of images") for number in (0, 1)
    ]
    assert "2 of 2 jobs failed: seed=0; seed=1" in err


def test_an_error_is_one_line_and_under_json_a_document_too(cli, small) -> None:
    code, printed, err = cli(*small, "--json", "data.path=nowhere")
    assert code == 2
    assert json.loads(printed) == {"error": "nowhere: no such folder of images"}
    assert err == "solo-invariance: error: nowhere: no such folder of images\n"
    code, printed, err = cli(*small, "--quiet", "tranforms=[hue]")
    assert (code, printed) == (2, "")
    assert len(err.splitlines()) == 1
    code, printed, err = cli(*small, "--quiet", "--json")
    assert code == 2
    assert "--quiet and --json: one of them" in err


def test_quiet_is_the_path_alone(cli, small) -> None:
    code, printed, err = cli(*small, "-q", "out=o")
    assert (code, printed, err, cli.plan) == (0, "o\n", "", {})
    code, printed, err = cli(*small, "--quiet", "-m", "seed=0,1", "out=s")
    assert (code, printed, err, cli.plan) == (0, "s/seed=0\ns/seed=1\n", "", {})
    assert cli("report", "runs=[s]", "--quiet", "out=page.html")[1] == "page.html\n"
    assert cli("families", "show=[ventral,dorsal]", "--quiet")[1] == "ventral\ndorsal\n"


def test_every_other_command_has_a_document(cli, small, host_checkpoint) -> None:
    def document(*arguments: str) -> dict:
        code, printed, err = cli(*arguments, "--json")
        assert code == 0, err
        return json.loads(printed)

    assert [one["name"] for one in document("families", "show=[ventral,dorsal]")["families"]] == ["ventral", "dorsal"]
    assert len(document("families")["families"]) >= 9
    assert {one["state"] for one in document("doctor")["findings"]} >= {"ok"}
    members = f"members=[{host_checkpoint('default')},{host_checkpoint('ventral', 1)}]"
    fused = document("fuse", members, "device=cpu")
    assert (fused["checkpoint"], fused["num_features"]) == ("fused.ckpt", 128)
    assert fused["members"] == ["default", "ventral"]
    tasks = ["transfer", "tasks=[shape]", "task.num_train=40", "task.num_test=20", "task.size=32", "folds=2"]
    found = document(*tasks, *small[1:5], "out=t")
    assert found["results"]["shape"] == json.loads(Path("t/shape/transfer.json").read_text())
    report = document("report", "runs=[t]", "out=page.html")
    assert [one["path"] for one in report["results"]] == ["t/shape/transfer.json"]
