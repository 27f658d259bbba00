"""Which parameters of a transform are measured on which image."""

import math

import numpy as np
import torch
from torch import Tensor

_VIEWS_PER_IMAGE = 4
_STRATA = 16
_FEW = 8
_GOLDEN = (math.sqrt(5) - 1) / 2


class FullSampling:
    """Every parameter on every image.

    Rows of a sampling are numbered; which image a row looks at is none of its business.

    Args:
        num_parameters: K, of the grid.
        identity: The index of the parameters that change nothing, if any.
    """

    adds_identity = False
    """Whether each row's clean image is one more view of it: the identity's, for which none need be made."""

    def __init__(self, num_parameters: int, identity: int | None) -> None:
        self.num_parameters = num_parameters
        self.identity = identity

    @property
    def num_views(self) -> int:
        """How many views are made for a row."""
        return self.num_parameters

    @property
    def strata(self) -> Tensor | None:
        """To which stratum each parameter (K,) belongs, None where rows differ in no parameter."""
        return None

    def parameters(self, row: int) -> Tensor:
        """Return the indices (V,) of the parameters that views are made with for a row."""
        return torch.arange(self.num_parameters)

    def indices(self, row: int) -> Tensor:
        """Return the indices (M,) of the parameters that a row has scores for."""
        made = self.parameters(row)
        return torch.cat([made, torch.tensor([self.identity])]) if self.adds_identity else made

    def weights(self, indices: Tensor, *, count_identity: bool) -> Tensor:
        """Return the weights (N, M) by which scores at ``indices`` (N, M) average to the mean over the grid."""
        if self.identity is None or self.num_parameters == 1:
            return torch.full(indices.shape, 1 / indices.shape[1], dtype=torch.float64)
        is_identity = indices == self.identity
        share = 1 / self.num_parameters if count_identity else 0.0
        others = (1 - share) / (~is_identity).sum(dim=1, keepdim=True).double()
        return torch.where(is_identity, share, others)


class AdaptiveSampling(FullSampling):
    """A few parameters in each row, at random and evenly spaced over the grid.

    Every parameter but the identity is as likely as any other, so that means over images are unbiased. Rows that follow
    each other are spread over the grid by a golden-ratio sequence with a random start: after ``rows_to_cover`` of them
    every parameter was measured. The identity costs no view.

    Args:
        num_parameters: K, of the grid.
        identity: See ``FullSampling``.
        seed: Of the random start.
        exact: Whether the identity gives the clean image itself; else a view of it is made in each row.
    """

    def __init__(self, num_parameters: int, identity: int | None, seed: int, exact: bool = True) -> None:
        super().__init__(num_parameters, identity)
        others = [index for index in range(num_parameters) if index != identity]
        # A grid of the identity alone has nothing else to measure.
        self._others = torch.tensor(others or [identity])
        added = [identity] if identity is not None and others else []
        self.adds_identity = exact and bool(added)
        self._made_too = torch.tensor([] if exact else added, dtype=torch.int64)
        self._start = float(np.random.default_rng(seed).random())

    @property
    def num_views(self) -> int:
        """How many views are made for a row: all, or a few."""
        return self._drawn + len(self._made_too)

    @property
    def _drawn(self) -> int:
        return len(self._others) if len(self._others) <= _FEW else _VIEWS_PER_IMAGE

    @property
    def rows_to_cover(self) -> int:
        """How many rows measure every parameter: gaps of n terms of the sequence are at most 2 / n wide."""
        return 2 * self.visits

    @property
    def visits(self) -> int:
        """How many rows on one image show all that it can, at the least."""
        return math.ceil(len(self._others) / self._drawn)

    @property
    def strata(self) -> Tensor | None:
        """To which stratum, of neighbours on the grid, each parameter (K,) belongs; the identity is one of its own."""
        if self._drawn == len(self._others):
            return None
        strata = torch.full((self.num_parameters,), _STRATA)
        strata[self._others] = torch.arange(len(self._others)) * _STRATA // len(self._others)
        return strata

    def parameters(self, row: int) -> Tensor:
        """Return the indices (V,) of the parameters that views are made with for a row."""
        start = (self._start + row * _GOLDEN) % 1
        places = (torch.arange(self._drawn, dtype=torch.float64) + start) * len(self._others) / self._drawn
        return torch.cat([self._others[places.long()], self._made_too])
