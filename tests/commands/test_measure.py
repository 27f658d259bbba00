import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from solo_invariance.commands.measure import measure
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.measure import DataConfig, MeasureConfig
from solo_invariance.data.latent_scenes.dataset import VIEW_SETS
from solo_invariance.measure import InvarianceResults, PartialResultFiles
from solo_invariance.measure.loop.transform_run import TransformRun
from solo_invariance.measure.sources import VIEW_KINDS
from solo_invariance.processes import Processes
from solo_invariance.results.run_directory import RunDirectory


def _arguments(checkpoint: Path, out: Path, *more: str) -> list[str]:
    return [
        "measure",
        f"backbone.checkpoint={checkpoint}",
        "data.name=latent_scenes",
        "data.num_images=40",
        "data.size=32",
        "data.num_groups=4",
        "data.num_views=3",
        "num_images=10",
        "k=4",
        "device=cpu",
        f"out={out}",
        *more,
    ]


def test_the_result_has_what_the_contract_says(cli, host_checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, err = cli(
        *_arguments(host_checkpoint("ventral"), out, "transforms=[rotation,translation,hue,h_flip]")
    )
    assert code == 0, err
    result = json.loads((out / "invariance.json").read_text())
    assert (result["schema"], result["label"], result["protocol"], result["seed"]) == (1, "ventral", "clean", 0)
    assert list(result["transforms"]) == ["rotation", "translation", "hue", "h_flip"]
    for name, entry in result["transforms"].items():
        assert entry["kind"] == ("appearance" if name == "hue" else "spatial")
        for metric in ("similarity", "distance"):
            low, high = entry[metric]["ci95"]
            assert low <= entry[metric]["mean"] <= high
            assert len(entry[metric]["curve"]) == len(entry["parameters"])
        assert set(entry["similarity_without_identity"]) == {"mean", "ci95", "standard_error", "reference_error"}
        arrays = np.load(out / f"{name}.npz")
        assert arrays["similarity"].shape == (10, len(entry["parameters"]))
        np.testing.assert_allclose(arrays["similarity"].mean(axis=0), entry["similarity"]["curve"], atol=1e-6)
    assert list(result["views"]) == ["pose", "light_direction", "light_hue"]
    assert result["views"]["pose"]["num_groups"] == 4
    assert result["config"]["k"] == 4
    assert result["backbone"]["sha256"]
    assert {"torch", "solo-invariance"} <= set(result["versions"])
    for name in ("rotation", "pose"):
        assert name in printed


def test_an_interrupted_run_goes_on_to_the_same_numbers(cli, host_checkpoint, tmp_path: Path, monkeypatch) -> None:
    arguments = [*_arguments(host_checkpoint("ventral"), tmp_path / "whole"), "num_images=40", "k=64"]
    assert cli(*arguments, "transforms=[rotation,hue,h_flip]")[0] == 0
    whole = json.loads((tmp_path / "whole" / "invariance.json").read_text())
    kept: list[int] = []
    original = PartialResultFiles.add

    def interrupted(self, part) -> None:
        if len(kept) == 1:
            kept.append(0)
            raise KeyboardInterrupt
        kept.append(len(part.rows))
        original(self, part)

    monkeypatch.setattr(PartialResultFiles, "add", interrupted)
    again = [*arguments, "transforms=[rotation,hue,h_flip]", f"out={tmp_path / 'parts'}"]
    code, _, err = cli(*again)
    assert (code, "interrupted" in err) == (130, True)
    assert not (tmp_path / "parts" / "invariance.json").exists()
    assert cli(*again)[0] == 0
    assert sum(kept) == 40 + 3 * 4  # every image once, and the groups of three view sets
    resumed = json.loads((tmp_path / "parts" / "invariance.json").read_text())
    assert resumed["transforms"] == whole["transforms"]
    assert resumed["views"] == whole["views"]
    assert not list((tmp_path / "parts" / "parts").glob("rows-*"))


def test_more_transforms_join_and_another_configuration_is_refused(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint, out = host_checkpoint("ventral"), tmp_path / "out"
    cli(*_arguments(checkpoint, out, "transforms=[hue]", "views=[]"))
    code, _, _ = cli(*_arguments(checkpoint, out, "transforms=[hue,h_flip]", "views=[]", "batch_size=7"))
    assert code == 0
    assert list(json.loads((out / "invariance.json").read_text())["transforms"]) == ["hue", "h_flip"]
    before = (out / "invariance.json").read_bytes()
    code, _, err = cli(*_arguments(checkpoint, out, "transforms=[hue]", "k=5"))
    assert code == 2
    assert "holds results of another run (k: 4 there, 5 now); choose another out" in err
    code, _, err = cli(*_arguments(host_checkpoint("dorsal", 1), out, "transforms=[hue]"))
    assert code == 2
    assert "sha256" in err
    assert (out / "invariance.json").read_bytes() == before


def test_photographs_under_both_protocols(cli, photo_folder: Path, tmp_path: Path) -> None:
    common = [
        "measure",
        # A layer without a rectifier: none of its features is constant, as the paper's protocol requires.
        "backbone.name=random:timm:test_vit",
        "backbone.layer=blocks.0",
        f"data.path={photo_folder / 'val'}",
        f"reference.path={photo_folder}",
        "transforms=[scale,saturation]",
        "num_images=12",
        "k=4",
        "device=cpu",
    ]
    results = {}
    for protocol in ("paper", "clean"):
        out = tmp_path / protocol
        code, _, err = cli(*common, f"protocol={protocol}", f"out={out}")
        assert code == 0, err
        results[protocol] = json.loads((out / "invariance.json").read_text())
    shears = {p: [row[1] for row in r["transforms"]["scale"]["parameters"]] for p, r in results.items()}
    assert set(shears["paper"]) == {1.0}
    assert set(shears["clean"]) == {0.0}
    reference = {"num_images": 72, "num_files": 72, "shrinkage": 0.0, "estimator": "sample", "unreadable": []}
    assert len(results["paper"]["reference"].pop("fingerprint")) == 32
    assert results["paper"]["reference"] == reference


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.path={photos}", "data.name=latent_scenes"], "one of them"),
        (["data.name=latent_senes"], "choose the embedded latent_scenes, or a view set: coil100"),
        (["data.path={photos}", "views=[pose]"], "a folder of images has no view sets"),
        (["data.name=latent_scenes", "data.num_images=20", "views=[poses]"], "views: there is no 'poses'"),
        (["data.path={tmp}/nowhere"], "nowhere: no such folder of images"),
        (["data.path={tmp}"], "no images in it"),
        (["data.path={photos}", "resize=8"], "resize=8 is smaller than crop_size=32"),
        (["data.path={photos}", "protocol=paper"], "more than 64 images are needed"),
    ],
)
def test_what_cannot_be_measured(cli, host_checkpoint, photo_folder, tmp_path: Path, arguments, message: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [argument.format(photos=photo_folder / "val", tmp=empty) for argument in arguments]
    code, _, err = cli("measure", f"backbone.checkpoint={host_checkpoint()}", f"out={tmp_path / 'out'}", "k=4", *given)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out" / "invariance.json").exists()


def test_every_embedded_view_set_has_a_kind() -> None:
    assert set(VIEW_KINDS) == set(VIEW_SETS)


def test_a_run_killed_before_any_transform_goes_on(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint, out = host_checkpoint("ventral"), tmp_path / "out"
    arguments = _arguments(checkpoint, out, "transforms=[hue]", "views=[]")
    cli(*arguments)
    whole = json.loads((out / "invariance.json").read_text())
    (out / "parts" / "moments.npz").unlink()
    assert cli(*arguments)[0] == 0
    assert json.loads((out / "invariance.json").read_text())["reference"] == whole["reference"]


def test_statistics_that_were_kept_and_are_broken_are_named(cli, host_checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = _arguments(host_checkpoint(), out, "transforms=[hue]", "views=[]")
    assert cli(*arguments)[0] == 0
    whole = json.loads((out / "invariance.json").read_text())
    (out / "parts" / "moments.npz").write_bytes(b"broken")
    for more in ([], ["transforms=[hue,h_flip]"]):
        code, _, err = cli(*arguments, *more)
        assert code == 2
        assert "parts/moments.npz: cannot be read" in err
        assert "remove it, and the statistics are computed again" in err
        assert len(err.strip().splitlines()) == 1
    (out / "parts" / "moments.npz").unlink()
    assert cli(*arguments)[0] == 0
    assert json.loads((out / "invariance.json").read_text())["transforms"] == whole["transforms"]


def test_statistics_that_are_not_what_was_written_are_named(cli, host_checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = _arguments(host_checkpoint(), out, "transforms=[hue]", "views=[]")
    assert cli(*arguments)[0] == 0
    path = out / "parts" / "moments.npz"
    with np.load(path) as arrays:
        np.savez(path, **{name: array[:5] if name == "|mean" else array for name, array in arrays.items()})
    (out / "invariance.json").unlink()
    (out / "parts" / "hue.json").unlink()
    code, _, err = cli(*arguments)
    assert code == 2
    assert f"{path}: '|mean' in it is not what was written; remove it, and the statistics are computed again" in err


@pytest.mark.parametrize("name", ["parts/hue.json", "hue.npz", "parts/moments.npz"])
def test_a_folder_where_a_result_goes_is_refused_before_measuring(cli, host_checkpoint, tmp_path: Path, name) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    before = sorted((tmp_path / "out").rglob("*"))
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "out", "transforms=[hue]", "views=[]"))
    assert code == 2
    assert f"{name}: is a directory" in err
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_a_failed_run_does_not_claim_its_directory(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    broken = tmp_path / "photos"
    broken.mkdir()
    for index, path in enumerate(sorted((photo_folder / "val").rglob("*.jpg"))[:6]):
        (broken / f"{index}.jpg").write_bytes(path.read_bytes())
    (broken / "5.jpg").write_bytes(b"broken")
    arguments = ["measure", f"backbone.checkpoint={host_checkpoint()}", "transforms=[hue]", f"out={tmp_path / 'out'}"]
    code, _, err = cli(*arguments, f"data.path={broken}", "k=4")
    assert code == 2
    assert "5.jpg: not a readable image" in err
    (broken / "5.jpg").unlink()
    assert cli(*arguments, f"data.path={broken}", "k=5")[0] == 0


def test_other_images_of_the_same_number_are_another_run(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    arguments = [
        "measure",
        f"backbone.checkpoint={host_checkpoint()}",
        "transforms=[hue]",
        "k=4",
        f"out={tmp_path / 'out'}",
    ]
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = sorted((photo_folder / "val").rglob("*.jpg"))
    for index in range(4):
        (folder / f"{index}.jpg").write_bytes(paths[index].read_bytes())
    assert cli(*arguments, f"data.path={folder}")[0] == 0
    (folder / "3.jpg").write_bytes(paths[9].read_bytes())
    code, _, err = cli(*arguments, f"data.path={folder}")
    assert code == 2
    assert "images:" in err


@pytest.mark.parametrize("change", ["another image", "one more", "one less"])
def test_other_reference_images_are_another_run(cli, host_checkpoint, photo_folder, tmp_path: Path, change) -> None:
    paths = sorted((photo_folder / "val").rglob("*.jpg"))
    for folder, chosen in (("photos", paths[:4]), ("reference", paths[4:8])):
        (tmp_path / folder).mkdir()
        for index, path in enumerate(chosen):
            (tmp_path / folder / f"{index}.jpg").write_bytes(path.read_bytes())
    arguments = ["measure", f"backbone.checkpoint={host_checkpoint()}", "transforms=[hue]", "k=4"]
    arguments += [f"data.path={tmp_path / 'photos'}", f"reference.path={tmp_path / 'reference'}"]
    arguments += ["device=cpu", f"out={tmp_path / 'out'}"]
    assert cli(*arguments)[0] == 0
    written = (tmp_path / "out" / "invariance.json").read_bytes()
    assert cli(*arguments)[0] == 0
    if change == "one less":
        (tmp_path / "reference" / "3.jpg").unlink()
    else:
        (tmp_path / "reference" / ("3.jpg" if change == "another image" else "4.jpg")).write_bytes(
            paths[9].read_bytes()
        )
    before = (tmp_path / "out" / "invariance.json").read_bytes()
    assert json.loads(before)["transforms"] == json.loads(written)["transforms"]
    code, _, err = cli(*arguments)
    assert code == 2
    assert "holds results of another run (images:" in err
    assert (tmp_path / "out" / "invariance.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transforms=[]", "views=[]"], "nothing to measure"),
        (["out="], "out is empty"),
        (["out={file}/x"], "cannot be written"),
        (["out={file}"], "is a file, expected a directory"),
        (["data.num_views=1"], "data.num_views=1: expected at least 2"),
        (["seed=-1"], "seed=-1: expected a whole number from 0"),
        (["backbone.crop_size=0"], "backbone.crop_size=0: expected at least 1"),
    ],
)
def test_values_and_places_that_do_not_work(cli, host_checkpoint, tmp_path: Path, arguments, message: str) -> None:
    file = tmp_path / "file"
    file.touch()
    given = [argument.format(file=file) for argument in arguments]
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "out", "transforms=[hue]"), *given)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def _result(out: Path) -> dict:
    return json.loads((out / "invariance.json").read_text())


def _numbers(out: Path) -> dict[str, Mapping]:
    result = _result(out)
    return {"reference": result["reference"], "transforms": result["transforms"], "views": result["views"]}


def _arrays(out: Path) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(out.glob("*.npz")):
        with np.load(path) as arrays:
            found |= {f"{path.stem}|{name}": arrays[name] for name in arrays}
    return found


def _same_arrays(found: Path, expected: Path) -> None:
    ours, theirs = _arrays(found), _arrays(expected)
    assert {*ours} == {*theirs}
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


# Killed, and several processes


def test_a_process_that_was_killed_is_gone_on_with_to_the_same_numbers(
    cli, host_checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*_arguments(host_checkpoint(), tmp_path / "whole"), "data.num_images=200", "num_images=200", "k=64"]
    arguments += ["transforms=[rotation,hue,h_flip]", "num_workers=1"]
    assert cli(*arguments)[0] == 0
    command = [sys.executable, "-m", "solo_invariance.cli", *arguments, f"out={tmp_path / 'killed'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = tmp_path / "killed" / "parts"
    deadline = time.monotonic() + 120
    while killed.poll() is None and not list(parts.glob("rows-*.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    kept = PartialResultFiles(parts).done("rotation")
    assert 0 < len(kept) < 200
    assert not (tmp_path / "killed" / "invariance.json").exists()

    measured: list[int] = []
    original = PartialResultFiles.add

    def counted(self, part) -> None:
        measured.extend(part.rows if "rotation" in part.names else [])
        original(self, part)

    monkeypatch.setattr(PartialResultFiles, "add", counted)
    code, _, err = cli(*arguments, f"out={tmp_path / 'killed'}")
    assert code == 0, err
    assert sorted([*measured, *kept]) == list(range(200))
    assert _numbers(tmp_path / "killed") == _numbers(tmp_path / "whole")
    _same_arrays(tmp_path / "killed", tmp_path / "whole")
    assert not list(parts.glob("rows-*.npz"))


def _leaves(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, Mapping):
        return {key: leaf for name, part in value.items() for key, leaf in _leaves(part, f"{prefix}.{name}").items()}
    if isinstance(value, list):
        return {key: leaf for i, part in enumerate(value) for key, leaf in _leaves(part, f"{prefix}[{i}]").items()}
    return {prefix: value}


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_processes_give_the_numbers_of_one(cli, host_checkpoint, tmp_path: Path) -> None:
    more = ["transforms=[hue,h_flip]", "views=[pose]", "metrics=[chance_corrected_similarity,recall_at_1]"]
    # More than one unit of reference images, of images to measure on and of views.
    more += ["data.num_images=300", "num_images=300", "data.num_groups=150", "data.num_views=8"]
    arguments = [*_arguments(host_checkpoint(), tmp_path / "one"), *more]
    assert cli(*arguments)[0] == 0
    code, printed, err = cli(*arguments, f"out={tmp_path / 'two'}", "devices=2")
    assert (code, err) == (0, "")
    assert printed.count("ventral: invariance on") == 1
    one, two = _leaves(_numbers(tmp_path / "one")), _leaves(_numbers(tmp_path / "two"))
    assert {*one} == {*two}
    for name, value in one.items():
        assert two[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name


def test_the_parts_stay_until_the_slowest_process_has_read_them(
    host_checkpoint, in_threads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = str(host_checkpoint())

    def measured(transforms: list[str], processes: Processes | None = None) -> InvarianceResults:
        config = MeasureConfig(
            backbone=BackboneConfig(checkpoint),
            data=DataConfig(name="latent_scenes", num_images=40, size=32),
            transforms=transforms,
            views=[],
            k=4,
            device="cpu",
            out=str(tmp_path / "out"),
        )
        return measure(OmegaConf.structured(config), processes=processes)

    measured(["hue"])  # and the statistics, for which threads would need a process group
    summary = TransformRun.summary

    def slow(self, name: str, layer: str):
        time.sleep(0.5 * self.whitened.processes.rank)
        return summary(self, name, layer)

    monkeypatch.setattr(TransformRun, "summary", slow)
    first, second = in_threads(2, lambda processes: measured(["hue", "h_flip"], processes))
    assert list(first[""].transforms) == ["hue", "h_flip"]
    assert second == {}
    assert not list((tmp_path / "out" / "parts").glob("rows-*"))


# Images that cannot be read


@pytest.fixture
def broken_photos(photo_folder: Path, tmp_path: Path) -> Path:
    """Twenty photographs of which two cannot be read."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, path in enumerate(sorted(photo_folder.rglob("*.jpg"))[:20]):
        (folder / f"{index:02}.jpg").write_bytes(b"broken %d" % index if index in (4, 11) else path.read_bytes())
    return folder


@pytest.mark.parametrize(("where", "budget"), [("data", "full"), ("data", "adaptive"), ("reference", "full")])
def test_images_that_cannot_be_read_are_left_out_listed_and_said(
    cli, host_checkpoint, photo_folder, broken_photos, tmp_path: Path, where: str, budget: str
) -> None:
    other = "reference" if where == "data" else "data"
    folders = [f"{where}.path={broken_photos}", f"{other}.path={photo_folder / 'val'}"]
    out = tmp_path / "out"
    arguments = ["measure", f"backbone.checkpoint={host_checkpoint()}", *folders, "transforms=[hue,h_flip]", "k=4"]
    arguments += [f"budget={budget}", "device=cpu", f"out={out}", "metrics=[recall_at_1]"]
    code, _, err = cli(*arguments)
    assert code == 2
    assert "04.jpg: not a readable image" in err
    assert "on_error=skip leaves such images out" in err
    code, _, err = cli(*arguments, "on_error=skip")
    assert code == 2
    assert "images cannot be read, more than max_unreadable=0.01 of them: " in err
    assert len(err.strip().splitlines()) == 1
    code, printed, err = cli(*arguments, "on_error=skip", "max_unreadable=0.1")
    assert code == 0, err
    broken = [str(broken_photos / "04.jpg"), str(broken_photos / "11.jpg")]
    assert f"left out, not readable: 2 images ({', '.join(broken)})" in printed
    result = _result(out)
    in_reference = where == "reference"
    assert result["reference"]["unreadable"] == (broken if in_reference else [])
    assert result["reference"]["num_images"] == (18 if in_reference else 24)
    for entry in result["transforms"].values():
        assert entry["unreadable"] == ([] if in_reference else broken)
        assert entry["num_images"] == (24 if in_reference else 18)


def test_a_view_that_cannot_be_read_is_left_out_with_a_group_of_one(
    cli, host_checkpoint, photo_folder, tmp_path: Path
) -> None:
    paths = iter(sorted(photo_folder.rglob("*.jpg")))
    for name, count in (("a", 3), ("b", 2), ("c", 4)):
        (tmp_path / "views" / name).mkdir(parents=True)
        for view in range(count):
            (tmp_path / "views" / name / f"{view}.jpg").write_bytes(next(paths).read_bytes())
    for name in ("a/1.jpg", "b/0.jpg"):
        (tmp_path / "views" / name).write_bytes(b"broken")
    arguments = ["measure", f"backbone.checkpoint={host_checkpoint()}", "data.name=view_folders", "device=cpu"]
    arguments += [
        f"data.path={tmp_path / 'views'}",
        f"reference.path={photo_folder / 'val'}",
        f"out={tmp_path / 'out'}",
    ]
    assert "1.jpg: not a readable image" in cli(*arguments)[2]
    code, printed, err = cli(*arguments, "on_error=skip", "max_unreadable=0.3")
    assert code == 0, err
    entry = _result(tmp_path / "out")["views"]["view_folders"]
    assert entry["num_groups"] == 2
    assert entry["unreadable"] == [str(tmp_path / "views" / name) for name in ("a/1.jpg", "b/0.jpg")]
    assert "left out, not readable: 2 images" in printed
    with np.load(tmp_path / "out" / "view_folders.npz") as arrays:
        assert [name.split()[0] for name in arrays["names"].tolist()] == ["a", "c"]


# What was measured before


def _spy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Note what is measured from now on."""
    measured: list[tuple[str, ...]] = []
    original = PartialResultFiles.add

    def noted(self, part) -> None:
        measured.append(tuple(part.names))
        original(self, part)

    monkeypatch.setattr(PartialResultFiles, "add", noted)
    return measured


def test_what_is_finished_is_kept_and_speed_makes_no_other_run(
    cli, host_checkpoint, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "out"
    arguments = _arguments(host_checkpoint(), out, "views=[pose]")
    assert cli(*arguments, "transforms=[hue]")[0] == 0
    before, measured = _arrays(out), _spy(monkeypatch)
    faster = ["batch_size=7", "num_workers=0", "on_error=skip", "max_unreadable=0.5"]
    assert cli(*arguments, "transforms=[h_flip,hue]", "views=[light_hue,pose]", *faster)[0] == 0
    assert {*measured} == {("h_flip",), ("light_hue",)}
    result = _result(out)
    assert (list(result["transforms"]), list(result["views"])) == (["h_flip", "hue"], ["light_hue", "pose"])
    after = _arrays(out)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    measured.clear()
    assert cli(*arguments, "transforms=[hue]")[0] == 0
    assert measured == []
    assert list(_result(out)["transforms"]) == ["hue"]


def test_whatever_changes_numbers_is_another_run(cli, host_checkpoint, tmp_path: Path) -> None:
    arguments = _arguments(host_checkpoint(), tmp_path / "out", "transforms=[hue]", "views=[]")
    assert cli(*arguments)[0] == 0
    changes = ["k=5", "num_images=9", "seed=1", "protocol=paper", "budget=adaptive", "target_se=0.1", "gallery=5"]
    for change in [*changes, "metrics=[mrr]", "precision=bf16", "twin=true"]:
        code, _, err = cli(*arguments, change)
        assert code == 2
        assert f"holds results of another run ({change.partition('=')[0]}: " in err


def test_a_directory_that_another_run_is_at_work_in_is_left_alone(cli, host_checkpoint, tmp_path: Path) -> None:
    arguments = _arguments(host_checkpoint(), tmp_path / "out", "transforms=[hue]", "views=[]")
    with RunDirectory(tmp_path / "out", "", {}).locked():
        code, _, err = cli(*arguments)
    assert code == 2
    assert f"out={tmp_path / 'out'}: another run is at work there; wait for it, or choose another" in err
    assert list((tmp_path / "out").rglob("*.json")) == []
    assert cli(*arguments)[0] == 0
    assert not (tmp_path / "out" / ".lock").exists()


# Several backbones side by side, all metrics, and the adaptive budget


def test_the_twin_stands_beside_the_trained_backbone_and_changes_nothing_of_it(
    cli, host_checkpoint, tmp_path: Path
) -> None:
    checkpoint, more = host_checkpoint(), ("transforms=[hue,rotation]", "views=[pose]", "metrics=[mrr]")
    assert cli(*_arguments(checkpoint, tmp_path / "alone", *more))[0] == 0
    code, printed, err = cli(*_arguments(checkpoint, tmp_path / "out", *more, "twin=true"))
    assert code == 0, err
    _same_arrays(tmp_path / "out", tmp_path / "alone")
    assert _numbers(tmp_path / "out") == _numbers(tmp_path / "alone")
    trained, twin = _result(tmp_path / "out"), _result(tmp_path / "out" / "untrained")
    assert (trained["label"], twin["label"]) == ("ventral", "ventral (untrained)")
    assert trained["backbone"]["checkpoint"] == str(checkpoint)
    assert (twin["backbone"]["checkpoint"], twin["backbone"]["sha256"]) == (None, None)
    assert twin["backbone"]["num_features"] == 64
    for name in ("hue", "rotation"):
        assert twin["transforms"][name]["similarity"]["mean"] != trained["transforms"][name]["similarity"]["mean"]
    assert "ventral: invariance" in printed
    assert "ventral (untrained): invariance" in printed
    differences = json.loads((tmp_path / "out" / "comparison_untrained.json").read_text())
    assert differences["views"]["pose"]["similarity"]["mean"] == pytest.approx(
        trained["views"]["pose"]["similarity"]["mean"] - twin["views"]["pose"]["similarity"]["mean"], abs=1e-6
    )


@pytest.mark.parametrize("twin", [False, True])
def test_layers_have_files_of_their_own_and_the_numbers_that_each_has_alone(
    cli, host_checkpoint, tmp_path: Path, twin: bool
) -> None:
    checkpoint, more = host_checkpoint(), ["transforms=[hue]", "views=[pose]", f"twin={twin}"]
    code, printed, err = cli(*_arguments(checkpoint, tmp_path / "out", *more, "backbone.layer=[layer2,layer3]"))
    assert code == 0, err
    assert not (tmp_path / "out" / "invariance.json").exists()
    for layer, width in (("layer2", 16), ("layer3", 32)):
        assert cli(*_arguments(checkpoint, tmp_path / layer, *more, f"backbone.layer={layer}"))[0] == 0
        for block, suffix in {"": "", "untrained": " (untrained)"}.items() if twin else [("", "")]:
            side_by_side, alone = _result(tmp_path / "out" / block / layer), _result(tmp_path / layer / block)
            assert side_by_side["label"] == f"ventral {layer}{suffix}"
            assert alone["label"] == f"ventral{suffix}"
            for result in (side_by_side, alone):
                assert (result["backbone"]["layer"], result["backbone"]["num_features"]) == (layer, width)
            _same_arrays(tmp_path / "out" / block / layer, tmp_path / layer / block)
            assert f"ventral {layer}{suffix}: invariance" in printed


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_every_metric_on_every_transform(cli, host_checkpoint, tmp_path: Path, budget: str) -> None:
    out = tmp_path / "out"
    arguments = _arguments(host_checkpoint(), out, "metrics=all", "transforms=all", "k=16", f"budget={budget}")
    code, printed, err = cli(*arguments)
    assert (code, err) == (0, "")
    result = _result(out)
    assert len(result["transforms"]) == 18
    metrics = {
        "similarity",
        "width_matched_similarity",
        "distance",
        "chance_corrected_similarity",
        "recall_at_1",
        "mrr",
        "parameter_readout",
        "equivariance",
    }
    for name, entry in result["transforms"].items():
        assert metrics <= {*entry}, name
        for metric in metrics:
            low, high = entry[metric]["ci95"]
            assert low <= high
            assert ("curve" in entry[metric]) == (metric not in ("parameter_readout", "equivariance"))
        assert 0 <= entry["recall_at_1"]["mean"] <= entry["mrr"]["mean"] <= 1
        # Chance is near nothing, so that what is corrected for it is nearly the same.
        assert entry["chance_corrected_similarity"]["mean"] == pytest.approx(entry["similarity"]["mean"], abs=0.1)
        assert entry["parameter_readout"]["mean"] < 1
        assert name in printed
        identity = entry["identity"]
        if identity is not None:
            assert entry["recall_at_1"]["curve"][identity] == 1
            assert entry["distance"]["curve"][identity] == pytest.approx(0, abs=1e-3)


def test_the_adaptive_budget_says_whether_its_target_was_reached(cli, host_checkpoint, tmp_path: Path) -> None:
    adaptive = ["data.num_images=200", "num_images=null", "views=[]", "budget=adaptive", "k=16"]
    results = {}
    for name, target in (("easy", 0.05), ("hard", 1e-6)):
        arguments = _arguments(
            host_checkpoint(), tmp_path / name, *adaptive, "transforms=[hue,h_flip]", f"target_se={target}"
        )
        code, printed, err = cli(*arguments)
        assert code == 0, err
        results[name] = _result(tmp_path / name)["transforms"]
        assert ("target_se was not reached for hue, h_flip: more images are needed" in printed) == (name == "hard")
    for name in ("hue", "h_flip"):
        easy, hard = results["easy"][name], results["hard"][name]
        assert (easy["target_reached"], hard["target_reached"]) == (True, False)
        assert easy["num_images"] < hard["num_images"] == 200
        # The many images are those that the few were drawn from.
        low, high = easy["similarity"]["ci95"]
        half = (high - low) / 2
        assert low - half <= hard["similarity"]["mean"] <= high + half
    assert results["hard"]["h_flip"]["num_views"] == 200  # each image shows all of it at once


def test_reference_statistics_of_an_earlier_run_are_found(cli, tmp_path: Path, monkeypatch) -> None:
    from solo_invariance.measure.loop import whitened

    options = (
        "backbone.name=random:resnet10",
        "+backbone.kwargs.width=0.25",
        "backbone.crop_size=32",
        "transforms=[h_flip]",
        "views=[]",
        "data.name=latent_scenes",
        "num_images=20",
        "data.num_images=200",
        "data.size=32",
    )
    results = []
    for out in ("first", "second"):
        code, _, err = cli("measure", *options, f"out={tmp_path / out}")
        assert code == 0, err
        results.append(json.loads((tmp_path / out / "invariance.json").read_text()))
        monkeypatch.setattr(whitened, "reference_statistics", None)
    assert results[0]["transforms"] == results[1]["transforms"]
    assert results[0]["reference"] == results[1]["reference"]


def test_a_reference_that_is_too_small_is_cautioned_against(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    folder = tmp_path / "repeated"
    folder.mkdir()
    for index, path in enumerate(sorted((photo_folder / "val").rglob("*.jpg"))):
        for copy in range(3):
            (folder / f"{index}-{copy}.jpg").write_bytes(path.read_bytes())
    out = tmp_path / "out"
    arguments = ["measure", f"backbone.checkpoint={host_checkpoint()}", f"data.path={photo_folder / 'val'}"]
    more = [f"reference.path={folder}", "transforms=[hue]", "k=4", "device=cpu", f"out={out}"]
    code, printed, err = cli(*arguments, *more)
    assert code == 0, err
    (caution,) = _result(out)["cautions"]
    assert caution.startswith("24 different reference images (of 72 files; pictures that repeat count once) are few")
    assert caution.endswith("128 would be enough (reference.path).")
    assert "caution: 24 different reference images" in printed
    assert "24 different reference images" in (out / "report.html").read_text()
