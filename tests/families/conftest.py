from collections.abc import Callable

import pytest
import torchvision.transforms.v2.functional as F
from scipy.stats import ks_2samp
from torch import Tensor


@pytest.fixture
def kolmogorov_smirnov() -> Callable[[Tensor, Tensor], float]:
    """The largest distance of two samples' distribution functions, over its 1 % critical value; above 1 they differ."""

    def distance(first: Tensor, second: Tensor) -> float:
        found = ks_2samp(first.double().numpy(), second.double().numpy(), method="asymp")
        return float(found.statistic) / (1.63 * (1 / len(first) + 1 / len(second)) ** 0.5)

    return distance


@pytest.fixture(scope="session")
def canvas(photo: Tensor) -> Tensor:
    """A photograph as uint8 (3, 64, 64)."""
    square = F.center_crop(photo, [256, 256])
    return F.resize(square, [64, 64], antialias=True)[0].mul(255).round().byte()
