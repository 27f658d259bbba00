"""Against scikit-learn's ridge regression on features that were multiplied by their band's weight."""

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from solo_invariance.regression.banded_ridge import FewFeatures, FewImages, banded_ridge

_WIDTHS = (3, 5)


def _draw(images: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    training = torch.randn(images, 8, generator=generator, dtype=torch.float64)
    targets = training[:, :2] + torch.randn(images, 2, generator=generator, dtype=torch.float64)
    return training, targets, torch.randn(6, 8, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("form", [FewFeatures, FewImages])
@pytest.mark.parametrize("images", [5, 20])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.3), (0.2, 1.0), (1.0, 0.0)])
def test_a_band_of_weight_w_is_a_band_that_was_multiplied_by_w(form, images: int, weights) -> None:
    training, targets, others = _draw(images)
    each = torch.tensor(weights, dtype=torch.float64).repeat_interleave(torch.tensor(_WIDTHS))
    expected = Ridge(alpha=0.7, fit_intercept=False).fit(training * each, targets).predict(others * each)
    found = form(training, targets, others, _WIDTHS).predict(torch.tensor(weights, dtype=torch.float64), 0.7)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_the_smaller_gram_matrices_are_taken() -> None:
    assert isinstance(banded_ridge(*_draw(5), _WIDTHS), FewImages)
    assert isinstance(banded_ridge(*_draw(20), _WIDTHS), FewFeatures)
