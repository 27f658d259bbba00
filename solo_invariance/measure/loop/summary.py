"""From the scores of images to the numbers of a result."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import Estimate, estimate
from solo_invariance.errors import UserError
from solo_invariance.measure.loop.reference_error import standard_error
from solo_invariance.measure.loop.sampling import FullSampling
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.transforms.transform import Transform


@dataclass(frozen=True)
class Measured:
    """What one transform or view set gave: the summary for the JSON and the arrays behind it."""

    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """The scores of one transform.

    Args:
        sampling: By which parameters were chosen.
        rows: The rows of the sampling that were measured, ascending, (N,).
        items: What each row looked at, (N,): images, unless the protocol draws some twice; an item may have many rows.
        names: What the items are called, by item; items of one name are draws of one image.
        metrics: By name, with the states of all rows.
        influence: Of blocks of reference images on each row, (N, B), by metric, where it is known: on similarities
            and distances, without the identity's.
    """

    sampling: FullSampling
    rows: np.ndarray
    items: np.ndarray
    names: Mapping[int, str]
    metrics: Mapping[str, ViewMetric]
    influence: Mapping[str, Tensor] = field(default_factory=dict)
    _known: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def per_row(self, metric: str, *, count_identity: bool) -> Tensor:
        """Return the terms (N, T), float64, averaged over parameters, of the rows that the metric was given."""
        terms = self._terms(metric)
        if not self.metrics[metric].per_parameter:
            return terms[:, 0]
        indices = self._indices[: len(terms)]
        weights = self.sampling.weights(indices, count_identity=count_identity)
        if self.sampling.strata is None:
            return (terms * weights[..., None]).sum(dim=1)
        grid = self.sampling.weights(torch.arange(self.sampling.num_parameters)[None], count_identity=count_identity)[0]
        return post_stratified(terms, weights, self.sampling.strata[indices], grid, self.sampling.strata)

    def per_item(self, metric: str, *, count_identity: bool) -> Tensor:
        """Return the terms (N', T), float64, averaged over parameters and over the rows of an item."""
        return self._averaged_over_rows(self.per_row(metric, count_identity=count_identity))

    def reference_influence(self, metric: str, *, count_identity: bool) -> Tensor | None:
        """Return the influence (B,), float64, of blocks of reference images on a mean, None where it is unknown."""
        if metric not in self.influence:
            return None
        size = self.sampling.num_parameters
        counted = count_identity and self.sampling.identity is not None and size > 1
        # The identity is as similar, and as near, whatever the reference.
        share = 1 - 1 / size if counted else 1.0
        return share * self._averaged_over_rows(self.influence[metric].double()).mean(dim=0)

    def curve(self, metric: str) -> list[float] | None:
        """Return the metric at each parameter of the grid, None where it has no number for each."""
        terms = self._terms(metric)
        if not self.metrics[metric].per_parameter:
            return None
        indices = self._indices[: len(terms)]
        flat, size = indices.flatten(), self.sampling.num_parameters
        totals = torch.zeros(size, terms.shape[2], dtype=torch.float64).index_add_(0, flat, terms.flatten(0, 1))
        return self.metrics[metric].value(totals / flat.bincount(minlength=size)[:, None]).tolist()

    def estimate(self, metric: str, seed: int, *, count_identity: bool) -> Estimate:
        """Return the metric's mean over the grid and the images; with the reference's error where it is known."""
        terms = self.per_item(metric, count_identity=count_identity)
        found = estimate(terms, self.metrics[metric].value, seed, images=self._images[: len(terms)])
        if not all(map(math.isfinite, found[:4])):
            raise UserError(f"metrics: {metric} is {found.mean}: it has no value on these images")
        influence = self.reference_influence(metric, count_identity=count_identity)
        return found if influence is None else found.with_reference_error(standard_error(influence))

    def arrays(self, *, count_identity: bool) -> dict[str, np.ndarray]:
        """Return the scores for a file: of each row and, averaged, of each item."""
        arrays: dict[str, np.ndarray] = {
            "names": np.asarray([self.names[int(item)] for item in np.unique(self.items)]),
            "items": self.items,
            "indices": self._indices.numpy(),
        }
        for metric in self.metrics:
            arrays[metric] = self._terms(metric).squeeze(2).float().numpy()
            arrays[f"{metric}_per_image"] = self.per_item(metric, count_identity=count_identity).numpy()
            influence = self.reference_influence(metric, count_identity=count_identity)
            if influence is not None:
                arrays[f"{metric}_influence"] = influence.numpy()
        return arrays

    @property
    def cover_the_grid(self) -> bool:
        """Whether there are scores at every parameter."""
        return len(self._indices.unique()) == self.sampling.num_parameters

    def _averaged_over_rows(self, terms: Tensor) -> Tensor:
        """Return terms (N', T) of items, by those of their rows, (N, T)."""
        items, owner = np.unique(self.items[: len(terms)], return_inverse=True)
        totals = torch.zeros(len(items), terms.shape[1], dtype=torch.float64)
        totals.index_add_(0, torch.from_numpy(owner), terms)
        return totals / torch.from_numpy(np.bincount(owner))[:, None]

    @cached_property
    def _images(self) -> Tensor:
        """Of which image each item is."""
        names = [self.names[int(item)] for item in np.unique(self.items)]
        return torch.from_numpy(np.unique(names, return_inverse=True)[1])

    @cached_property
    def _indices(self) -> Tensor:
        return torch.stack([self.sampling.indices(int(row)) for row in self.rows])

    def _terms(self, metric: str) -> Tensor:
        if metric not in self._known:  # some are fitted, which takes its time
            try:
                self._known[metric] = self.metrics[metric].per_image().double().cpu()
            except ValueError as error:
                raise UserError(f"metrics: {metric}: {error}") from error
        return self._known[metric]


def post_stratified(
    terms: Tensor, weights: Tensor, strata: Tensor, grid_weights: Tensor, grid_strata: Tensor
) -> Tensor:
    """Return the mean over the grid that each row's few parameters suggest, as far as images, not parameters, differ.

    That some parameters score higher than others for all images is taken off each score, by the mean of its stratum of
    the grid, and put back as the mean over all strata: which parameters a row happened to have then says less about it.
    Source: Cochran (1977), "Sampling Techniques", section 5A.9, on stratification after selection.

    Args:
        terms: (N, M, T), of rows.
        weights: (N, M), by which a row's terms average to the mean over the grid.
        strata: Of each term, (N, M).
        grid_weights: Of the grid's parameters, (K,).
        grid_strata: Of the grid's parameters, (K,).

    Returns:
        (N, T), whose mean is the mean over strata of their means.
    """
    count = int(grid_strata.max()) + 1
    totals = terms.new_zeros(count, terms.shape[2]).index_add_(0, strata.flatten(), terms.flatten(0, 1))
    seen = strata.flatten().bincount(minlength=count)[:, None]
    # A stratum that no row has seen yet is taken to be like the others; more rows are on their way then.
    means = torch.where(seen > 0, totals / seen.clamp_min(1), terms.flatten(0, 1).mean(dim=0))
    shares = grid_weights.new_zeros(count).index_add_(0, grid_strata, grid_weights)
    return ((terms - means[strata]) * weights[..., None]).sum(dim=1) + shares @ means


def summarise(transform: Transform, grid: Tensor, scores: Scores, *, count_identity: bool, seed: int) -> Measured:
    """Return what a transform gave.

    Args:
        transform: The transform.
        grid: Its parameters (K, P).
        scores: Of all images.
        count_identity: Whether the identity counts in the mean.
        seed: Of the bootstrap.
    """
    summary: dict[str, Any] = {
        "kind": transform.kind,
        "unit": transform.unit,
        "parameters": grid[:, 0].tolist() if grid.shape[1] == 1 else grid.tolist(),
        "identity": scores.sampling.identity,
        "num_images": len(np.unique(scores.items)),
        "num_views": len(scores.rows) * scores.sampling.num_views,
    }
    for metric in scores.metrics:
        curve = scores.curve(metric)
        numbers = scores.estimate(metric, seed, count_identity=count_identity).as_dict()
        summary[metric] = numbers if curve is None else {**numbers, "curve": curve}
    summary["similarity_without_identity"] = scores.estimate("similarity", seed, count_identity=False).as_dict()
    arrays = {"parameters": grid.numpy(), **scores.arrays(count_identity=count_identity)}
    return Measured(summary, arrays)
