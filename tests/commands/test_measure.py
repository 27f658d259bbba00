import json
from pathlib import Path

import numpy as np
import pytest

from solo_invariance.commands.measured_data import VIEW_KINDS
from solo_invariance.data.latent_scenes import VIEW_SETS
from solo_invariance.measure import PartFiles


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
        assert set(entry["similarity_without_identity"]) == {"mean", "ci95", "standard_error"}
        arrays = np.load(out / f"{name}.npz")
        assert arrays["similarity"].shape == (10, len(entry["parameters"]))
        np.testing.assert_allclose(arrays["similarity"].mean(axis=0), entry["similarity"]["curve"], atol=1e-9)
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
    original = PartFiles.add

    def interrupted(self, part) -> None:
        if len(kept) == 1:
            kept.append(0)
            raise KeyboardInterrupt
        kept.append(len(part.rows))
        original(self, part)

    monkeypatch.setattr(PartFiles, "add", interrupted)
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
    reference = {"num_images": 72, "shrinkage": 0.0, "estimator": "sample", "unreadable": []}
    assert results["paper"]["reference"] == reference


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.path={photos}", "data.name=latent_scenes"], "one of them"),
        (["data.name=latent_senes"], "choose the embedded latent_scenes, or a view set: coil100"),
        (["data.path={photos}", "views=[pose]"], "a folder of images has no view sets"),
        (["data.name=latent_scenes", "views=[poses]"], "views: there is no 'poses'"),
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transforms=[]", "views=[]"], "nothing to measure"),
        (["out="], "out is empty"),
        (["out={file}/x"], "cannot be written"),
        (["out={file}"], "is a file, expected a directory"),
        (["data.num_views=1"], "data.num_views=1: expected at least 2"),
        (["seed=-1"], "seed=-1: expected at least 0"),
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
