"""The fusion ``maximum``: of each feature, the member's that is largest."""

from collections.abc import Sequence

import torch
from torch import Tensor


def maximum(features: Sequence[Tensor]) -> Tensor:
    """Return the largest of the members' features: (N, D) each to (N, D).

    Raises:
        ValueError: The members' widths differ.
    """
    if len({member.shape[1] for member in features}) > 1:
        raise ValueError("only members of equal width have a largest feature")
    return torch.stack(list(features)).amax(dim=0)
