import math
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from solo_invariance.report.association import FEWEST, MOST_PERMUTED, associations, clouds, clouds_of_views, spearman
from solo_invariance.report.collect import collect_results

Make = Callable[..., Any]


@pytest.mark.parametrize("count", [6, 20, MOST_PERMUTED, MOST_PERMUTED + 1, 200])
def test_it_is_spearmans_correlation_with_ties(count: int) -> None:
    rng = np.random.default_rng(count)
    x = rng.integers(0, 10, count).astype(float)
    y = x + rng.normal(0, 8, count)
    expected = stats.spearmanr(x, y)
    found = spearman(x.tolist(), y.tolist())
    assert found is not None
    assert found.rho == pytest.approx(expected.statistic)
    if count > MOST_PERMUTED:
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    elif count > 10:  # of fewer, the t that scipy's p is of is no good
        assert found.p == pytest.approx(expected.pvalue, abs=0.012)


def test_the_p_is_the_share_of_orders_that_correlate_as_much() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 1.0, 3.0, 5.0, 4.0, 6.0]
    found = spearman(x, y)
    assert found is not None
    rhos = [stats.pearsonr(x, order).statistic for order in permutations(x)]
    exact = np.mean(np.abs(rhos) >= abs(found.rho) - 1e-9)
    assert found.p == pytest.approx(exact, abs=0.006)


def test_few_or_constant_numbers_have_no_correlation() -> None:
    assert FEWEST == 6
    assert spearman([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) is None
    assert spearman([1, 2, 3, 4, 5, 6], [3] * 6) is None
    assert spearman([1] * 6, [1, 2, 3, 4, 5, 6]) is None


def test_the_interval_of_independent_backbones_is_bonetts_and_wrights() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    found = spearman(x.tolist(), y.tolist())
    assert found is not None
    rho = stats.spearmanr(x, y).statistic
    error = np.sqrt((1 + rho**2 / 2) / 17)
    assert found.interval == pytest.approx(np.tanh(np.arctanh(rho) + error * np.array([-1.959964, 1.959964])))
    assert found.num_families == 20
    assert spearman(x.tolist(), y.tolist(), [f"b{index}" for index in range(20)]) == found


def test_a_perfect_order_has_an_interval_up_to_it() -> None:
    found = spearman([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
    assert found is not None
    assert found.interval is not None
    assert 0.3 < found.interval.low < 0.9
    assert found.interval.high == pytest.approx(1.0, abs=1e-9)


def _families(rng: np.random.Generator, correlation: float, count: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers of each seed of families that differ far more than their seeds do."""
    of_families = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=count)
    values = np.repeat(of_families, seeds, axis=0) + rng.normal(0, np.sqrt(0.2), size=(count * seeds, 2))
    return values[:, 0], values[:, 1]


@pytest.mark.parametrize(("count", "seeds"), [(4, 5), (8, 3)])
def test_the_interval_holds_the_correlation_among_other_families(count: int, seeds: int) -> None:
    """Of 95 % of studies; one that takes seeds for independent backbones would hold it in less than nine of ten."""
    rng, names = np.random.default_rng(count), np.repeat([f"f{index}" for index in range(count)], seeds).tolist()
    rho = 6 / np.pi * np.arcsin(0.6 / 1.2 / 2)  # of normal numbers that correlate as much, over all pairs
    held: list[bool] = []
    held_as_independent: list[bool] = []
    for _ in range(400):
        x, y = _families(rng, 0.6, count, seeds)
        for of, to in ((names, held), (None, held_as_independent)):
            found = spearman(x.tolist(), y.tolist(), of)
            assert found is not None
            assert found.interval is not None
            to.append(found.interval.low <= rho <= found.interval.high)
    assert 0.93 <= np.mean(held) <= 0.99
    assert np.mean(held_as_independent) < 0.87


def test_the_p_of_families_without_a_correlation_is_below_5_percent_in_5_of_a_hundred() -> None:
    rng, names = np.random.default_rng(7), np.repeat(list("abcdef"), 4).tolist()
    sides = [_families(rng, 0, 6, 4) for _ in range(400)]
    found = [spearman(x.tolist(), y.tolist(), names) for x, y in sides]
    assert 0.01 <= np.mean([one is not None and one.p <= 0.05 for one in found]) <= 0.075


def test_families_that_agree_by_chance_have_no_narrower_an_interval_than_as_many_independent_backbones() -> None:
    """Leaving any family out of these leaves the same order of ranks: by the jackknife alone there were no error."""
    x = [float(one) for one in range(1, 9)]
    among = spearman(x, x, [*"aabbccdd"])
    assert among is not None
    assert among.interval is not None
    z = math.atanh(1 - 6 / (8 * 63))
    half = float(stats.t.ppf(0.975, 3)) * math.sqrt((1 + 1 / 2) / 5)
    assert among.interval.low == pytest.approx(math.tanh(z - half))


def test_two_families_say_nothing_of_others() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]
    found = spearman(x, y, ["a", "a", "a", "b", "b", "b"])
    assert found is not None
    assert (found.interval, found.p, found.num_families) == (None, 1.0, 2)


@pytest.fixture
def many(tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make, make_view: Make) -> Path:
    """Nine backbones: the more invariant to rotation, the better on shape and the worse on pose; hue says nothing."""
    hue = [3, 7, 1, 8, 2, 9, 4, 6, 5]
    for index in range(9):
        transforms = {
            "rotation": make_transform(0.1 + index / 20),
            "hue": make_transform(hue[index] / 10, "appearance"),
        }
        views = {"pose": make_view(0.2 + index / 30)}
        write_invariance(f"{index}", f"b{index}", transforms=transforms, views=views)
        write_transfer(f"{index}/s", f"b{index}", "shape", 0.5 + index / 100)
        write_transfer(f"{index}/p", f"b{index}", "pose", 0.5 - index / 100)
    write_transfer("alone", "scored alone", "shape", 0.1)
    return tmp_path


def test_each_invariance_is_correlated_with_each_score(many: Path) -> None:
    found = associations(collect_results([many]))
    assert found is not None
    rhos = {(task.name, change.name): one for task, row in found.entries.items() for change, one in row.items()}
    assert {key: round(one.rho, 6) for key, one in rhos.items() if one and key[1] == "rotation"} == {
        ("shape", "rotation"): 1.0,
        ("pose", "rotation"): -1.0,
    }
    hue = rhos["shape", "hue"]
    assert hue is not None
    assert (hue.num_pairs, hue.is_sure) == (9, False)
    assert hue.rho == pytest.approx(stats.spearmanr(range(9), [3, 7, 1, 8, 2, 9, 4, 6, 5]).statistic)
    assert all(one and one.is_sure for key, one in rhos.items() if key[1] in ("rotation",))


def test_what_is_sure_is_so_after_holms_correction(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    """One order with p near 0.02 is sure by itself, and not beside ten others."""
    ranks = [2, 1, 4, 3, 6, 8, 5, 7]
    rng = np.random.default_rng(3)
    for index in range(8):
        noise = {f"n{other}": make_transform(float(rng.uniform(0.1, 0.9))) for other in range(12)}
        hues = {"hue": make_transform(ranks[index] / 10)}
        write_invariance(f"a/{index}", f"b{index}", transforms=hues)
        write_invariance(f"b/{index}", f"b{index}", transforms={**noise, **hues})
        for root in "ab":
            write_transfer(f"{root}/{index}/t", f"b{index}", "shape", 0.5 + index / 100)

    def hue(root: str) -> Any:
        found = associations(collect_results([tmp_path / root]))
        assert found is not None
        return next(one for row in found.entries.values() for change, one in row.items() if change.name == "hue")

    alone, among = hue("a"), hue("b")
    assert alone.p == among.p
    assert 0.005 < alone.p < 0.05
    assert (alone.is_sure, among.is_sure) == (True, False)


def test_fewer_than_six_have_none(paper_runs: Path) -> None:
    results = collect_results([paper_runs])
    assert associations(results) is None
    assert clouds(results) == []
    assert clouds_of_views(results) == []


def test_clouds_have_a_dot_for_each_backbone_that_has_both(many: Path) -> None:
    found = {cloud.title: cloud for cloud in clouds(collect_results([many]))}
    assert sorted(found) == ["pose, appearance", "pose, spatial", "shape, appearance", "shape, spatial"]
    cloud = found["pose, spatial"]
    assert cloud.labels == tuple(f"b{index}" for index in range(9))
    assert cloud.x == pytest.approx([0.1 + index / 20 for index in range(9)])
    assert cloud.y == pytest.approx([0.5 - index / 100 for index in range(9)])
    assert cloud.correlation.rho == pytest.approx(-1)


def test_real_views_are_drawn_over_synthetic_changes_of_their_kind(many: Path) -> None:
    (cloud,) = clouds_of_views(collect_results([many]))
    assert cloud.title == "spatial: pose"
    assert cloud.y == pytest.approx([0.2 + index / 30 for index in range(9)])
    assert cloud.correlation.rho == pytest.approx(1)


def test_layers_count_where_that_is_asked_for_as_parts_of_their_backbone(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    draws = np.random.default_rng(0)
    for family in "abc":
        for layer in ("layer1", "layer2", "layer3"):
            backbone = {"name": "resnet10", "checkpoint": f"{family}.ckpt", "num_features": 64, "layer": layer}
            transforms = {"rotation": make_transform(float(draws.uniform(0.1, 0.9)))}
            write_invariance(f"{family}/{layer}", f"{family} {layer}", transforms=transforms, backbone=backbone)
            score = float(draws.uniform(0.1, 0.9))
            write_transfer(f"{family}/{layer}", f"{family} {layer}", "shape", score, backbone=backbone)
    assert associations(collect_results([tmp_path])) is None
    found = associations(collect_results([tmp_path], layers=True))
    assert found is not None
    ((one,),) = (row.values() for row in found.entries.values())
    assert one is not None
    assert (one.num_pairs, one.num_families) == (9, 3)
    (cloud,) = clouds(collect_results([tmp_path], layers=True))
    assert sorted(cloud.labels) == sorted(f"{family} layer{number}" for family in "abc" for number in (1, 2, 3))
