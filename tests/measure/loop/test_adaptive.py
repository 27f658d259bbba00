import math
from typing import NamedTuple

import numpy as np
import pytest
import torch

from solo_invariance.bootstrap import Estimate
from solo_invariance.measure.loop.adaptive import first_rows, next_rows, standard_error
from solo_invariance.measure.loop.sampling import AdaptiveSampling
from solo_invariance.measure.loop.summary import Scores
from solo_invariance.measure.metrics.view_metric import ViewMetric


def _alternating(count: int, spread: float = 1.0) -> np.ndarray:
    """Values whose mean has the standard error ``spread / sqrt(count - 1)``."""
    return spread * np.where(np.arange(count) % 2, 1.0, -1.0)


def test_the_standard_error_is_that_of_the_means_of_items() -> None:
    generator = np.random.default_rng(0)
    values, items = generator.normal(size=60), np.repeat(np.arange(20), 3)
    shuffled = generator.permutation(60)
    expected = values.reshape(20, 3).mean(axis=1).std(ddof=1) / math.sqrt(20)
    assert standard_error(values[shuffled], items[shuffled]) == pytest.approx(expected, rel=1e-12)
    assert standard_error(values[:20], np.arange(20)) == pytest.approx(values[:20].std(ddof=1) / math.sqrt(20))


@pytest.mark.parametrize("items", [np.zeros(1, dtype=int), np.zeros(9, dtype=int)])
def test_one_item_tells_nothing_of_the_spread(items) -> None:
    assert standard_error(np.arange(float(len(items))), items) == math.inf


@pytest.mark.parametrize(("rows_to_cover", "expected"), [(2, 128), (128, 128), (129, 129), (500, 500)])
def test_the_first_look_comes_when_the_grid_was_covered(rows_to_cover, expected) -> None:
    assert first_rows(rows_to_cover) == expected


@pytest.mark.parametrize("num_items", [128, 129, 10_000])
def test_a_target_that_is_reached_ends_it(num_items) -> None:
    values, items = _alternating(128), np.arange(128)
    error = standard_error(values, items)
    assert next_rows(128, values, items, num_items, error, visits=64) is None
    assert next_rows(128, values, items, num_items, error * 0.999, visits=64) is not None


@pytest.mark.parametrize(
    ("share", "num_items", "expected"),
    [
        (0.99, 10_000, math.ceil(128 / 0.99**2 * 1.1)),
        (0.75, 10_000, math.ceil(128 / 0.75**2 * 1.1)),
        (0.5, 10_000, 256),  # four times as many are needed, but no more than twofold at a time
        (0.01, 10_000, 256),
        (0.01, 200, 200),
    ],
)
def test_images_are_added_as_the_variance_asks_with_a_margin(share, num_items, expected) -> None:
    values, items = _alternating(128), np.arange(128)
    target = share * standard_error(values, items)
    assert next_rows(128, values, items, num_items, target, visits=64) == expected


class _Seen(NamedTuple):
    values: np.ndarray
    items: np.ndarray


def _seen(num_items: int, visits: int, between: float, within: float) -> _Seen:
    """Rows of items that differ by ``between``, and of which each is seen to vary by ``within``."""
    visit, item = np.divmod(np.arange(num_items * visits), num_items)
    return _Seen(between * np.where(item % 2, 1.0, -1.0) + within * np.where(visit % 2, 1.0, -1.0), item)


@pytest.mark.parametrize(
    ("visits", "within", "goes_on"),
    [
        (1, 0.0, True),  # nothing is known yet of how much the parameters matter
        (2, 0.0, False),
        (4, 0.0, False),
        (2, 1.0, True),
        (4, 1.0, True),
        # Of four visits that are +w, -w, +w, -w the variance is 4 w^2 / 3, a quarter of which is in the mean.
        (4, 0.37, False),
        (4, 0.41, True),
    ],
)
def test_images_are_seen_again_while_the_parameters_matter(visits, within, goes_on) -> None:
    seen = _seen(200, visits, between=1.0, within=within)
    share = within**2 * 4 / 3 / 4 / (200 / 199)
    assert visits != 4 or (share >= 0.05) is goes_on
    found = next_rows(200 * visits, seen.values, seen.items, 200, target=1e-6, visits=64)
    assert found == (200 * (visits + 1) if goes_on else None)


@pytest.mark.parametrize(("visits", "expected"), [(63, 640), (64, None), (65, None)])
def test_nothing_is_measured_that_was_measured_before(visits, expected) -> None:
    seen = _seen(10, visits, between=0.0, within=1.0)
    seen.values[:10] += np.arange(10)
    assert next_rows(10 * visits, seen.values, seen.items, 10, target=1e-9, visits=64) == expected


class _Run(NamedTuple):
    found: Estimate
    error: float
    views: int


def _measured(scores: np.ndarray, seed: int, target: float) -> _Run:
    """The adaptive budget on a matrix of scores (images, parameters): the loop of a run, and its interval."""
    generator = np.random.default_rng(seed)
    count, size = scores.shape
    sampling, indices, images = AdaptiveSampling(size, None, seed), [], []
    rows: int | None = first_rows(sampling.rows_to_cover)
    while rows is not None:
        while len(images) < rows:
            images += generator.permutation(count).tolist()
        indices += [sampling.indices(row) for row in range(len(indices), rows)]
        items = np.asarray(images[:rows])
        metric = ViewMetric()
        metric.add_states({"rows": torch.from_numpy(scores[items[:, None], torch.stack(indices).numpy()])[..., None]})
        names = {item: f"{item:04}" for item in range(count)}
        found = Scores(sampling, np.arange(rows), items, names, {"planted": metric})
        values = found.per_row("planted", count_identity=False)[:, 0].numpy()
        rows = next_rows(rows, values, items, count, target, sampling.visits)
    estimate = found.estimate("planted", seed, count_identity=False)
    return _Run(estimate, standard_error(values, items), len(values) * sampling.num_views)


def _matrix(images: int, of_images: float, of_parameters: float, of_both: float) -> np.ndarray:
    """Scores of images at 256 parameters, with effects of these standard deviations; those of images are skewed."""
    generator = np.random.default_rng(0)
    turns = np.arange(256) / 256
    return (
        0.5
        - of_images * (generator.exponential(size=(images, 1)) - 1)
        + of_parameters * math.sqrt(2) * np.cos(2 * np.pi * turns)
        + of_both * generator.normal(size=(images, 256))
    )


@pytest.mark.parametrize(
    ("scores", "target"),
    [
        pytest.param(_matrix(5000, 0.15, 0.15, 0.15), 0.009, id="images, parameters and both matter"),
        pytest.param(_matrix(5000, 0.2, 0.02, 0.02), 0.012, id="images matter"),
        pytest.param(_matrix(5000, 0.1, 0.25, 0.1), 0.008, id="parameters matter"),
    ],
)
def test_the_interval_covers_the_full_value_for_a_tenth_of_the_views(scores, target) -> None:
    repetitions = 80
    runs = [_measured(scores, seed, target) for seed in range(repetitions)]
    covered = np.mean([run.found.low <= scores.mean() <= run.found.high for run in runs])
    slack = 2.33 * math.sqrt(0.95 * 0.05 / repetitions)  # 1 % of one tail
    assert covered >= 0.95 - slack
    assert max(run.error for run in runs) <= target
    # Nor is it much better than asked: growth has a margin of a tenth in the variance, and images double at most.
    assert min(run.error for run in runs) > target / math.sqrt(2 * 1.1) * 0.9
    assert np.mean([run.found.standard_error for run in runs]) == pytest.approx(
        np.mean([run.error for run in runs]), rel=0.02
    )
    of_full = scores.mean(axis=1).std(ddof=1)
    needed = 256 * (of_full / np.asarray([run.error for run in runs])) ** 2
    assert np.mean([run.views for run in runs]) <= needed.mean() / 10


def test_a_small_set_of_images_is_seen_again_until_the_target_is_reached() -> None:
    scores, repetitions = _matrix(150, 0.01, 0.1, 0.3), 40
    runs = [_measured(scores, seed, 0.0075) for seed in range(repetitions)]
    assert max(run.error for run in runs) <= 0.0075
    assert min(run.views for run in runs) >= 2 * 150 * 4
    covered = np.mean([run.found.low <= scores.mean() <= run.found.high for run in runs])
    assert covered >= 0.95 - 2.33 * math.sqrt(0.95 * 0.05 / repetitions)


def test_what_parameters_score_for_all_images_alike_is_no_uncertainty() -> None:
    scores = np.broadcast_to(np.repeat(np.random.default_rng(0).normal(size=16), 16), (500, 256))
    run = _measured(scores, 0, 0.01)
    assert run.views == 128 * 4
    assert run.error == pytest.approx(0, abs=1e-12)
    assert run.found.mean == pytest.approx(scores.mean(), abs=1e-12)


def test_a_set_of_images_that_is_too_small_is_given_up_on() -> None:
    run = _measured(_matrix(150, 0.3, 0.01, 0.01), 0, 0.002)
    assert run.error > 0.002
    assert run.views == 2 * 150 * 4
