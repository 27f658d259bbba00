import math

import pytest
import torch
from torch import Tensor

from solo_invariance.measure.functional import equivariance_terms
from solo_invariance.measure.metrics.equivariance import Equivariance


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def score(clean: Tensor, views: Tensor, coordinates: Tensor) -> float:
    metric = Equivariance(torch.eye(clean.shape[1], dtype=clean.dtype)[None])
    metric.update(clean, views, coordinates, torch.arange(len(clean)))
    return float(metric.compute())


def rotated(clean: Tensor, angles: Tensor) -> Tensor:
    """Each pair of features turned by the angle."""
    first, second = clean[:, None, ::2], clean[:, None, 1::2]
    cos, sin = angles.cos()[..., None], angles.sin()[..., None]
    return torch.stack([cos * first - sin * second, sin * first + cos * second], dim=3).flatten(2)


ANGLES = 2 * math.pi * torch.rand(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
CIRCLE = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=2)


def test_a_planted_rotation_scores_one() -> None:
    clean = draw(200, 8)
    assert score(clean, rotated(clean, ANGLES), CIRCLE) > 0.98


def test_a_planted_permutation_scores_one() -> None:
    clean, on = draw(200, 8), torch.tensor([0.0, 1.0]).expand(200, 2)[..., None]
    views = torch.stack([clean, clean[:, torch.randperm(8, generator=torch.Generator().manual_seed(1))]], dim=1)
    assert score(clean, views, on) > 0.99
    assert score(clean, torch.stack([clean, -clean], dim=1), on) > 0.99


def test_a_shift_by_the_parameters_scores_one() -> None:
    clean = draw(200, 8)
    assert score(clean, clean[:, None] + CIRCLE @ draw(2, 8, seed=2), CIRCLE) > 0.99


@pytest.mark.parametrize("noise", [0.0, 1e-14, 0.01, 0.5])
def test_an_invariant_representation_has_nothing_to_predict(noise: float) -> None:
    clean = draw(200, 8)
    assert abs(score(clean, clean[:, None] + noise * draw(200, 4, 8, seed=3), CIRCLE)) < 0.05


def test_a_scrambling_representation_scores_nothing() -> None:
    views = draw(200, 4, 8, seed=3) + 2 * CIRCLE @ draw(2, 8, seed=2)
    assert abs(score(draw(200, 8), views, CIRCLE)) < 0.05


def test_keeping_a_share_that_depends_on_the_parameters_is_no_map() -> None:
    clean = draw(200, 8)
    share = (1 + ANGLES.cos()[..., None]) / 2
    views = share * clean[:, None] + (1 - share**2).sqrt() * draw(200, 4, 8, seed=3)
    assert abs(score(clean, views, CIRCLE)) < 0.05


def test_half_of_the_change_is_half() -> None:
    """The rotation of half of the features, and as many that are drawn anew."""
    clean = draw(800, 8)
    angles = ANGLES.repeat(4, 1)
    views = torch.cat([rotated(clean[:, :4], angles), draw(800, 4, 4, seed=3)], dim=2)
    # Of all features, a share of cos / 2 is kept where that is positive, which takes cos^2 / 4 off the error there,
    # 1/16 on the whole circle; of the 15/16 that are left, the half that is drawn anew stays.
    assert score(clean, views, CIRCLE.repeat(4, 1, 1)) == pytest.approx(1 - 0.5 / (15 / 16), abs=0.05)


def test_maps_of_single_images_are_none_that_all_share() -> None:
    """Each image has a rotation of its own: as predictable as noise."""
    clean = draw(200, 8)
    turns = torch.linalg.qr(draw(200, 8, 8, seed=4)).Q
    views = torch.einsum("nij,nj->ni", turns, clean)[:, None].expand(200, 4, 8)
    assert score(clean, views, CIRCLE) < 0.05


def test_a_share_that_is_kept_and_a_constant_are_known_to_the_first_baseline() -> None:
    """The map predicts it no better: there is nothing to predict."""
    clean, shift = draw(200, 8), 3 * draw(8, seed=2)
    views = (0.5 * clean + shift)[:, None].expand(-1, 4, -1)
    mapped, kept, mean_view = equivariance_terms(clean, views, CIRCLE, torch.arange(200)).sum(dim=0).tolist()
    assert max(mapped, kept) < 1e-9 * mean_view
    # Half of each feature's deviations from its mean, but the mean is of the other half of the images.
    assert mean_view == pytest.approx(4 * 0.25 * float((clean - clean.mean(0)).square().sum()), rel=0.05)


def test_every_image_has_its_own_errors_whatever_the_order_of_rows() -> None:
    clean = draw(200, 8)
    views = rotated(clean, ANGLES) + torch.linspace(0, 1, 200)[:, None, None] * draw(200, 4, 8, seed=3)
    images = torch.arange(200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(4))
    expected = equivariance_terms(clean, views, CIRCLE, images)
    found = equivariance_terms(clean[order], views[order], CIRCLE[order], images[order])
    torch.testing.assert_close(found, expected[order])


def test_without_projections_it_says_so() -> None:
    with pytest.raises(ValueError, match="projects features: expected projections, got none"):
        Equivariance().update(draw(9, 8), draw(9, 4, 8), CIRCLE[:9], torch.arange(9))


def test_what_is_predicted_are_the_projected_features() -> None:
    clean, onto = draw(200, 8), draw(4, 8, seed=7)
    views = rotated(clean, ANGLES)
    metric = Equivariance(onto[None])
    metric.update(clean, views, CIRCLE, torch.arange(200))
    assert float(metric.compute()) == pytest.approx(score(clean @ onto.T, views @ onto.T, CIRCLE), abs=1e-6)
