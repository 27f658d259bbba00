"""A backbone that is ready to be measured: its features, whitened by their statistics on clean reference images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from solo_invariance.backbones import Backbone, SideBySide
from solo_invariance.data.decoding import readable
from solo_invariance.data.images import ImageSource, digest_of
from solo_invariance.data.reading import ImageReader
from solo_invariance.data.sources import with_interpolation, with_short_side
from solo_invariance.device import device_of
from solo_invariance.errors import UserError
from solo_invariance.features.checks import require_varied_features
from solo_invariance.features.digests import distinct_images, known_images
from solo_invariance.features.feature_stream import FeatureStream, suitable_batch_size
from solo_invariance.measure.functional.whitening import (
    Whitening,
    hold_out_pairs,
    whiten,
    whitening_from_statistics,
    width_matched_projections,
)
from solo_invariance.measure.loop.reference_error import ReferenceBlocks
from solo_invariance.measure.metrics.view_metric import Gallery, Projections
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.statistics.feature_statistics import Moments, repetitions
from solo_invariance.measure.statistics.reference import (
    ReferenceStatistics,
    clean_features,
    reference_statistics,
    require_short_side,
)
from solo_invariance.measure.transforms.transform import ResizeCrop
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress
from solo_invariance.results.files import fingerprint_of

_GALLERY_CHUNK = 256
# One projection differs from another by 0.002 to 0.02, so that the mean of them errs by a quarter of that.
_PROJECTIONS = 16


class WhitenedBackbone:
    """A backbone with the statistics of its features on clean reference images.

    Args:
        backbone: On the device to compute on.
        reference: The images of the mean and covariance; or these moments themselves, one for each of the backbone's
            layers, as ``moments`` has them.
        settings: How to measure. Sizes that they leave open are the backbone's. Where their protocol holds out, images
            that repeat in the reference count once, and what is measured on one of its images is whitened without it.
        progress: Told how far this process's share of the work is.
        processes: Those that share the work.
        known: The moments of the reference's images, where they are known.

    Attributes:
        geometry: Sizes of images and crops.
        num_files: How many reference images there are, those that repeat included.
        reference_fingerprint: By which the reference is known; None where its moments alone are.
        moments: Mean and covariance of each layer.
        unreadable: Reference images that were left out.
        whitenings: What each layer's features are whitened with.
        reference_blocks: Those that tell the error that each layer's moments make, None where these do not say it.

    Raises:
        UserError: An image is unreadable, a feature is not finite (the message names the image), all features are the
            same for all images, or the covariance is singular under ``protocol=paper``.
    """

    def __init__(
        self,
        backbone: Backbone | SideBySide,
        reference: ImageSource | Mapping[str, Moments],
        settings: MeasureSettings,
        progress: Progress = no_progress,
        processes: Processes | None = None,
        known: Mapping[str, Moments] | None = None,
    ) -> None:
        if not isinstance(backbone, Backbone | SideBySide):
            kind = type(backbone).__name__
            raise UserError(
                f"{kind} is no Backbone: Backbone.of(module, crop_size=...) makes one of a module of your own"
            )
        self.backbone = backbone
        self.geometry = settings.geometry or ResizeCrop.of_input(backbone.input_spec)
        self.settings = settings.with_geometry(self.geometry)
        self.progress = progress
        self.processes = processes or Processes()
        device = device_of(backbone)
        batch_size = settings.batch_size or suitable_batch_size(device, self.geometry.crop_size)
        self.stream = FeatureStream(backbone, batch_size, settings.precision, settings.compiled)
        self.device = self.stream.device
        self.num_files = 0
        self._in_reference: frozenset[str] = frozenset()
        self.reference_fingerprint: str | None = None
        if not isinstance(reference, Mapping):
            sized, workers = self.sized(reference), self.settings.reading.num_workers
            if self.settings.quirks.holds_out:
                reference = distinct_images(sized, workers)
                self.num_files = reference.num_files
                self._in_reference = frozenset(reference.digests)
            else:
                reference = known_images(sized, workers)
                self.num_files = len(reference)
            self.reference_fingerprint = fingerprint_of({"images": [*reference.digests]})
        known = reference if isinstance(reference, Mapping) else known
        self.moments, self.unreadable = (
            self._statistics(reference) if known is None else ReferenceStatistics(dict(known), [])  # type: ignore[arg-type]
        )
        self.whitenings = {name: self._whitening(name, moments) for name, moments in self.moments.items()}
        self.reference_blocks = {
            name: ReferenceBlocks.of(moments, self.whitenings[name]) for name, moments in self.moments.items()
        }

    def __repr__(self) -> str:
        layers = ", ".join(f"{name or 'output'}: {one.num_images} images" for name, one in self.whitenings.items())
        size, crop = self.geometry.resize, self.geometry.crop_size
        how = f"protocol={self.settings.protocol!r}, k={self.settings.k}, resize={size}, crop_size={crop}"
        return f"{type(self).__name__}({how}, whitened by {{{layers}}}, on {self.device})"

    def sized(self, source: ImageSource, short_side: int | None = None) -> ImageSource:
        """Return a source whose images are resized for the backbone, where it is one that can resize them.

        Args:
            source: Images.
            short_side: In pixels; ``geometry.resize`` by default.
        """
        interpolation = self.settings.interpolation_of(self.backbone.input_spec)
        return with_short_side(with_interpolation(source, interpolation), short_side or self.geometry.resize)

    def whiten(self, features: Tensor) -> dict[str, Tensor]:
        """Return the whitened features (N, D) of each layer, float64, of the backbone's features."""
        slices = features.split(list(self.backbone.layers.values()), dim=1)
        return {
            name: whiten(one, whitening) for (name, whitening), one in zip(self.whitenings.items(), slices, strict=True)
        }

    def in_reference(self, source: ImageSource, indices: Sequence[int]) -> Tensor:
        """Return which images of a source are whitened without themselves, (N,), bool: those that the reference has.

        Raises:
            UserError: One has, and too few others are left.
        """
        sized = self.sized(source)
        found = torch.tensor([self._has(sized, index) for index in indices], dtype=torch.bool)
        if found.any():
            self.require_others(1)
        return found

    def require_others(self, removed: int) -> None:
        """Raise UserError where too few reference images are left to whiten by without some of them.

        Args:
            removed: How many are left out.
        """
        left = min(moments.num_images for moments in self.moments.values()) - removed
        if left < 2:
            raise UserError(
                f"reference: without the images that are measured, it has {left} to whiten by, at least 2 are needed: "
                f"set reference.path to a folder of others (reference=, in Python)"
            )

    def _has(self, source: ImageSource, index: int) -> bool:
        return bool(self._in_reference) and digest_of(source, index) in self._in_reference

    def clean_features(self, source: ImageSource, indices: Sequence[int]) -> Tensor:
        """Return the features (N, F) of images of a source that can be read, as the reference has them."""
        sized = self.sized(source)
        pixels = [readable(sized[index]) for index in indices]
        features = torch.empty(len(pixels), self.backbone.num_features, device=self.device)
        for positions, some in clean_features(self.stream, pixels, self.geometry):
            features[positions] = some
        return features

    def whiten_pairs(self, clean: Tensor, views: Tensor) -> dict[str, Tensor]:
        """Return the whitened features, float64, of images and of their views, for each layer.

        Args:
            clean: The backbone's features (N, F) of images.
            views: Of V views of each, (N, V, F).

        Returns:
            By layer, (N, 1 + V, D): each image first, then its views.
        """
        both = torch.cat([clean[:, None], views], dim=1)
        return {
            layer: whitened.unflatten(0, both.shape[:2]) for layer, whitened in self.whiten(both.flatten(0, 1)).items()
        }

    def gallery(
        self, source: ImageSource, among: Sequence[int] | None = None, short_side: int | None = None
    ) -> dict[str, Gallery]:
        """Return, for each layer, images to compare with, of which the ids are indices; the same in every process.

        Args:
            source: The images.
            among: The indices of those to choose from, all by default.
            short_side: Of the images, in pixels; ``geometry.resize`` by default.
        """
        short_side = short_side or self.geometry.resize
        source = self.sized(source, short_side)
        generator = np.random.default_rng((self.settings.seed, 1))
        indices = sorted(
            generator.permutation(len(source) if among is None else among)[: self.settings.gallery].tolist()
        )
        chunks = [indices[start : start + _GALLERY_CHUNK] for start in range(0, len(indices), _GALLERY_CHUNK)]
        reader = ImageReader(source, self.settings.reading, len(indices))
        features: list[Tensor] = []
        images: list[int] = []
        for chunk, (positions, pixels) in zip(chunks, reader.units(chunks), strict=True):
            require_short_side(pixels, short_side, source, [chunk[position] for position in positions])
            for chosen, some in clean_features(self.stream, pixels, self.geometry._replace(resize=short_side)):
                features.append(some)
                images += [chunk[positions[place]] for place in chosen]
            self.progress("gallery", len(images), len(indices))
        if len(images) < 2:
            raise UserError(f"gallery: {len(images)} images to compare with, at least 2 are needed")
        held_out, ids = self.in_reference(source, images), torch.tensor(images)
        found = {}
        for name, own in self.whiten(torch.cat(features)).items():
            whitening = self.whitenings[name]
            found[name] = Gallery(hold_out_pairs(own[:, None], held_out, whitening)[:, 0] * whitening.length(), ids)
        return found

    def projections(self) -> dict[str, Projections]:
        """Return, for each layer, the maps from its whitened features to ``settings.matched_width`` dimensions."""
        return {layer: self._projections(layer) for layer in self.moments}

    def _projections(self, layer: str) -> Projections:
        whitening, moments, settings = self.whitenings[layer], self.moments[layer], self.settings
        maps = width_matched_projections(
            whitening,
            moments.covariance.to(self.device),
            moments.num_images,
            settings.matched_width,
            _PROJECTIONS,
            shrink=settings.quirks.shrinks_covariance,
        )
        return Projections(maps, whitening)

    def _statistics(self, reference: ImageSource) -> ReferenceStatistics:
        return reference_statistics(
            self.stream,
            self.backbone.layers,
            self.sized(reference),
            self.geometry,
            self.settings.reading,
            self.processes,
            self.progress,
        )

    def _whitening(self, layer: str, moments: Moments) -> Whitening:
        what = f"layer {layer}" if layer else "the backbone"
        require_varied_features(moments.mean, moments.covariance.diagonal(), moments.num_images, what)
        shrink = self.settings.quirks.shrinks_covariance
        mean, covariance = moments.mean.to(self.device), moments.covariance.to(self.device)
        try:
            return whitening_from_statistics(mean, covariance, moments.num_images, shrink=shrink)
        except ValueError as error:
            if moments.num_images > len(mean) and (repeats := repetitions(moments)) is not None:
                raise UserError(
                    f"reference: {moments.num_images} images repeat {repeats} pictures, and more than {len(mean)} are "
                    f"needed for {len(mean)} features"
                ) from error
            hint = "" if shrink else " (protocol=paper; protocol=clean shrinks the covariance)"
            raise UserError(f"{error}{hint}") from error
