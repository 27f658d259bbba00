"""Shapers fitted to moments with planted factors: what they take out, and what they leave."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from solo_invariance.backbones.shaping import FactorMoments, OrbitFeatures, Reached, Shaper
from solo_invariance.backbones.views import OrbitViews, Steps
from solo_invariance.errors import UserError
from solo_invariance.shape.adapt import Adapt, _Loss
from solo_invariance.shape.closed_forms import shrunk
from solo_invariance.shape.moments import ColumnSums
from solo_invariance.shape.shapers import Centre, Dial, Erase, pooled

from .test_closed_forms import moments_of, planted


class _Known:
    """A reference of which the moments are known."""

    transforms = None
    seed = 0

    def __init__(self, moments: Mapping[str, FactorMoments], groups: tuple[str, ...] = ()) -> None:
        self._moments = moments
        self.groups = groups

    def moments(self) -> Mapping[str, FactorMoments]:
        return self._moments

    def orbits(self) -> Iterator[OrbitFeatures]:
        raise NotImplementedError


def _angles(steps: int) -> Tensor:
    angle = torch.arange(steps, dtype=torch.float64) * 2 * torch.pi / steps
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def _by_column(features: Tensor, values: Tensor) -> FactorMoments:
    sums = ColumnSums(features.shape[1], int(values.max()) + 1)
    sums.update(features, values)
    return sums.compute()


def _again(shaper: Shaper) -> Shaper:
    """Return a shaper as a checkpoint would make it."""
    again = type(shaper)(shaper.widths, **shaper.options)
    again.load_state_dict(shaper.state_dict())
    return again


@pytest.mark.parametrize(("concept", "rank"), [("coordinates", 2), ("levels", 5)])
def test_erase_takes_out_what_tells_levels_apart_and_no_more(concept, rank: int) -> None:
    features = planted(400, 6, 8)
    shaper = Erase([8], concept=concept).fit(_Known({"turn": moments_of(features, _angles(6))}))
    assert shaper.options == {"concept": concept, "rank": rank}
    left = _again(shaper)([features.float()]).double()
    targets = _angles(6) if concept == "coordinates" else torch.eye(6, dtype=torch.float64)
    covariance = (left.mean(0) - left.mean((0, 1))).T @ (targets - targets.mean(0))
    assert covariance.abs().max() < 1e-4
    # What is left spans all but that, and the part of images is there still: the means of two orbits differ as before.
    spanned = torch.linalg.matrix_rank(torch.cov(left.reshape(-1, 8).T), rtol=1e-6)
    assert int(spanned) == 8 - rank


def test_erase_takes_out_several_factors_at_once() -> None:
    one, other = planted(300, 4, 6), planted(300, 3, 6, seed=1)
    shaper = Erase([6], concept="levels").fit(_Known({"one": moments_of(one), "other": moments_of(other)}))
    assert shaper.options["rank"] == 5
    for features in (one, other):
        left = shaper([features.float()])
        assert (left.mean(0) - left.mean((0, 1))).abs().max() < 1e-4


def test_erase_says_where_nothing_would_be_left() -> None:
    moments = {"turn": moments_of(planted(50, 6, 3))}
    with pytest.raises(ValueError, match="all 3 directions that 50 images show"):
        Erase([3], concept="levels").fit(_Known(moments))


@pytest.mark.parametrize("keep", ["invariant", "sensitive"])
@pytest.mark.parametrize("strength", [0.0, 0.3, 0.8, 1.0])
def test_dial_takes_out_as_few_directions_as_its_strength_takes(keep, strength: float) -> None:
    features = planted(300, 6, 8)
    moments = moments_of(features)
    shaper = Dial([8], keep=keep, strength=strength).fit(_Known({"turn": moments}))
    # By brute force, with SciPy: the fewest directions without which what is to go is small enough.
    total, changed = shrunk(moments.total, 300).numpy(), moments.changed.numpy()
    axes = scipy.linalg.eigh(changed, total)[1]
    wanted, axes = (changed, axes[:, ::-1]) if keep == "invariant" else (total - changed, axes)

    def left_without(rank: int) -> float:
        projection = np.eye(8) - total @ axes[:, :rank] @ axes[:, :rank].T
        return float(np.trace(projection @ wanted @ projection.T) / np.trace(wanted))

    assert [left_without(rank) for rank in range(9)] == sorted(map(left_without, range(9)), reverse=True)
    expected = next(rank for rank in range(8) if left_without(rank) <= 1 - strength + 1e-9 or rank == 7)
    assert shaper.options["rank"] == expected
    if keep == "invariant":
        left = moments_of(_again(shaper)([features.float()]).double())
        assert float(left.changed.trace() / moments.changed.trace()) == pytest.approx(left_without(expected), abs=1e-4)
    if not strength:
        assert torch.equal(shaper([features]), features)


def test_dial_keeps_a_number_of_directions() -> None:
    features = planted(300, 6, 8)
    shaper = Dial([8], directions=3).fit(_Known({"turn": moments_of(features)}))
    left = shaper([features.float()]).double().reshape(-1, 8)
    assert int(torch.linalg.matrix_rank(torch.cov(left.T), rtol=1e-6)) == 3
    few = torch.cat([features[:, :, :2]] * 4, dim=-1)
    with pytest.raises(ValueError, match="directions=3: the reference images' features vary in 2"):
        Dial([8], directions=3).fit(_Known({"turn": moments_of(few)}))


def test_centre_gives_each_group_the_mean_of_all_and_a_common_deviation() -> None:
    features = planted(90, 1, 5)[:, 0]
    values = torch.arange(90) % 3
    features = features * (1 + values[:, None]) + 10 * values[:, None]
    shaper = Centre([5]).fit(_Known({"site": _by_column(features, values)}, ("a", "b", "c")))
    within = torch.stack([features[values == value].var(0, correction=0) for value in range(3)]).mean(0).sqrt()
    again = _again(shaper)
    assert isinstance(again, Centre)
    left = again.of_groups(features.float(), values).double()
    for value, name in enumerate("abc"):
        of_group = left[values == value]
        torch.testing.assert_close(of_group.mean(0), features.mean(0), atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(of_group.std(0, correction=0), within, atol=1e-3, rtol=1e-4)
        named = Centre([5], **{**shaper.options, "group": name})
        named.load_state_dict(shaper.state_dict())
        torch.testing.assert_close(named([features[values == value].float()]).double(), of_group)
    with pytest.raises(UserError, match=r"backbone.kwargs.group=a\|b\|c"):
        again([features.float()])


def test_centre_leaves_a_feature_that_does_not_vary_in_a_group_where_it_is() -> None:
    features = planted(40, 1, 3)[:, 0]
    features[:20, 0] = 1.0
    shaper = Centre([3]).fit(_Known({"site": _by_column(features, torch.arange(40) // 20)}, ("a", "b")))
    left = shaper.of_groups(features.float() + 1e-3, torch.arange(40) // 20)
    assert left[:20, 0].sub(features[:, 0].mean()).abs().max() < 0.01  # and not blown up


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Erase([4], concept="angle"), "concept=angle, expected coordinates or levels"),
        (lambda: Dial([4]), "expected a strength from 0 to 1, or a number of directions"),
        (lambda: Dial([4], strength=0.5, directions=2), "expected a strength"),
        (lambda: Dial([4], strength=1.5), "strength=1.5"),
        (lambda: Dial([4], directions=5), "directions=5, expected 1 to 4"),
        (lambda: Dial([4], keep="both", strength=1), "keep=both"),
        (lambda: Centre([4], groups=["a"], group="b"), "group=b, expected one of a"),
        (lambda: Dial([4], strength=0.5, rank=9), "rank=9"),
    ],
)
def test_what_makes_no_shaper_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_was_not_reached_is_said() -> None:
    reached = Reached(0.5, 0.3, 0.9, 0.2, taken_out=0.4, changed=0.1)
    assert Erase([4]).missed(reached) == "a linear read-out still explains 0.20 of it"
    assert Erase([4]).missed(reached._replace(readout_after=0.04)) is None
    said = Dial([4], strength=0.6).missed(reached)
    assert said == "0.40 of what it makes is taken out, of the 0.60 that were asked for"
    assert Dial([4], strength=0.42).missed(reached) is None
    assert Dial([4], keep="sensitive", strength=0.6).missed(reached) is None


def test_pooled_moments_are_those_of_all_features_together() -> None:
    one, other = planted(50, 3, 4), planted(50, 3, 4, seed=1) + 5
    mean, total, changed = pooled({"one": moments_of(one), "other": moments_of(other)})
    together = torch.cat([one, other]).reshape(-1, 4)
    np.testing.assert_allclose(mean, together.mean(0), atol=1e-9)
    np.testing.assert_allclose(total, torch.cov(together.T, correction=0), atol=1e-9)
    np.testing.assert_allclose(changed, moments_of(torch.cat([one, other])).changed, atol=1e-9)


class _Orbits:
    """A reference of which the features are known, of one transform of three steps."""

    groups = ()

    def __init__(self, features: Tensor, seed: int) -> None:
        self.seed = seed
        self.transforms = OrbitViews({"hue": Steps(((-0.1,), (0.0,), (0.1,)), (0.25, 0.5, 0.25))})
        self._features = features

    def moments(self) -> Mapping[str, FactorMoments]:
        raise NotImplementedError

    def orbits(self) -> Iterator[OrbitFeatures]:
        for some in self._features.split(16):
            yield OrbitFeatures(some[:, 1], {"hue": some})


def test_adapt_draws_its_weights_by_the_seed() -> None:
    features = planted(60, 3, 5).float()
    first, again, other = (Adapt([5], epochs=3, lr=0.01).fit(_Orbits(features, seed)) for seed in (0, 0, 1))
    assert torch.equal(first.first, again.first)
    assert torch.equal(first([features]), again([features]))
    assert not torch.equal(first.first, other.first)


def test_adapt_takes_the_steps_by_their_weights() -> None:
    """The middle step stands for half: what only the ends differ by is a quarter each."""
    features = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.25, 0.5, 0.25])
    options = {"keep": "invariant", "closeness": 0.0}
    loss = _Loss(torch.zeros(2), torch.ones(2), {"hue": weights}, {"hue": slice(0, 3)}, options)
    means = (features * weights[:, None]).sum(1)
    within = ((features - means[:, None]).square().sum(-1) * weights).sum(1).mean()
    torch.testing.assert_close(loss._spread("hue", features).within, within)
    torch.testing.assert_close(loss._spread("hue", features).means, means)
    between = (means - means.mean(0)).square().sum(1).mean()
    torch.testing.assert_close(loss._spread("hue", features).between, between)


@pytest.mark.parametrize(("keep", "closeness"), [("invariant", 2.0), ("sensitive", 0.5)])
def test_what_adapt_makes_small(keep, closeness: float) -> None:
    """By hand: two images at two steps of one feature, and a map that adds 1 to everything."""
    features = torch.tensor([[[0.0], [2.0]], [[4.0], [8.0]]])
    options = {"keep": keep, "closeness": closeness}
    halves = {"hue": torch.tensor([0.5, 0.5])}
    loss = _Loss(torch.zeros(1), torch.full((1,), 3.0), halves, {"hue": slice(0, 2)}, options)
    loss.set_out_from(iter([features]))
    learnt = [torch.zeros(1, 1), torch.full((1,), 100.0), torch.full((1, 1), 1 / 300)]  # everything moves by 1
    found = float(loss(features, learnt))
    far = 1 / 9
    assert found == pytest.approx(1 + closeness * far, rel=1e-4)  # a shift changes no variance
    still = float(loss(features, [torch.zeros(1, 1), torch.zeros(1), torch.zeros(1, 1)]))
    assert still == pytest.approx(1)
