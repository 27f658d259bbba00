"""Measuring: the loop over images, transforms and views."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from solo_invariance.backbones import Backbone, SideBySide
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import ImageReader
from solo_invariance.errors import UserError
from solo_invariance.features.feature_stream import FeatureStream, suitable_batch_size
from solo_invariance.measure.functional.whitening import Whitening, whiten, whitening_from_statistics
from solo_invariance.measure.loop.partial_results import Parts
from solo_invariance.measure.loop.summary import Measured
from solo_invariance.measure.metrics.distance import InvarianceDistance
from solo_invariance.measure.metrics.similarity import InvarianceSimilarity
from solo_invariance.measure.metrics.view_metric import Gallery, ViewMetric
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.statistics.feature_statistics import Moments
from solo_invariance.measure.statistics.reference import ReferenceStatistics, clean_features, reference_statistics
from solo_invariance.measure.transforms.transform import Transform
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress

METRICS: Mapping[str, type[ViewMetric]] = {"similarity": InvarianceSimilarity, "distance": InvarianceDistance}
"""The paper's two; others come from the entry points ``solo_invariance.metrics``."""

_FULL_IMAGES = 1000
_GALLERY_UNIT = 256


class InvarianceMeasurement:
    """A backbone with the statistics of its features on clean reference images, ready to be measured.

    Args:
        backbone: On the device to compute on.
        reference: The images of the mean and covariance; or these moments themselves, one for each of the backbone's
            blocks, as ``moments`` has them.
        settings: How to measure.
        progress: Told how far this process's share of the work is.
        processes: Those that share the work.

    Attributes:
        moments: Mean and covariance of each block.
        unreadable: Reference images that were left out.
        whitenings: What they whiten with.

    Raises:
        UserError: An image is unreadable, a feature is not finite (the message names the image), or the covariance is
            singular under ``protocol=paper``.
    """

    def __init__(
        self,
        backbone: Backbone | SideBySide,
        reference: ImageSource | Mapping[str, Moments],
        settings: MeasureSettings,
        progress: Progress = no_progress,
        processes: Processes | None = None,
    ) -> None:
        self.backbone = backbone
        self.settings = settings
        self.progress = progress
        self.processes = processes or Processes()
        device, crop_size = next(backbone.parameters()).device, settings.geometry.crop_size
        batch_size = settings.batch_size or suitable_batch_size(device, crop_size)
        self.stream = FeatureStream(backbone, batch_size, settings.precision, settings.compiled)
        self.device = self.stream.device
        self.moments, self.unreadable = (
            ReferenceStatistics(dict(reference), []) if isinstance(reference, Mapping) else self._statistics(reference)
        )
        self.whitenings = {name: self._whitening(moments) for name, moments in self.moments.items()}

    def choose_images(self, source: ImageSource) -> list[int]:
        """Return the indices of the images to measure on: ``num_images``, or all if there are fewer (``clean``)."""
        generator = np.random.default_rng(self.settings.seed)
        wanted = self.settings.num_images or (_FULL_IMAGES if self.settings.budget == "full" else len(source))
        replace = self.settings.protocol == "paper" and self.settings.budget == "full"
        size = wanted if replace else min(wanted, len(source))
        if size < 2:
            raise UserError(f"{size} image to measure on: an interval needs at least 2")
        return [int(i) for i in generator.choice(len(source), size=size, replace=replace)]

    def measure(
        self,
        transforms: Mapping[str, Transform],
        source: ImageSource,
        metrics: Mapping[str, type[ViewMetric]] = METRICS,
        parts: Parts | None = None,
    ) -> dict[str, dict[str, Measured]]:
        """Measure the invariance to transforms over their grids of parameters.

        Images are read once, and their clean features computed once, for all transforms.

        Args:
            transforms: By name.
            source: The images, with their short side at ``geometry.resize``.
            metrics: By name; ``similarity`` is among them.
            parts: Where to keep what is done, and where what was done before is found; several processes share it.

        Returns:
            By block of the backbone's features and transform: the summary has the parameters and, for each metric,
            ``mean``, ``ci95``, ``standard_error`` and ``curve``; the arrays hold what they come from.

        Raises:
            UserError: An image is unreadable, or its features are not finite; the message names it.
        """
        from solo_invariance.measure.loop.transform_run import TransformRun

        for name, metric in metrics.items():
            if not (isinstance(metric, type) and issubclass(metric, ViewMetric)):
                raise TypeError(f"metrics: {name} is {metric!r}, expected a subclass of ViewMetric")
        if "similarity" not in metrics:
            raise ValueError(f"metrics: {', '.join(metrics)}: expected similarity among them")
        run = TransformRun(self, transforms, source, metrics, Parts() if parts is None else parts)
        run.measure()
        return {block: {name: run.summary(name, block) for name in transforms} for block in self.backbone.layers}

    def measure_transform(
        self, name: str, transform: Transform, source: ImageSource, metrics: Mapping[str, type[ViewMetric]] = METRICS
    ) -> Measured:
        """Measure one transform on a backbone with one block; see ``measure``."""
        (measured,) = self.measure({name: transform}, source, metrics).values()
        return measured[name]

    def whiten(self, features: Tensor) -> dict[str, Tensor]:
        """Return the whitened features (N, D) of each block, float64, of the backbone's features."""
        parts = features.split(list(self.backbone.layers.values()), dim=1)
        return {
            name: whiten(part, whitening)
            for (name, whitening), part in zip(self.whitenings.items(), parts, strict=True)
        }

    def gallery(self, source: ImageSource, among: Sequence[int] | None = None) -> dict[str, Gallery]:
        """Return, for each block, images to compare with, of which the ids are indices; the same in every process.

        Args:
            source: The images.
            among: The indices of those to choose from, all by default.
        """
        generator = np.random.default_rng((self.settings.seed, 1))
        indices = sorted(
            generator.permutation(len(source) if among is None else among)[: self.settings.gallery].tolist()
        )
        units = [indices[start : start + _GALLERY_UNIT] for start in range(0, len(indices), _GALLERY_UNIT)]
        reader = ImageReader(source, self.settings.reading, len(indices))
        features: list[Tensor] = []
        images: list[int] = []
        for unit, (positions, pixels) in zip(units, reader.units(units), strict=True):
            for chosen, part in clean_features(self.stream, pixels, self.settings.geometry):
                features.append(part)
                images += [unit[positions[place]] for place in chosen]
            self.progress("gallery", len(images), len(indices))
        if len(images) < 2:
            raise UserError(f"gallery: {len(images)} images to compare with, at least 2 are needed")
        return {
            name: Gallery(whitened, torch.tensor(images)) for name, whitened in self.whiten(torch.cat(features)).items()
        }

    def _statistics(self, reference: ImageSource) -> ReferenceStatistics:
        settings = self.settings
        return reference_statistics(
            self.stream,
            self.backbone.layers,
            reference,
            settings.geometry,
            settings.reading,
            self.processes,
            self.progress,
        )

    def _whitening(self, moments: Moments) -> Whitening:
        paper = self.settings.protocol == "paper"
        mean, covariance = moments.mean.to(self.device), moments.covariance.to(self.device)
        try:
            return whitening_from_statistics(mean, covariance, moments.num_images, shrink=not paper)
        except ValueError as error:
            hint = " (protocol=paper; protocol=clean shrinks the covariance)" if paper else ""
            raise UserError(f"{error}{hint}") from error
