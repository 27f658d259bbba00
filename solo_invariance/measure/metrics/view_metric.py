"""What the metrics over views of images have in common."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from solo_invariance.measure.functional.whitening import Whitening

Own = TypeVar("Own", bound="ViewMetric")
OwnGallery = TypeVar("OwnGallery", bound="GalleryMetric")
OwnProjection = TypeVar("OwnProjection", bound="ProjectionMetric")


class Gallery(NamedTuple):
    """Other images to compare with: whitened features (G, D) of clean images, and their ids (G,), int64 on the CPU.

    An id stands for one image of the data, so that an image is never compared with itself.
    """

    features: Tensor
    images: Tensor


class ViewMetric(Metric):
    """What views of images score against the clean images, averaged over images.

    The state has one row an image and nothing that mixes images, so that it can be written down in parts, merged in any
    order of processes, and resampled for an interval. Subclasses implement ``score``; where that gives several terms an
    image, such as the two sums of a ratio, ``value`` makes one number of their averages.

    Attributes:
        name_of_states: The states, each a list of tensors whose rows are images.
        per_parameter: Whether there is a number for each view; else ``per_image`` gives one an image, (N, 1, T).
        max_rows: How many rows of a sampling a measurement gives it, None for all: where the state has more than a few
            numbers an image, it must not grow with the images.
    """

    is_differentiable = False
    full_state_update = False
    name_of_states: tuple[str, ...] = ("rows",)
    per_parameter: bool = True
    max_rows: int | None = None
    rows: list[Tensor] | Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.name_of_states:
            self.add_state(name, [], dist_reduce_fx="cat")

    @staticmethod
    def applies(coordinates: Tensor) -> bool:
        """Return whether the metric says anything of a transform with these parameters, (K, C)."""
        return True

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return what each view scores, (N, K) or, with T terms, (N, K, T); arguments as ``update``."""
        raise NotImplementedError

    def update(
        self, clean: Tensor, views: Tensor, coordinates: Tensor | None = None, images: Tensor | None = None
    ) -> None:
        """Add images.

        Args:
            clean: Whitened features of the clean images, (N, D); a measurement gives float64, on its device.
            views: Whitened features of K views of each, (N, K, D).
            coordinates: The parameters of the views' transform, as numbers without a jump, (N, K, C).
            images: The images' ids, (N,), as the gallery has them.

        Raises:
            ValueError: The shapes do not fit, or the metric needs what was left out.
        """
        if clean.ndim != 2 or views.ndim != 3 or views.shape[::2] != clean.shape:
            raise ValueError(
                f"expected clean (N, D) and views (N, K, D), got {tuple(clean.shape)}, {tuple(views.shape)}"
            )
        assert isinstance(self.rows, list)
        scores = self.score(clean, views, coordinates, images)
        if scores.shape[:2] != views.shape[:2] or scores.ndim > 3:
            raise ValueError(f"score gave {tuple(scores.shape)}, expected (N, K) or (N, K, T) of {tuple(views.shape)}")
        self.rows.append(scores if scores.ndim == 3 else scores[..., None])

    def per_image(self) -> Tensor:
        """Return the terms (N, K, T) of the images seen so far; K is 1 where parameters have no number of their own."""
        return torch.cat(self.rows) if isinstance(self.rows, list) else self.rows

    @staticmethod
    def value(terms: Tensor) -> Tensor:
        """Return the metric, (...), of terms (..., T) that were averaged over images, or over images and parameters."""
        return terms[..., 0]

    def compute(self) -> Tensor:
        """Return the curve (K,) over the views' parameters; a number where there is one parameter."""
        return self.value(self.per_image().mean(dim=0))

    def clone(self: Own) -> Own:
        """Return a copy with the images that it has seen."""
        return deepcopy(self)

    def states(self) -> dict[str, Tensor]:
        """Return the states, each with one row an image; ``add_states`` takes them."""
        found = {name: getattr(self, name) for name in self.name_of_states}
        return {name: torch.cat(state) if isinstance(state, list) else state for name, state in found.items()}

    def add_states(self, states: Mapping[str, Tensor]) -> None:
        """Add the images of another metric of this kind, by its ``states``."""
        self._computed, self._update_count = None, self._update_count + 1  # as torchmetrics does for an update
        for name in self.name_of_states:
            getattr(self, name).append(states[name])


class GalleryMetric(ViewMetric):
    """A metric that compares views with other images, too.

    A measurement gives it the gallery once that is there: ``metric.with_gallery(gallery)``; a metric that is used by
    itself is made with one.

    Args:
        gallery: The images to compare with. Each image itself is left out of them, so ``update`` needs ``images``.
    """

    gallery_features: Tensor
    gallery_images: Tensor

    def __init__(self, gallery: Gallery | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        features, images = (None, None) if gallery is None else gallery
        self.register_buffer("gallery_features", features, persistent=False)
        self.register_buffer("gallery_images", images, persistent=False)

    def with_gallery(self: OwnGallery, gallery: Gallery) -> OwnGallery:
        """Return a copy that compares with these images."""
        other = self.clone()
        other.gallery_features, other.gallery_images = gallery
        return other

    def clone(self: OwnGallery) -> OwnGallery:
        """Return a copy, which shares the gallery: it is large, and nobody writes to it."""
        gallery = (self.gallery_features, self.gallery_images)
        return deepcopy(self, {id(tensor): tensor for tensor in gallery if tensor is not None})

    def update(
        self, clean: Tensor, views: Tensor, coordinates: Tensor | None = None, images: Tensor | None = None
    ) -> None:
        """Add images; arguments as ``ViewMetric.update``.

        Raises:
            ValueError: The shapes do not fit, or there is no gallery.
        """
        if self.gallery_features is None:
            raise ValueError(f"{type(self).__name__} compares with other images: expected a gallery, got none")
        super().update(clean, views, coordinates, images)


class Projections(NamedTuple):
    """Maps from features that ``whitening`` has whitened to whitened projections of them, (R, d, D)."""

    maps: Tensor
    whitening: Whitening


class ProjectionMetric(ViewMetric):
    """A metric of projected features.

    A measurement gives it the projections of a layer: ``metric.with_projections(projections)``; a metric that is used
    by itself is made with their maps. Its features still count every image of the reference, since what an image adds
    to mean and covariance is another thing in the projection: ``update`` is told which images to take out there.

    Args:
        projections: Maps from whitened features to whitened projections, (R, d, D).
    """

    projections: Tensor

    def __init__(self, projections: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_buffer("projections", projections, persistent=False)
        self.whitening: Whitening | None = None
        self.held_out: Tensor | None = None

    def with_projections(self: OwnProjection, projections: Projections) -> OwnProjection:
        """Return a copy that projects so."""
        other = self.clone()
        other.projections, other.whitening = projections
        return other

    def clone(self: OwnProjection) -> OwnProjection:
        """Return a copy, which shares the projections: they are large, and nobody writes to them."""
        shared = [*([] if self.projections is None else [self.projections]), *(self.whitening or ())]
        return deepcopy(self, {id(one): one for one in shared if isinstance(one, Tensor)})

    def update(
        self,
        clean: Tensor,
        views: Tensor,
        coordinates: Tensor | None = None,
        images: Tensor | None = None,
        held_out: Tensor | None = None,
    ) -> None:
        """Add images; arguments as ``ViewMetric.update``.

        Args:
            clean: (N, D)
            views: (N, K, D)
            coordinates: (N, K, C)
            images: (N,)
            held_out: Which images were part of the mean and covariance and are taken out of them, (N,), bool.

        Raises:
            ValueError: The shapes do not fit, or there are no projections.
        """
        if self.projections is None:
            raise ValueError(f"{type(self).__name__} projects features: expected projections, got none")
        self.held_out = held_out
        super().update(clean, views, coordinates, images)


def prototypes_of(metrics: Mapping[str, ViewMetric | type[ViewMetric]]) -> dict[str, ViewMetric]:
    """Return metrics, each configured and as yet without an image, of which others are made.

    Args:
        metrics: By name; a class stands for a metric of its defaults. They are left as they are.

    Raises:
        TypeError: One of them is no ``ViewMetric``; the message names it.
    """
    return {name: _prototype(name, metric) for name, metric in metrics.items()}


def _prototype(name: str, metric: ViewMetric | type[ViewMetric]) -> ViewMetric:
    if isinstance(metric, type) and issubclass(metric, ViewMetric):
        return metric()
    if not isinstance(metric, ViewMetric):
        raise TypeError(f"metrics: {name} is {metric!r}, expected a subclass of ViewMetric, or one that is configured")
    prototype = metric.clone()
    prototype.reset()
    return prototype


def prototypes_of_layers(
    metrics: Mapping[str, ViewMetric],
    layers: Iterable[str],
    galleries: Mapping[str, Gallery],
    projections: Mapping[str, Projections],
    device: torch.device,
) -> dict[str, dict[str, ViewMetric]]:
    """Return the metrics of each layer, with its gallery and its projections.

    Args:
        metrics: By name, without an image; they are left as they are.
        layers: Their names.
        galleries: By layer, where a metric needs them.
        projections: By layer.
        device: Where the metrics are to be.
    """

    def prepared(metric: ViewMetric, layer: str) -> ViewMetric:
        own = metric.with_gallery(galleries[layer]) if isinstance(metric, GalleryMetric) and galleries else metric
        own = own.with_projections(projections[layer]) if isinstance(own, ProjectionMetric) else own
        return own.clone().to(device)

    return {layer: {name: prepared(metric, layer) for name, metric in metrics.items()} for layer in layers}
