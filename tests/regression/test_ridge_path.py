import pytest
import torch
from torch import Tensor

from solo_invariance.regression.ridge_path import Sums, ridge_paths


def draw(count: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, size, generator=generator, dtype=torch.float64)
    targets = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return features - features.mean(0), targets - targets.mean(0)


def solve(features: Tensor, targets: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    centred, mean = features - features.mean(0), targets.mean(0)
    normal = centred.T @ centred + penalty * torch.eye(features.shape[1], dtype=torch.float64)
    slopes = torch.linalg.solve(normal, centred.T @ (targets - mean))
    return slopes, mean - features.mean(0) @ slopes


@pytest.mark.parametrize(("count", "size"), [(40, 6), (12, 30)])
def test_every_fold_and_penalty_is_a_ridge_regression_on_the_other_images(count: int, size: int) -> None:
    features, targets = draw(count, size)
    held_out = torch.arange(count)[:, None] % 3 == torch.arange(4)
    deviations = torch.rand(size, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
    penalties = torch.tensor([1e-2, 1.0, 30.0], dtype=torch.float64)
    for fold, deviation, path in zip(
        held_out.T, deviations.T, ridge_paths(features, targets, held_out, deviations), strict=True
    ):
        together = path.predict(features, penalties)
        for penalty, predictions in zip(penalties.tolist(), together, strict=True):
            slopes, intercept = solve(features[~fold] / deviation, targets[~fold], penalty)
            assert torch.allclose(predictions, features / deviation @ slopes + intercept)
            raw_slopes, raw_intercept = path.solution(penalty)
            assert torch.allclose(raw_slopes, slopes / deviation[:, None])
            assert torch.allclose(raw_intercept, intercept)


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    features, targets = draw(20, 3)
    first, second = Sums.of(features[:7], targets[:7]), Sums.of(features[7:], targets[7:])
    whole = Sums.of(features, targets)
    assert first.images + second.images == whole.images
    assert torch.allclose(first.gram + second.gram, whole.gram)
    assert torch.allclose(first.cross + second.cross, whole.cross)
    assert torch.allclose(first.features + second.features, whole.features)
    assert torch.allclose(first.targets + second.targets, whole.targets)
