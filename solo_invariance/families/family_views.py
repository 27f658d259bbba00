"""The views of a batch as a module, for any training loop."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.config.backbone import INPUT_CHECKS
from solo_invariance.errors import UserError
from solo_invariance.families.canvas import Canvas, CanvasImage, default_canvas_size, sizes_of
from solo_invariance.families.crops import CropEntry, CropPipeline
from solo_invariance.families.family import Family
from solo_invariance.families.named import family_named
from solo_invariance.families.operations.operation import Parameters
from solo_invariance.known_datasets import IMAGENET

# Beyond [0, 1], as filters that sharpen have it.
_OVERSHOOT = 0.25

Batch = Tensor | CanvasImage | Sequence[Any]
"""Images (N, 3, C, C), or a batch of ``CanvasImage``, which has their extents beside them."""


class FamilyViews(nn.Module):
    """Make the views of a batch that a self-supervised method trains on, where the batch is.

    Data workers decode and resize an image to a square canvas, once (``views.canvas`` is a dataset's transform); this
    makes the views of a whole batch of canvases, on the accelerator where they are. Call it in
    ``on_after_batch_transfer`` or ``training_step`` of a Lightning module, or in a loop of your own.

    Views are drawn on the CPU by a generator of their own, which depends on the seed, the process and the number of
    batches so far, and on nothing else: the global random state is neither read nor changed, no two processes draw the
    same, and a run that is resumed with the ``state_dict`` draws what an uninterrupted one draws. Compiled code calls
    it as it is: what is drawn anew in every batch is not compiled.

    Args:
        family: A family or its name; or a list of ``CropEntry``, for several families or sizes (multi-crop).
        crop_size: Side of the views, in pixels.
        num_views: How many views an image.
        mean: Channel means that views are normalised with, in [0, 1] units; ImageNet's by default, None for none.
        std: Channel standard deviations that they are divided by; ImageNet's by default, None for none.
        seed: Of what is drawn.

    Attributes:
        pipeline: What draws and applies.
        canvas: What the views are made from: a transform for datasets, which shows the whole image.

    Raises:
        UserError: An argument is not what it should be; the message names it.

    Example:
        >>> import torch
        >>> views = FamilyViews("ventral", crop_size=32, num_views=2)
        >>> images = torch.randint(0, 256, (8, 3, 40, 40), dtype=torch.uint8)
        >>> [tuple(view.shape) for view in views(images)]
        [(8, 3, 32, 32), (8, 3, 32, 32)]

        Two large views and four small ones, of different families, and the same views again:

        >>> from solo_invariance.families import CropEntry, default, ventral
        >>> views = FamilyViews([CropEntry(default, 32, 2), CropEntry(ventral, 16, 4)])
        >>> parameters = views.draw(8)
        >>> first, again = views.apply(images, parameters), views.apply(images, parameters)
        >>> len(first), all(map(torch.equal, first, again))
        (6, True)
    """

    def __init__(
        self,
        family: str | Family | Sequence[CropEntry],
        crop_size: int = 224,
        num_views: int = 2,
        *,
        mean: Sequence[float] | None = IMAGENET[0],
        std: Sequence[float] | None = IMAGENET[1],
        seed: int = 0,
    ) -> None:
        super().__init__()
        entries = _entries(family, crop_size, num_views)
        self.pipeline = CropPipeline(entries, _statistic("mean", mean, 0.0), _statistic("std", std, 1.0))
        largest = max(entry.crop_size for entry in entries)
        size = default_canvas_size(largest)
        self.canvas = Canvas(size, sharp=size > largest)
        self.seed = _whole("seed", seed, 0)
        self._step = 0
        self._has_looked = False

    @torch.compiler.disable
    def forward(self, images: Batch, sizes: Tensor | None = None) -> list[Tensor]:
        """Draw anew and return the views of a batch, in the order of the entries.

        Args:
            images: uint8 (N, 3, C, C), or floating point in [0, 1], on any device; or what a ``DataLoader`` makes of
                the canvases of a dataset, with their extents.
            sizes: Heights and widths (N, 2) in pixels of what the canvases show, on the CPU; those of the extents, or
                else square, by default.

        Returns:
            Tensors (N, 3, S, S), normalised, on the images' device, in their floating-point type; of bytes, in torch's
            default one.

        Raises:
            UserError: The images, or their sizes, are no such ones; or this is a data worker.
        """
        pixels, sizes = self._taken(images, sizes)
        return self._made(pixels, self.draw(len(pixels), sizes), sizes)

    @torch.compiler.disable
    def draw(self, n: int, sizes: Tensor | None = None) -> list[list[Parameters]]:
        """Draw the parameters of the views of the next batch, and count it.

        Args:
            n: Number of images.
            sizes: Heights and widths (N, 2) of the images, in pixels, on the CPU; all square by default.

        Returns:
            For each view what its family draws, on the CPU.

        Raises:
            UserError: The sizes are none of N images; or this is a data worker, each of which would draw the same.
        """
        if torch.utils.data.get_worker_info() is not None:
            raise UserError("FamilyViews: makes views of batches, not in data workers, which would all draw the same")
        with _refusing():
            parameters = self.pipeline.draw(n, self._name_of_batch(), sizes)
        self._step += 1
        return parameters

    @torch.compiler.disable
    def apply(self, images: Any, parameters: Any = None, sizes: Tensor | None = None) -> Any:
        """Return the views of a batch that were drawn before; the same for the same parameters.

        Args:
            images: uint8 (N, 3, C, C), or floating point in [0, 1]; or collated canvases with their extents. A module
                has an ``apply`` of a function to all modules, too, which initialises weights for instance; a function
                alone is given to that.
            parameters: What ``draw(N, sizes)`` returned.
            sizes: Heights and widths (N, 2) in pixels that the parameters were drawn for, on the CPU; those of the
                extents, or else square, by default.

        Returns:
            Tensors (N, 3, S, S), normalised, on the images' device.

        Raises:
            UserError: The images are no such ones, or the parameters were not drawn for them.
        """
        if parameters is None and callable(images):
            return super().apply(images)
        pixels, sizes = self._taken(images, sizes)
        return self._made(pixels, parameters, sizes)

    def _made(self, pixels: Tensor, parameters: Any, sizes: Tensor | None) -> list[Tensor]:
        kind = pixels.dtype if pixels.is_floating_point() else torch.get_default_dtype()
        with _refusing():
            return [view.to(kind) for view in self.pipeline.apply(pixels, parameters, sizes=sizes)]

    def extra_repr(self) -> str:
        """Return the families and their numbers."""
        return self.pipeline.summary()

    def get_extra_state(self) -> Tensor:
        """Return the number of batches so far, for the ``state_dict``."""
        return torch.tensor(self._step)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on after a number of batches."""
        self._step = int(state)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        # A checkpoint from before there were views begins them; it lacks no weights.
        if f"{prefix}_extra_state" in state_dict:
            super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _name_of_batch(self) -> tuple[int, int, int]:
        return (self.seed, _rank(), self._step)

    def _taken(self, images: Batch, sizes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the pixels of a batch, and what its canvases show, if that is known."""
        if not isinstance(images, Tensor):
            if not isinstance(images, Sequence) or len(images) != 2 or not isinstance(images[0], Tensor):
                raise UserError(f"FamilyViews: a {type(images).__name__}, expected images (N, 3, C, C) or canvases")
            images, extents = images
            sizes = sizes_of(extents) if len(extents) else None
        if not len(images):
            raise UserError("FamilyViews: a batch of no images")
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise UserError(
                f"FamilyViews: images {tuple(images.shape)}, expected canvases, which are square, (N, 3, C, C): the "
                f"dataset's transform is views.canvas"
            )
        self._require_range(images)
        return images, sizes

    def _require_range(self, images: Tensor) -> None:
        if images.dtype == torch.uint8 or not images.numel():
            return
        if not images.is_floating_point():
            raise UserError(f"FamilyViews: images of {images.dtype}, expected uint8, or floating point in [0, 1]")
        if images.device.type == "cpu" or not self._has_looked:  # which is a wait for a device
            least, most = map(float, images.detach().aminmax())
            if not -_OVERSHOOT <= least <= most <= 1 + _OVERSHOOT:
                raise UserError(
                    f"FamilyViews: images with values from {least:.3g} to {most:.3g}, expected [0, 1], not normalised: "
                    f"that is done with the views"
                )
            self._has_looked = True


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UserError(f"FamilyViews: {error}") from error


def _entries(family: Any, crop_size: Any, num_views: Any) -> tuple[CropEntry, ...]:
    if isinstance(family, str | Family):
        family = [CropEntry(family, crop_size, num_views)]  # type: ignore[arg-type]
    if not isinstance(family, Sequence) or not family or not all(isinstance(entry, CropEntry) for entry in family):
        raise UserError(f"FamilyViews: family={family!r}: expected a family, its name, or a list of CropEntry")
    return tuple(map(_checked, family))


def _checked(entry: CropEntry) -> CropEntry:
    family = family_named(entry.family) if isinstance(entry.family, str) else entry.family
    if not isinstance(family, Family):
        raise UserError(f"FamilyViews: family={family!r}: expected a family or its name")
    return CropEntry(family, _whole("crop_size", entry.crop_size, 1), _whole("num_views", entry.num_crops, 1))


def _whole(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"FamilyViews: {name}={value}: expected a whole number of at least {least}")
    return value


def _statistic(name: str, value: Sequence[float] | None, none: float) -> tuple[float, ...]:
    if value is None:
        return (none,) * 3
    numbers = list(value) if isinstance(value, Sequence) else value
    if (expected := INPUT_CHECKS[name](numbers)) is not None:
        raise UserError(f"FamilyViews: {name}={value}: expected {expected}")
    if not 0 <= min(value) <= max(value) <= 1:
        raise UserError(f"FamilyViews: {name}={value}: expected numbers in [0, 1]; divide by 255, perhaps")
    return tuple(map(float, value))


def _rank() -> int:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if distributed else 0
