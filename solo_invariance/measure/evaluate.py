"""Measuring: the loop over images, transforms and views."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.backbones import Backbone
from solo_invariance.data.images import ImageSource, Progress, by_shape, load_batches, no_progress
from solo_invariance.errors import UserError
from solo_invariance.measure.distance import InvarianceDistance
from solo_invariance.measure.feature_statistics import FeatureStatistics
from solo_invariance.measure.functional import (
    Whitening,
    bootstrap_interval,
    group_distance,
    group_similarity,
    whiten,
)
from solo_invariance.measure.similarity import InvarianceSimilarity
from solo_invariance.measure.transforms import Geometry, Protocol, Transform, centre_crop
from solo_invariance.measure.view_metric import ViewMetric

METRICS: Mapping[str, type[ViewMetric]] = {"similarity": InvarianceSimilarity, "distance": InvarianceDistance}
"""The paper's two; others come from the entry points ``solo_invariance.metrics``."""


@dataclass(frozen=True)
class MeasureSettings:
    """How to measure.

    Args:
        protocol: ``paper`` keeps its quirks: images are drawn with replacement, the identity counts in the mean, the
            diagonal counts in view groups, translation and scale shear by a degree, and too few reference images are
            an error. ``clean`` repairs them: no replacement, no identity in the mean, no diagonal, no shear, and a
            singular covariance is shrunk.
        k: Number of parameters a transform, where it has a choice.
        num_images: Number of images to measure on.
        geometry: Sizes; see there.
        batch_size: Views in one forward pass; changes speed and memory, not numbers (to floating point).
        num_workers: Processes that read images.
        seed: Of the choice of images and of the bootstrap.
    """

    protocol: Protocol = "clean"
    k: int = 256
    num_images: int = 1000
    geometry: Geometry = field(default_factory=Geometry)
    batch_size: int = 256
    num_workers: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """What one transform or view set gave: the summary for the JSON and the arrays behind it."""

    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]


class InvarianceMeasurement:
    """A backbone with the statistics of its features on clean reference images, ready to be measured.

    Args:
        backbone: On the device to compute on.
        reference: The images of the mean and covariance.
        settings: How to measure.
        progress: Told how far the work is.

    Raises:
        UserError: An image is unreadable, a feature is not finite (the message names the image), or the covariance is
            singular under ``protocol=paper``.
    """

    def __init__(
        self,
        backbone: Backbone,
        reference: ImageSource,
        settings: MeasureSettings,
        progress: Progress = no_progress,
    ) -> None:
        self.backbone = backbone
        self.settings = settings
        self.progress = progress
        self.device = next(backbone.parameters()).device
        self.num_reference = len(reference)
        self.whitening = self._whitening(reference)

    def choose_images(self, source: ImageSource) -> list[int]:
        """Return the indices of the images to measure on: ``num_images``, or all if there are fewer (``clean``)."""
        generator = np.random.default_rng(self.settings.seed)
        replace = self.settings.protocol == "paper"
        size = self.settings.num_images if replace else min(self.settings.num_images, len(source))
        return [int(i) for i in generator.choice(len(source), size=size, replace=replace)]

    def measure_transform(
        self, name: str, transform: Transform, source: ImageSource, metrics: Mapping[str, type[ViewMetric]] = METRICS
    ) -> Measured:
        """Measure the invariance to one transform over its grid of parameters.

        Returns:
            The summary has the parameters and, for each metric, ``mean``, ``ci95`` and ``curve``; the arrays hold one
            number an image and parameter, (N, K).
        """
        indices = self.choose_images(source)
        grid = transform.grid(self.settings.k, self.settings.geometry, self.settings.protocol)
        running = {metric: metrics[metric]().to(self.device) for metric in metrics}
        # Images in a piece: at least a batch of views, and few enough that their features stay small.
        piece = max(1, 2 * self.settings.batch_size // len(grid))
        done = 0
        for rows, images in load_batches(source, indices, piece, self.settings.num_workers):
            for positions, stack in by_shape(images):
                clean, views = self._features_of_views(stack, transform, grid)
                self._require_finite(clean, [source.name_of(rows[p]) for p in positions])
                self._require_finite(views.flatten(1), [source.name_of(rows[p]) for p in positions])
                for metric in running.values():
                    metric.update(clean, views)
            done += len(images)
            self.progress(name, done, len(indices))
        values = {metric: running[metric].per_image().cpu().double().numpy() for metric in running}
        return self._summarise(transform, grid, values)

    def measure_groups(self, name: str, kind: str, groups: Tensor) -> Measured:
        """Measure the invariance within groups of views of one thing.

        Args:
            name: Of the view set.
            kind: ``spatial`` or ``appearance``.
            groups: uint8 (G, V, 3, H, W).

        Returns:
            The summary has ``similarity`` and ``distance``; the arrays one number a group.
        """
        include_diagonal = self.settings.protocol == "paper"
        values: dict[str, list[float]] = {"similarity": [], "distance": []}
        for index, views in enumerate(groups):
            features = whiten(self._features(self._clean(views.to(self.device))), self.whitening)[None]
            self._require_finite(features.flatten(1), [f"{name} group {index}"])
            values["similarity"].append(float(group_similarity(features, include_diagonal=include_diagonal)))
            values["distance"].append(float(group_distance(features, include_diagonal=include_diagonal)))
            self.progress(name, index + 1, len(groups))
        arrays = {metric: np.asarray(numbers) for metric, numbers in values.items()}
        summary = {metric: self._mean_and_interval(array) for metric, array in arrays.items()}
        shape = {"kind": kind, "num_groups": groups.shape[0], "num_views": groups.shape[1]}
        return Measured({**shape, **summary}, arrays)

    def _whitening(self, reference: ImageSource) -> Whitening:
        statistics = FeatureStatistics(self.backbone.num_features).to(self.device)
        done = 0
        batches = load_batches(reference, range(len(reference)), self.settings.batch_size, self.settings.num_workers)
        for rows, images in batches:
            for positions, stack in by_shape(images):
                features = self._features(self._clean(stack.to(self.device)))
                self._require_finite(features, [reference.name_of(rows[p]) for p in positions])
                statistics.update(features)
            done += len(images)
            self.progress("reference", done, len(reference))
        try:
            return statistics.whitening(shrink=self.settings.protocol == "clean")
        except ValueError as error:
            hint = (
                " (protocol=paper; protocol=clean shrinks the covariance)" if self.settings.protocol == "paper" else ""
            )
            raise UserError(f"{error}{hint}") from error

    def _clean(self, images: Tensor) -> Tensor:
        return centre_crop(_to_float(images), self.settings.geometry)

    def _features_of_views(self, images: Tensor, transform: Transform, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened features of images (n, 3, H, W) and their views: (n, D) and (n, K, D)."""
        images = _to_float(images.to(self.device))
        owner = torch.arange(len(images)).repeat_interleave(len(grid))
        parameters = grid.repeat(len(images), 1)
        features = [self._features(centre_crop(images, self.settings.geometry))]
        for rows in torch.arange(len(owner)).split(self.settings.batch_size):
            chosen = images[owner[rows].to(self.device)]
            features.append(self._features(transform.apply(chosen, parameters[rows], self.settings.geometry)))
        whitened = whiten(torch.cat(features), self.whitening)
        return whitened[: len(images)], whitened[len(images) :].reshape(len(images), len(grid), -1)

    @torch.inference_mode()
    def _features(self, views: Tensor) -> Tensor:
        return torch.cat([self.backbone(part).float() for part in views.split(self.settings.batch_size)])

    def _require_finite(self, features: Tensor, names: list[str]) -> None:
        finite = features.isfinite().all(dim=1)
        if not finite.all():
            raise UserError(
                f"{names[int((~finite).int().argmax())]}: the backbone's features are not finite (NaN or inf)"
            )

    def _mean_and_interval(self, values: np.ndarray) -> dict[str, Any]:
        interval = bootstrap_interval(torch.from_numpy(values), self.settings.seed)
        return {"mean": float(values.mean()), "ci95": list(interval)}

    def _summarise(self, transform: Transform, grid: Tensor, values: dict[str, np.ndarray]) -> Measured:
        identity = transform.identity(grid)
        others = [p for p in range(len(grid)) if p != identity]
        counted = others if self.settings.protocol == "clean" else list(range(len(grid)))
        parameters = grid[:, 0].tolist() if grid.shape[1] == 1 else grid.tolist()
        summary: dict[str, Any] = {
            "kind": transform.kind,
            "unit": transform.unit,
            "parameters": parameters,
            "identity": identity,
        }
        for metric, array in values.items():
            measured = self._mean_and_interval(array[:, counted].mean(axis=1))
            summary[metric] = {**measured, "curve": array.mean(axis=0).tolist()}
        summary["similarity_without_identity"] = self._mean_and_interval(values["similarity"][:, others].mean(axis=1))
        return Measured(summary, {"parameters": grid.numpy(), **values})


def _to_float(images: Tensor) -> Tensor:
    return images.float().div(255)
