"""Ways to combine the features of several backbones on the same image.

Source: Ericsson, Gouk & Hospedales (2022), section on fusing features: concatenation is the paper's choice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def concatenate(features: Sequence[Tensor]) -> Tensor:
    """Put the members' features side by side: (N, D_1), (N, D_2), ... to (N, D_1 + D_2 + ...)."""
    return torch.cat(list(features), dim=1)


def add(features: Sequence[Tensor]) -> Tensor:
    """Sum the members' features: (N, D) each to (N, D).

    Raises:
        ValueError: The members' widths differ.
    """
    widths = [f.shape[1] for f in features]
    if len(set(widths)) > 1:
        raise ValueError(f"members of unequal width {widths} cannot be summed or averaged; concatenate them")
    return torch.stack(list(features)).sum(dim=0)


def average(features: Sequence[Tensor]) -> Tensor:
    """Average the members' features: (N, D) each to (N, D).

    Raises:
        ValueError: The members' widths differ.
    """
    return add(features) / len(features)
