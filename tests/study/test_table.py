"""A study's table from the results of its runs: which numbers, of which images, and what is refused."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from solo_invariance.bootstrap import estimate
from solo_invariance.errors import UserError
from solo_invariance.results import StudyResult, read_result
from solo_invariance.study import Instance, Runs, Table, judge
from tests.report.planted import common, write_scored
from tests.study.simulated import claim

NAMES = tuple(f"{index:03}.jpg" for index in range(120))
GROUPS = tuple(f"thing {index}" for index in range(20))


def _numbers(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, count)


def _estimate(values: np.ndarray) -> dict[str, Any]:
    return estimate(torch.from_numpy(values)[:, None], seed=0).as_dict()


def _measured(folder: Path, transforms: Mapping[str, np.ndarray], names: Sequence[str] = NAMES, **changes: Any) -> Path:
    """Write similarities of each image, which differ from the width-matched ones, of one spatial view set, too."""
    folder.mkdir(parents=True)
    content: dict[str, Any] = {"transforms": {}, "views": {}}
    sizes = {"identity": 0, "parameters": [0.0, 1.0], "unit": ""}
    groups = {"num_groups": len(GROUPS), "num_views": 3}
    for part, kind, about, found in (
        ("transforms", "appearance", sizes, transforms),
        ("views", "spatial", groups, {"pose": _numbers(9, len(GROUPS)) + len(transforms) / 100}),
    ):
        for name, values in found.items():
            plain = _estimate(values / 2)
            curve = {"curve": [0.0, 0.0]} if part == "transforms" else {}
            content[part][name] = {
                **{"kind": kind, **about, "similarity": {**plain, **curve}, "distance": plain},
                "width_matched_similarity": _estimate(values),
            }
            shown = names if part == "transforms" else GROUPS
            np.savez(
                folder / f"{name}.npz",
                names=np.array(shown[: len(values)]),
                width_matched_similarity_per_image=values[:, None],
                similarity_per_image=values[:, None] / 2,
            )
    document = common("invariance", folder.name) | {
        **{"protocol": "clean", "num_images": 120, "k": 2, "matched_width": 64, **content},
        **changes,
    }
    (folder / "invariance.json").write_text(json.dumps(document))
    return folder


def _scored(folder: Path, task: str, predictions: np.ndarray, targets: np.ndarray, **changes: Any) -> Path:
    return write_scored(folder, "a", task, predictions, targets, "r2", **changes)


@pytest.fixture
def runs(tmp_path: Path) -> list[Runs]:
    """Two arms of two seeds; that of seed 1 of the second one has no scores."""
    targets = _numbers(100, 80)
    found = []
    for index, (arm, seed) in enumerate([("a", 0), ("a", 1), ("b", 0), ("b", 1)]):
        root = tmp_path / f"{arm}{seed}"
        hue, blur = _numbers(index, 120), _numbers(10 + index, 120)
        measured = (_measured(root / "hue", {"hue": hue}, views={}), _measured(root / "rest", {"blur": blur}))
        predictions = targets + 0.1 * np.random.default_rng(index).normal(size=80)
        scored = () if index == 3 else (_scored(root / "shift", "shift", predictions, targets),)
        projected = (_scored(root / "projected", "shift", (predictions + targets) / 2, targets),)
        found.append(Runs(Instance(arm, (seed,)), measured, scored, projected))
    return found


def test_each_number_stands_in_its_place(runs: list[Runs]) -> None:
    table = Table.from_results(runs, {"a": "trained", "b": "trained"})
    assert table.quantities == ("invariance/hue", "invariance/blur", "views/pose", "score/shift", "projected/shift")
    assert table.instances == tuple(one.instance for one in runs)
    assert table.kinds == {"invariance/hue": "appearance", "invariance/blur": "appearance", "views/pose": "spatial"}
    assert [table.units[name] for name in table.quantities] == ["similarity"] * 3 + ["r2"] * 2
    assert [table.num_images[name] for name in table.quantities] == [120, 120, 20, 80, 80]
    hue = [_numbers(index, 120).mean() for index in range(4)]
    np.testing.assert_allclose(table.values[:, 0], hue)
    scores = [json.loads((one.scored[0] / "transfer.json").read_text())["score"] for one in runs[:3]]
    np.testing.assert_allclose(table.values[:3, 3], scores)
    assert np.isnan(table.values[3, 3])
    assert np.isfinite(table.values[:, [0, 1, 2, 4]]).all()


def test_draws_are_of_the_same_images_for_all(runs: list[Runs]) -> None:
    """The difference of two arms varies as the difference of their images does, not as two independent means do."""
    table = Table.from_results(runs, {})
    assert table.draws is not None
    assert table.draws.shape[1:] == table.values.shape
    first, second = _numbers(0, 120), _numbers(2, 120)
    found = (table.draws[:, 0, 0] - table.draws[:, 2, 0]).std()
    assert found == pytest.approx((first - second).std() / np.sqrt(120), rel=0.08)
    # Means of two transforms of one backbone are paired, too.
    hue, blur = _numbers(0, 120), _numbers(10, 120)
    both = table.draws[:, 0, [0, 1]].mean(axis=1).std()
    assert both == pytest.approx(((hue + blur) / 2).std() / np.sqrt(120), rel=0.08)
    np.testing.assert_allclose(table.draws.mean(axis=0)[:, 0], table.values[:, 0], atol=0.01)


def test_two_arms_that_predict_the_same_have_the_same_scores_in_each_draw(runs: list[Runs]) -> None:
    twin = Runs(Instance("twin", (0,)), scored=runs[0].scored)
    draws = Table.from_results([*runs, twin], {}).draws
    assert draws is not None
    np.testing.assert_array_equal(draws[:, 0, 3], draws[:, 4, 3])
    assert 0 < draws[:, 0, 3].std() < 0.1
    assert not np.array_equal(draws[:, 0, 3], draws[:, 1, 3])


def test_the_same_files_give_the_same_table(runs: list[Runs]) -> None:
    one, other, seeded = (Table.from_results(runs, {}, seed) for seed in (0, 0, 1))
    assert one.draws is not None
    assert other.draws is not None
    assert seeded.draws is not None
    np.testing.assert_array_equal(one.draws, other.draws)
    assert not np.array_equal(one.draws[:, :, 0], seeded.draws[:, :, 0])


def test_images_that_not_all_measured_do_not_count_in_draws(tmp_path: Path) -> None:
    """As of an adaptive budget: 60 images are shared, in another order."""
    names = NAMES[59::-1]
    values = {"a": _numbers(1, 120), "b": _numbers(2, 60)}
    runs = [
        Runs(Instance("a", (0,)), (_measured(tmp_path / "a", {"hue": values["a"]}),)),
        Runs(Instance("b", (0,)), (_measured(tmp_path / "b", {"hue": values["b"]}, names),)),
    ]
    table = Table.from_results(runs, {})
    assert table.num_images["invariance/hue"] == 60
    assert table.draws is not None
    expected = (values["a"][:60] - values["b"][::-1]).std() / np.sqrt(60)
    assert (table.draws[:, 0, 0] - table.draws[:, 1, 0]).std() == pytest.approx(expected, rel=0.08)
    np.testing.assert_allclose(table.values[:, 0], [values["a"].mean(), values["b"].mean()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": [f"other {index}" for index in range(120)]}, "hue.npz: measured on other images, compared with"),
        ({"matched_width": 32}, "its matched_width is 32, that of"),
        ({"protocol": "paper"}, "its protocol is paper, that of"),
    ],
)
def test_what_was_measured_otherwise_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    runs = [
        Runs(Instance("a", (0,)), (_measured(tmp_path / "a", {"hue": _numbers(1, 120)}),)),
        Runs(Instance("b", (0,)), (_measured(tmp_path / "b", {"hue": _numbers(2, 120)}, **changes),)),
    ]
    with pytest.raises(UserError) as refused:
        Table.from_results(runs, {})
    assert message in str(refused.value)
    assert str(tmp_path / "b") in str(refused.value)


def test_scores_on_other_images_are_refused(tmp_path: Path, runs: list[Runs]) -> None:
    targets = _numbers(100, 80)
    other = Runs(Instance("c", (0,)), scored=(_scored(tmp_path / "c", "shift", targets, targets, test_images="xyz"),))
    with pytest.raises(UserError) as refused:
        Table.from_results([*runs, other], {})
    assert str(tmp_path / "c") in str(refused.value)
    assert "test_images" in str(refused.value)


def test_what_has_no_width_matched_similarity_and_what_is_there_twice(tmp_path: Path) -> None:
    once = _measured(tmp_path / "a", {"hue": _numbers(1, 120)})
    with pytest.raises(UserError, match=r"a: invariance/hue is in another of the backbone's results, too"):
        Table.from_results([Runs(Instance("a", (0,)), (once, once))], {})
    content = json.loads((once / "invariance.json").read_text())
    del content["transforms"]["hue"]["width_matched_similarity"]
    (once / "invariance.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="hue: has no width_matched_similarity; measure it with matched_width="):
        Table.from_results([Runs(Instance("a", (0,)), (once,))], {})


def test_a_study_is_written_and_read_with_its_numbers(runs: list[Runs], tmp_path: Path) -> None:
    table = Table.from_results(runs, {"a": "trained", "b": "trained"})
    claims = [
        claim("kind", of="invariance/appearance", arm="a", against="b"),
        claim("one seed", of="score/shift", arm="a", against="b"),
    ]
    content = {
        **{"schema": 1, "kind": "study", "name": "tiny", "says": "Two arms.", "config": {}, "versions": {}, "seed": 0},
        **{"seeds": [0, 1], "arms": {arm: {"role": "trained", "family": arm} for arm in "ab"}},
        "quantities": {name: one.as_content() for name, one in table.quantity_records().items()},
        "numbers": {
            arm: {name: [one.as_content() for one in numbers] for name, numbers in of_arm.items()}
            for arm, of_arm in table.numbers().items()
        },
        "claims": [one.as_content() for one in judge(table, claims)],
    }
    result = StudyResult.from_content(content)
    result.write(tmp_path / "study.json")
    again = read_result(tmp_path / "study.json")
    assert isinstance(again, StudyResult)
    assert again.as_content() == result.as_content()
    assert again.verdicts.keys() == {"kind", "one seed"}
    assert again.verdicts["one seed"] == "undecided"
    assert [number.seeds for number in again.numbers["b"]["score/shift"]] == [(0,)]
    error = again.numbers["a"]["invariance/hue"][0].standard_error
    assert error == pytest.approx(_numbers(0, 120).std() / np.sqrt(120), rel=0.08)
    read = Table.of(again)
    assert (read.instances, read.quantities, read.draws) == (table.instances, table.quantities, None)
    np.testing.assert_array_equal(read.values, table.values)
    assert (read.kinds, read.units, read.num_images, read.roles) == (
        *(table.kinds, table.units, table.num_images),
        {"a": "trained", "b": "trained"},
    )


def test_a_verdict_that_is_none_is_refused() -> None:
    content = {
        **{"schema": 1, "kind": "study", "name": "tiny", "config": {}, "versions": {}, "seed": 0, "seeds": [0]},
        **{"arms": {}, "quantities": {}, "numbers": {}},
        "claims": [{"name": "x", "finding": "1", "says": "x", "unit": "r2", "smallest": 0.1, "verdict": "maybe"}],
    }
    with pytest.raises(UserError, match=r"key 'claims\[0\].verdict'"):
        StudyResult.from_content(content)
