import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from solo_invariance.measure.functional import parameter_readout
from solo_invariance.measure.functional.parameter_readout import _folds_of_images, parameter_readout_terms
from solo_invariance.measure.metrics.parameter_readout import ParameterReadout
from solo_invariance.measure.metrics.sampled_views import choose_views
from solo_invariance.regression.cross_validation import assign_folds


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def r2(terms: Tensor) -> float:
    errors, deviations = terms.sum(dim=0).tolist()
    return 1 - errors / deviations


def planted(num_images: int = 60, num_views: int = 4, size: int = 8, noise: float = 0.0) -> tuple[Tensor, ...]:
    """Views whose change of the features is linear in two parameters of very different scale."""
    clean, coordinates = draw(num_images, size), draw(num_images, num_views, 2, seed=1)
    views = clean[:, None] + coordinates @ draw(2, size, seed=2) + noise * draw(num_images, num_views, size, seed=3)
    return clean, views, coordinates * torch.tensor([1.0, 1e-3]) + 5, torch.arange(num_images)


def test_a_planted_linear_code_is_read() -> None:
    assert r2(parameter_readout_terms(*planted())) > 0.9999
    noisy = r2(parameter_readout_terms(*planted(num_images=300, noise=1.0)))
    # Of two parameters, each is read from 8 features with unit noise on them and squared loads of 8 in all or so.
    assert 0.7 < noisy < 0.98


def test_features_that_know_nothing_of_the_parameters_read_nothing() -> None:
    for seed in range(5):
        coordinates = draw(200, 4, 2, seed=seed)
        score = r2(
            parameter_readout_terms(draw(200, 8, seed=9), draw(200, 4, 8, seed=10), coordinates, torch.arange(200))
        )
        # The mean read from 400 rows errs by 1/400 of the variance. Where the penalty that is chosen is finite, chance
        # correlations with 16 features can give either sign, with a standard deviation of about sqrt(16) / 800.
        assert -0.1 < score < 0.015


def test_an_invariant_backbone_reads_nothing() -> None:
    clean = draw(100, 8)
    score = r2(
        parameter_readout_terms(clean, clean[:, None].expand(100, 4, 8), draw(100, 4, 1, seed=1), torch.arange(100))
    )
    assert -0.1 < score < 0.02


@pytest.mark.parametrize("rows", ["views", "duplicates"])
def test_what_identifies_the_image_never_leaks(rows: str) -> None:
    # Each image has a code and parameters of its own, the same in all its rows. A split that put rows of one image on
    # both sides would read the parameters off the code; by images, there is nothing to read.
    codes, own = draw(60, 100), draw(60, 1, 2, seed=1)
    if rows == "views":
        clean, images, coordinates = codes, torch.arange(60), own.expand(60, 4, 2)
    else:
        clean, images, coordinates = codes.repeat(4, 1), torch.arange(60).repeat(4), own.repeat(4, 1, 1)
    views = clean[:, None].expand(-1, coordinates.shape[1], -1)
    assert r2(parameter_readout_terms(clean, views, coordinates, images)) < 0.02
    if rows == "duplicates":
        # With ids that hide that they are duplicates, all but one in eight have a copy in the other half.
        assert r2(parameter_readout_terms(clean, views, coordinates, torch.arange(240))) > 0.7


def test_turning_feature_space_changes_nothing() -> None:
    clean, views, coordinates, images = planted(noise=0.5)
    turn, other_turn = (torch.linalg.qr(draw(8, 8, seed=seed)).Q for seed in (7, 8))
    expected = parameter_readout_terms(clean, views, coordinates, images)
    turned = parameter_readout_terms(clean @ turn, views @ other_turn, coordinates, images)
    torch.testing.assert_close(turned, expected, rtol=1e-8, atol=1e-10)
    moved = parameter_readout_terms(100 * clean + 3, 100 * views - 7, coordinates, images)
    torch.testing.assert_close(moved, expected, rtol=1e-8, atol=1e-10)


def test_targets_weigh_the_same_whatever_their_unit() -> None:
    clean, views, coordinates, images = planted(noise=0.5)
    terms = parameter_readout_terms(clean, views, coordinates, images)
    other_units = coordinates * torch.tensor([1e3, 60.0]) - 4
    torch.testing.assert_close(parameter_readout_terms(clean, views, other_units, images), terms, rtol=1e-6, atol=1e-8)


def test_constant_coordinates_are_left_out() -> None:
    clean, views, coordinates, images = planted(noise=0.5)
    with_constant = torch.cat([coordinates, torch.full((60, 4, 1), 0.7)], dim=2)
    torch.testing.assert_close(
        parameter_readout_terms(clean, views, with_constant, images),
        parameter_readout_terms(clean, views, coordinates, images),
    )
    with pytest.raises(ValueError, match="no coordinate of the views' 1 varies"):
        parameter_readout_terms(clean, views, with_constant[..., 2:], images)


@pytest.mark.parametrize("size", [8, 60])  # fewer and more features than rows
def test_the_fit_is_scikit_learns_at_the_penalty_that_was_chosen(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[float] = []
    choose = parameter_readout.choose_penalty

    def spy(penalties: Tensor, scores: Tensor, protocol: str) -> int:
        chosen.append(float(penalties[choose(penalties, scores, protocol)]))
        return choose(penalties, scores, protocol)

    monkeypatch.setattr(parameter_readout, "choose_penalty", spy)
    clean, views, coordinates, images = planted(num_images=30, num_views=3, size=size, noise=1.0)
    terms = parameter_readout_terms(clean, views, coordinates, images).numpy()
    features = torch.cat([clean[:, None].expand_as(views), views], dim=2).numpy()
    targets = (coordinates / coordinates.flatten(0, 1).std(0, correction=0)).numpy()
    half = assign_folds(30, 2, seed=0).numpy()
    for held_out, penalty in zip((half == 0, half == 1), chosen, strict=True):
        x, y = features[~held_out].reshape(-1, 2 * size), targets[~held_out].reshape(-1, 2)
        # Dividing features by a number divides the penalty by its square.
        model = Ridge(penalty * ((x - x.mean(0)) ** 2).mean(), solver="svd").fit(x, y)
        predicted = model.predict(features[held_out].reshape(-1, 2 * size)).reshape(-1, 3, 2)
        np.testing.assert_allclose(terms[held_out, 0], ((targets[held_out] - predicted) ** 2).sum((1, 2)), rtol=1e-6)
        np.testing.assert_allclose(terms[held_out, 1], ((targets[held_out] - y.mean(0)) ** 2).sum((1, 2)), rtol=1e-9)


def test_the_order_of_rows_and_batches_changes_nothing() -> None:
    clean, views, coordinates, images = planted(num_views=16, noise=0.5)
    numbers = []
    for seed, batch in ((0, 60), (1, 7), (2, 1)):
        order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
        metric = ParameterReadout()
        for rows in order.split(batch):
            metric.update(clean[rows], views[rows], coordinates[rows], images[rows])
        numbers.append(metric.per_image()[order.argsort()])
    assert torch.equal(numbers[0], numbers[1])
    assert torch.equal(numbers[0], numbers[2])


def test_other_seeds_choose_other_views_and_halves() -> None:
    scores = set()
    for seed in range(3):
        metric = ParameterReadout(seed=seed)
        metric.update(*planted(num_views=16, noise=0.5))
        scores.add(round(float(metric.compute()), 9))
    assert len(scores) == 3


def test_which_views_are_kept_depends_on_the_image_alone_and_covers_the_parameters() -> None:
    images = torch.randperm(500, generator=torch.Generator().manual_seed(0)) * 1_000_003
    chosen = choose_views(images, num_views=10, keep=4, seed=0)
    assert torch.equal(chosen.flip(0), choose_views(images.flip(0), num_views=10, keep=4, seed=0))
    strata = [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8, 9}]
    assert [set(column.tolist()) for column in chosen.T] == strata
    assert choose_views(images[:2], num_views=3, keep=4, seed=0).tolist() == [[0, 1, 2]] * 2


def test_features_that_never_change_read_nothing() -> None:
    score = r2(parameter_readout_terms(torch.ones(20, 3), torch.ones(20, 4, 3), draw(20, 4, 1), torch.arange(20)))
    assert -0.2 < score < 1e-12


@pytest.mark.parametrize("missing", ["coordinates", "images"])
def test_what_is_missing_is_named(missing: str) -> None:
    clean, views, coordinates, images = planted()
    given = {"coordinates": coordinates, "images": images, missing: None}
    with pytest.raises(ValueError, match=rf"expected {missing} \(N"):
        ParameterReadout().update(clean, views, **given)


def test_bad_input_is_refused() -> None:
    clean, views, coordinates, images = planted()
    with pytest.raises(ValueError, match=r"expected coordinates \(N, K, C\) and images \(N,\)"):
        ParameterReadout().update(clean, views, coordinates[:, :2], images)
    with pytest.raises(ValueError, match="at least 4 images, two in each half, got 3"):
        parameter_readout_terms(clean[:9], views[:9], coordinates[:9], images[:9] % 3)
    assert parameter_readout_terms(clean[:4], views[:4], coordinates[:4], images[:4]).isfinite().all()
    broken = views.clone()
    broken[17, 2, 5] = torch.inf
    with pytest.raises(ValueError, match="image 117: views not finite"):
        ParameterReadout().update(clean, broken, coordinates, images + 100)


def test_rows_of_one_image_are_in_one_fold_and_the_last_column_holds_out_none() -> None:
    held_out = _folds_of_images(torch.tensor([7, 4, 7, 9, 4, 9, 2, 7]), seed=0)
    assert held_out[:, -1].tolist() == [False] * 8
    assert held_out[:, :-1].sum(dim=1).tolist() == [1] * 8
    for rows in ([0, 2, 7], [1, 4], [3, 5]):
        assert torch.equal(held_out[rows], held_out[rows[:1]].expand(len(rows), -1))


def test_the_metric_is_one_less_the_share_of_the_error_by_its_own_seed() -> None:
    assert ParameterReadout.value(torch.tensor([1.0, 4.0])) == 0.75
    metric = ParameterReadout(seed=5)
    clean, angles = draw(20, 5), draw(20, 6, 1, seed=1)
    metric.update(clean, clean[:, None] + 0.3 * angles + draw(20, 6, 5, seed=2), angles, torch.arange(20))
    expected, other = (parameter_readout_terms(**metric.states(), seed=seed) for seed in (5, 0))
    assert torch.equal(metric.per_image()[:, 0], expected)
    assert not torch.equal(expected, other)


def test_another_seed_keeps_other_views() -> None:
    first, second = (choose_views(torch.arange(20), num_views=100, keep=4, seed=seed) for seed in (0, 1))
    assert not torch.equal(first, second)
