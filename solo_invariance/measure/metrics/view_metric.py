"""What the metrics over views of images have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


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
        needs_gallery: Whether ``__init__`` takes ``gallery``, the images to compare with.
        per_parameter: Whether there is a number for each view; else ``per_image`` gives one an image, (N, 1, T).
        max_rows: How many rows of a design a measurement gives it, None for all: where the state has more than a few
            numbers an image, it must not grow with the images.
    """

    is_differentiable = False
    full_state_update = False
    name_of_states: ClassVar[tuple[str, ...]] = ("rows",)
    needs_gallery: ClassVar[bool] = False
    per_parameter: ClassVar[bool] = True
    max_rows: ClassVar[int | None] = None
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

    def states(self) -> dict[str, Tensor]:
        """Return the states, each with one row an image; ``add_states`` takes them."""
        found = {name: getattr(self, name) for name in self.name_of_states}
        return {name: torch.cat(state) if isinstance(state, list) else state for name, state in found.items()}

    def add_states(self, states: Mapping[str, Tensor]) -> None:
        """Add the images of another metric of this kind, by its ``states``."""
        self._computed, self._update_count = None, self._update_count + 1  # as torchmetrics does for an update
        for name in self.name_of_states:
            getattr(self, name).append(states[name])
