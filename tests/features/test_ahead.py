import pytest
from torch import nn

from solo_invariance.features.ahead import memory_of_passes


def _memory(network: nn.Module, batch_size: int, crop_size: int) -> int:
    return memory_of_passes(network, batch_size, crop_size)


@pytest.mark.parametrize(("width", "largest"), [(10, 10 * 8 * 8), (2, 3 * 8 * 8)])  # the images, where they are larger
def test_each_view_takes_four_times_the_largest_activation(width: int, largest: int) -> None:
    """Input and output of a layer, what is added to them and what it unfolds, of 4 bytes a number."""
    network = nn.Sequential(nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert _memory(network, 7, 8) - _memory(network, 2, 8) == 5 * 4 * 4 * largest


def test_weights_are_there_once_whatever_the_batch() -> None:
    small, large = (nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Linear(1, width)) for width in (1, 5))
    # Of each further output a weight and a bias; no activation is larger than an image of 12 numbers.
    assert _memory(large, 3, 2) - _memory(small, 3, 2) == 4 * 2 * 4
