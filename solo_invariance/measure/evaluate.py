"""Measuring: the loop over images, transforms and views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from solo_invariance.backbones import Backbone, SideBySide
from solo_invariance.data.images import ImageSource, Progress, no_progress
from solo_invariance.data.reading import ImageReader, ReadingPolicy
from solo_invariance.errors import UserError
from solo_invariance.features.feature_stream import FeatureStream, Precision, suitable_batch_size
from solo_invariance.measure.distance import InvarianceDistance
from solo_invariance.measure.feature_statistics import Moments
from solo_invariance.measure.functional import Whitening, whiten, whitening_from_statistics
from solo_invariance.measure.parts import Parts
from solo_invariance.measure.reference import ReferenceStatistics, clean_features, reference_statistics
from solo_invariance.measure.similarity import InvarianceSimilarity
from solo_invariance.measure.summary import Measured
from solo_invariance.measure.transforms import Geometry, Protocol, Transform
from solo_invariance.measure.view_metric import Gallery, ViewMetric
from solo_invariance.processes import Processes

METRICS: Mapping[str, type[ViewMetric]] = {"similarity": InvarianceSimilarity, "distance": InvarianceDistance}
"""The paper's two; others come from the entry points ``solo_invariance.metrics``."""

_FULL_IMAGES = 1000
_GALLERY_UNIT = 256


@dataclass(frozen=True)
class MeasureSettings:
    """How to measure.

    Args:
        protocol: ``paper`` keeps its quirks: images are drawn with replacement, the identity counts in the mean, the
            diagonal counts in view groups, translation and scale shear by a degree, views have 8 bits, and too few
            reference images are an error. ``clean`` repairs them: no replacement, no identity in the mean, no diagonal,
            no shear, no rounding of views, and a singular covariance is shrunk.
        budget: ``full`` is every parameter on every image; ``adaptive`` a few parameters, at random, on as many images
            as it takes for the standard error of each mean similarity to reach ``target_se``.
        k: Number of parameters a transform, where it has a choice.
        num_images: Number of images to measure on; None is 1000 for ``full`` and all for ``adaptive``.
        target_se: See ``budget``.
        gallery: Number of images that a view is compared with, for the metrics that need others.
        geometry: Sizes; see there.
        batch_size: Views in one forward pass, None for what is fastest on the device; changes speed and memory, not
            numbers (to floating point).
        precision: Of the forward passes; ``bf16`` and ``fp16`` are autocast's.
        compiled: Compile the backbone.
        reading: How images are read.
        seed: Of the choice of images and parameters, and of the bootstrap.
    """

    protocol: Protocol = "clean"
    budget: Literal["full", "adaptive"] = "full"
    k: int = 256
    num_images: int | None = None
    target_se: float = 0.002
    gallery: int = 1000
    geometry: Geometry = field(default_factory=Geometry)
    batch_size: int | None = None
    precision: Precision = "fp32"
    compiled: bool = False
    reading: ReadingPolicy = field(default_factory=ReadingPolicy)
    seed: int = 0


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
        from solo_invariance.measure.transform_run import TransformRun

        for name, metric in metrics.items():
            if not (isinstance(metric, type) and issubclass(metric, ViewMetric)):
                raise TypeError(f"metrics: {name} is {metric!r}, expected a subclass of ViewMetric")
        if "similarity" not in metrics:
            raise ValueError(f"metrics: {', '.join(metrics)}: expected similarity among them")
        run = TransformRun(self, transforms, source, metrics, Parts() if parts is None else parts)
        run.measure()
        return {block: {name: run.summary(name, block) for name in transforms} for block in self.backbone.blocks}

    def measure_transform(
        self, name: str, transform: Transform, source: ImageSource, metrics: Mapping[str, type[ViewMetric]] = METRICS
    ) -> Measured:
        """Measure one transform on a backbone with one block; see ``measure``."""
        (measured,) = self.measure({name: transform}, source, metrics).values()
        return measured[name]

    def whiten(self, features: Tensor) -> dict[str, Tensor]:
        """Return the whitened features (N, D) of each block, float64, of the backbone's features."""
        parts = features.split(list(self.backbone.blocks.values()), dim=1)
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
            self.backbone.blocks,
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
