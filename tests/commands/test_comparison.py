import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm
from scipy.stats import t as student

from solo_invariance.errors import UserError
from solo_invariance.measure.comparison import compare_runs
from solo_invariance.report.collect import collect_results
from solo_invariance.report.paired import compared
from solo_invariance.results import InvarianceComparison

_METRICS = "metrics=[similarity,distance,chance_corrected_similarity,recall_at_1]"


def _arguments(checkpoint: Path, out: Path, *more: str) -> list[str]:
    return [
        "measure",
        f"backbone.checkpoint={checkpoint}",
        "data.name=latent_scenes",
        "data.num_images=40",
        "data.size=32",
        "data.num_groups=6",
        "data.num_views=3",
        "transforms=[hue,h_flip]",
        "views=[pose]",
        "num_images=30",
        "k=4",
        "device=cpu",
        f"out={out}",
        *more,
    ]


def _per_image(out: Path, name: str, metric: str) -> np.ndarray:
    with np.load(out / f"{name}.npz") as arrays:
        return arrays[f"{metric}_per_image"]


@pytest.fixture
def theirs(cli, host_checkpoint, tmp_path: Path) -> Path:
    """Another backbone's run."""
    assert cli(*_arguments(host_checkpoint("dorsal", 1), tmp_path / "theirs", _METRICS))[0] == 0
    return tmp_path / "theirs"


def test_the_report_has_the_differences_of_the_comparison(cli, host_checkpoint, theirs, tmp_path: Path) -> None:
    """With the error of the reference, which both have, and in the direction in which the report needs it."""
    ours = tmp_path / "ours"
    assert cli(*_arguments(host_checkpoint(), ours, _METRICS, f"against={theirs}"))[0] == 0
    written = InvarianceComparison.read(ours / "comparison.json")
    found = compared(collect_results([ours, theirs]))
    seen = 0
    for (quantity, column), differences in found.columns.items():
        for (one, other), difference in differences.pairs.items():
            if column.is_mean:
                continue
            expected = {**written.transforms, **written.views}[column.name].metric(quantity)
            sign = 1 if (one, other) == ("ventral", "dorsal") else -1
            ends = sorted(sign * end for end in expected.ci95)
            assert difference.mean == pytest.approx(sign * expected.mean, abs=1e-12)
            assert difference.ci95 == pytest.approx(ends, abs=1e-9)
            assert difference.reference_error == pytest.approx(expected.reference_error, rel=1e-9)
            seen += 1
    assert seen >= 9  # three metrics of three changes


def test_paired_differences_against_numpy(cli, host_checkpoint, theirs, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    code, printed, err = cli(*_arguments(host_checkpoint(), ours, _METRICS, f"against={theirs}", "seed=0"))
    assert code == 0, err
    page = (ours / "report.html").read_text()
    assert "ventral minus dorsal, as <code>against=</code> found it" in page
    result = json.loads((ours / "comparison.json").read_text())
    assert (result["schema"], result["kind"], result["label"]) == (1, "comparison", "ventral")
    assert result["against"] == {"label": "dorsal", "out": str(theirs)}
    entries = {**result["transforms"], **result["views"]}
    assert list(entries) == ["hue", "h_flip", "pose"]
    for name, entry in entries.items():
        assert entry["kind"] == ("appearance" if name == "hue" else "spatial")
        metrics = {"similarity", "width_matched_similarity", "distance", "chance_corrected_similarity", "recall_at_1"}
        assert {*entry} == {"kind", "num_images", *metrics}
        for metric in metrics:
            first, second = (_per_image(out, name, metric) for out in (ours, theirs))
            assert len(first) == (6 if name == "pose" else 30)
            if metric == "chance_corrected_similarity":
                values = [(s - c) / (1 - c) for s, c in (terms.mean(axis=0) for terms in (first, second))]
                assert entry[metric]["mean"] == pytest.approx(values[0] - values[1], abs=1e-12)
                continue
            differences = (first - second)[:, 0]
            assert entry[metric]["mean"] == pytest.approx(differences.mean(), abs=1e-12)
            assert entry[metric]["standard_error"] == pytest.approx(differences.std() / len(first) ** 0.5, rel=0.1)
            if metric == "recall_at_1":  # in steps, which no interval of a continuous number has
                continue
            low, high = entry[metric]["ci95"]
            draws = np.random.default_rng(0).integers(len(first), size=(4000, len(first)))
            # Percentiles as far out as makes up for few images (Hesterberg 2015, section 3.3).
            count = len(first)
            tail = norm.cdf((count / (count - 1)) ** 0.5 * student.ppf(0.025, count - 1))
            ends = np.quantile(differences[draws].mean(axis=1), [tail, 1 - tail])
            np.testing.assert_allclose([low, high], ends, atol=0.3 * entry[metric]["standard_error"] + 1e-12)
    assert "ventral minus dorsal: paired differences" in printed
    assert f"{entries['hue']['similarity']['mean']:+.3f}" in printed


def test_a_folder_may_lie_elsewhere_in_the_other_run(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    ours, theirs, elsewhere = tmp_path / "ours", tmp_path / "theirs", tmp_path / "elsewhere"
    elsewhere.symlink_to(photo_folder / "val")
    common = ["measure", f"backbone.checkpoint={host_checkpoint()}", "transforms=[hue]", "num_images=6", "k=4"]
    assert cli(*common, f"data.path={photo_folder / 'val'}", f"out={theirs}", "device=cpu")[0] == 0
    code, _, err = cli(*common, f"data.path={elsewhere}", f"out={ours}", f"against={theirs}", "device=cpu")
    assert code == 0, err
    hue = json.loads((ours / "comparison.json").read_text())["transforms"]["hue"]
    assert (hue["num_images"], hue["similarity"]["mean"]) == (6, 0)
    views = ["data.name=view_folders", "data.kind=spatial", "transforms=[]"]
    assert cli(*common, f"data.path={photo_folder / 'val'}", *views, f"out={tmp_path / 'a'}", "device=cpu")[0] == 0
    against = f"against={tmp_path / 'a'}"
    code, _, err = cli(*common, f"data.path={elsewhere}", *views, f"out={tmp_path / 'b'}", against, "device=cpu")
    assert code == 0, err
    (pairs,) = json.loads((tmp_path / "b" / "comparison.json").read_text())["views"].values()
    assert (pairs["num_images"], pairs["similarity"]["mean"]) == (6, 0)


@pytest.mark.parametrize("views", [[], ["data.name=view_folders", "data.kind=spatial", "transforms=[]"]])
def test_other_files_of_the_same_names_are_other_images(
    cli, host_checkpoint, photo_folder, tmp_path: Path, views: list[str]
) -> None:
    shutil.copytree(photo_folder / "val", tmp_path / "corrupted")
    for path in (tmp_path / "corrupted").rglob("*.jpg"):
        Image.open(path).quantize(4).convert("RGB").save(path)
    common = ["measure", f"backbone.checkpoint={host_checkpoint()}", "transforms=[hue]", "num_images=6", "k=4", *views]
    theirs = tmp_path / "theirs"
    assert cli(*common, f"data.path={photo_folder / 'val'}", f"out={theirs}", "device=cpu")[0] == 0
    data = f"data.path={tmp_path / 'corrupted'}"
    code, _, err = cli(*common, data, f"out={tmp_path / 'ours'}", f"against={theirs}", "device=cpu")
    assert code == 2
    assert "measured on other images" in err


def test_a_backbone_differs_from_itself_by_nothing(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint, out = host_checkpoint(), tmp_path / "out"
    assert cli(*_arguments(checkpoint, out))[0] == 0
    assert cli(*_arguments(checkpoint, tmp_path / "same", f"against={out}", "batch_size=7"))[0] == 0
    for entry in json.loads((tmp_path / "same" / "comparison.json").read_text())["transforms"].values():
        assert entry["similarity"]["mean"] == pytest.approx(0, abs=1e-4)
        assert entry["similarity"]["standard_error"] < 1e-4


def test_images_that_both_measured_are_compared_where_an_adaptive_run_needed_more(
    cli, host_checkpoint, tmp_path: Path
) -> None:
    adaptive = ["budget=adaptive", "data.num_images=400", "num_images=null", "views=[]", "transforms=[h_flip]"]
    runs = {"more": ("dorsal", "target_se=0.015"), "fewer": ("ventral", "target_se=0.03")}
    for name, (family, target) in runs.items():
        code, _, err = cli(*_arguments(host_checkpoint(family), tmp_path / name, *adaptive, target))
        assert code == 0, err
    counts = {name: len(_per_image(tmp_path / name, "h_flip", "similarity")) for name in runs}
    assert counts["fewer"] < counts["more"]
    found = compare_runs(tmp_path / "fewer", tmp_path / "more", 0).transforms["h_flip"].metric("similarity")
    # The images of an adaptive run are the first of one order.
    first, second = (_per_image(tmp_path / name, "h_flip", "similarity") for name in ("fewer", "more"))
    assert found.mean == pytest.approx((first - second[: len(first)]).mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transforms=[]", "data.seed=7"], "pose: measured on other images"),
        (["transforms=[]", "data.num_views=4"], "pose: measured on other images"),
    ],
)
def test_runs_that_cannot_be_compared(cli, host_checkpoint, theirs, tmp_path: Path, arguments, message) -> None:
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "ours", f"against={theirs}", *arguments))
    assert code == 2
    assert message in err
    assert f"against={theirs}: " in err
    assert len(err.strip().splitlines()) == 1
    assert (tmp_path / "ours" / "invariance.json").is_file()  # what was measured is there for all that
    assert not (tmp_path / "ours" / "comparison.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["k=5"], "measured with k 4, here 5"),
        (["protocol=paper"], "measured with protocol clean, here paper"),
        (["seed=3"], "measured with seed 0, here 3"),
        (["gallery=7"], "measured with gallery 1000, here 7"),
        (
            ["crop_size=24"],
            "measured with geometry {'resize': 37, 'crop_size': 32}, here",
        ),
        (["data.seed=7"], "hue: measured on other images"),
        (["data.size=33"], "hue: measured on other images"),
        (["transforms=[v_flip]", "views=[light_hue]"], "has no transform and no view set in common"),
    ],
)
def test_what_cannot_be_compared_is_not_measured(
    cli, host_checkpoint, theirs, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "ours", f"against={theirs}", *arguments))
    assert code == 2
    assert f"against={theirs}: {message}" in err
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("number", [np.inf, np.nan, 1e300])
def test_numbers_of_the_other_run_that_cannot_be_are_refused_before_measuring(
    cli, host_checkpoint, theirs, tmp_path: Path, number: float
) -> None:
    other = tmp_path / "other"
    shutil.copytree(theirs, other)
    arrays = dict(np.load(other / "hue.npz"))
    arrays["distance_per_image"] = arrays["distance_per_image"].astype(float)
    arrays["distance_per_image"][1] = number
    np.savez(other / "hue.npz", **arrays)
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "ours", f"against={other}"))
    assert code == 2
    assert f"{other / 'hue.npz'}: 'distance_per_image' in it is not finite, or too large" in err
    assert not (tmp_path / "ours").exists()


def test_a_run_that_is_not_there_is_missed_before_anything_is_measured(cli, host_checkpoint, tmp_path: Path) -> None:
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "ours", f"against={tmp_path / 'nowhere'}"))
    assert code == 2
    assert f"against={tmp_path / 'nowhere'}: no result to compare with" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "ours").exists()


def test_arrays_that_are_missing_or_broken_are_named(cli, host_checkpoint, theirs, tmp_path: Path) -> None:
    assert cli(*_arguments(host_checkpoint(), tmp_path / "ours"))[0] == 0
    for content in (b"no archive", b"", None):
        (theirs / "hue.npz").unlink()
        if content is not None:
            (theirs / "hue.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"theirs/hue\.npz: cannot be read") as error:
            compare_runs(tmp_path / "ours", theirs, 0)
        assert "\n" not in str(error.value)


def test_layers_are_compared_each_with_its_own(cli, host_checkpoint, tmp_path: Path) -> None:
    for name, family, layers in (("theirs", "dorsal", "layer2,layer3"), ("ours", "ventral", "layer3,layer4")):
        against = [f"against={tmp_path / 'theirs'}"] if name == "ours" else []
        arguments = _arguments(
            host_checkpoint(family, len(family)), tmp_path / name, f"backbone.layer=[{layers}]", *against
        )
        code, printed, err = cli(*arguments)
        assert code == 0, err
    assert "ventral layer3 minus dorsal layer3" in printed
    assert "layer4 minus" not in printed
    entry = json.loads((tmp_path / "ours" / "layer3" / "comparison.json").read_text())["transforms"]["hue"]
    first, second = (_per_image(tmp_path / name / "layer3", "hue", "similarity") for name in ("ours", "theirs"))
    assert entry["similarity"]["mean"] == pytest.approx((first - second).mean(), abs=1e-12)
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "output", f"against={tmp_path / 'theirs'}"))
    assert code == 2
    assert "no result to compare with" in err
