from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Backbone
from solo_invariance.data.images import TensorImages
from solo_invariance.errors import UserError
from solo_invariance.features import extract_features
from solo_invariance.features.checks import require_finite_features, require_varied_features

_ALIKE = "all {} features are the same for all {} images"


def _checked(features: Tensor) -> None:
    variance, mean = torch.var_mean(features.double(), dim=0)
    require_varied_features(mean, variance, len(features), "it")


def test_features_that_differ_by_rounding_alone_are_all_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = 10 * torch.randn(6, generator=generator)
    noise = torch.randn(50, 6, generator=generator)
    for size in (0.0, 1e-7):
        with pytest.raises(UserError, match=f"^it: {_ALIKE.format(6, 50)}: the weights are zero"):
            _checked(mean * (1 + size * noise))
    with pytest.raises(UserError, match=r"50 images \(zeros\): the weights"):
        _checked(torch.zeros(50, 6))
    _checked(mean * (1 + 1e-4 * noise))
    one_alive = mean.expand(50, 6).clone()
    one_alive[:, 3] += noise[:, 0]
    _checked(one_alive)  # the others are dead, which is not rare
    require_varied_features(mean, torch.zeros(6), 1, "it")  # one image says nothing


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "image 7: the backbone's features are not finite .*: its weights are so, or are too large"),
        (float("inf"), "image 7: the backbone's features are not finite"),
        (-1e30, r"image 7: the backbone's features reach 1e\+30: its weights are too large, or have diverged"),
        (1e17, None),
    ],
)
@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4)])
def test_features_that_cannot_be_squared_name_their_image(
    value: float, message: str | None, shape: tuple[int, ...]
) -> None:
    features, source = torch.zeros(shape), TensorImages(torch.zeros(9, 3, 2, 2, dtype=torch.uint8))
    features[1, ..., 2] = value
    if message is None:
        require_finite_features(features, source, [3, 7, 8])
        return
    with pytest.raises(UserError, match=message):
        require_finite_features(features, source, [3, 7, 8])


def test_a_network_without_weights_is_refused_when_features_are_computed(
    make_backbone: Callable[..., Backbone], images: TensorImages
) -> None:
    backbone = make_backbone()
    for weight in backbone.parameters():
        nn.init.zeros_(weight)
    with pytest.raises(UserError, match=f"^member0: {_ALIKE.format(5, 10)}"):
        extract_features(backbone, images)
