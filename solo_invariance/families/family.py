"""A family: an ordered list of operations that a backbone is trained to be invariant to."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from solo_invariance.families.canvas import Canvas, default_canvas_size, sizes_of
from solo_invariance.families.operations.appearance import PhotometricOperation
from solo_invariance.families.operations.operation import Operation, Parameters
from solo_invariance.families.operations.resampling import resample
from solo_invariance.families.operations.spatial import CentreCrop, Framing, GeometricOperation, centre_squares


@dataclass(frozen=True)
class Family:
    """An augmentation family as data, with its two functions: draw parameters, apply parameters.

    Views are square, images of any shape: what cuts the one out of the other is the first ``ResizedCrop`` or
    ``CentreCrop``, unless an operation that turns or bends the image comes before it. Where there is none, the image's
    centre square is cut out first.

    Args:
        name: What configurations call it.
        operations: In the order of application. The geometric ones are composed to one sampling that is done first; the
            photometric ones follow in their order, at the resolution of the view. A length in pixels means pixels of
            the image in what comes before the crop, and pixels of the view in what comes after it.
        invariant_to: A few words on what a backbone trained with it becomes invariant to.

    Example:
        >>> import torch
        >>> from solo_invariance.families import Family, HorizontalFlip
        >>> mirror = Family("mirror", (HorizontalFlip(p=1.0),), "left and right")
        >>> images = torch.rand(2, 3, 8, 8)
        >>> parameters = mirror.draw(2, torch.Generator().manual_seed(0))
        >>> torch.allclose(mirror.apply(images, parameters, crop_size=8), images.flip(-1), atol=1e-6)
        True
    """

    name: str
    operations: tuple[Operation, ...]
    invariant_to: str = ""

    def __post_init__(self) -> None:
        for operation in self.operations:
            if not dataclasses.is_dataclass(operation):
                raise TypeError(f"{type(operation).__name__} is no dataclass: an operation's numbers are its fields")

    @property
    def names(self) -> tuple[str, ...]:
        """What each operation is called; one that is there again has a number: ``color_jitter``, ``color_jitter_2``."""
        names = [operation.name for operation in self.operations]
        again = [names[:index].count(name) + 1 for index, name in enumerate(names)]
        return tuple(name if count == 1 else f"{name}_{count}" for name, count in zip(names, again, strict=True))

    def draw(self, n: int, generator: torch.Generator, sizes: Tensor | None = None) -> list[Parameters]:
        """Draw the parameters for a batch.

        Args:
            n: Number of images.
            generator: A CPU generator; the global random state is neither read nor changed.
            sizes: Heights and widths (N, 2) of the images, on the CPU; all square by default.

        Returns:
            One mapping of CPU tensors an operation. Applied again, they give the same views again.
        """
        crop = self._crop()
        return [
            operation.draw(n, generator, sizes)
            if index == crop and isinstance(operation, Framing)
            else operation.draw(n, generator)
            for index, operation in enumerate(self.operations)
        ]

    @torch.no_grad()
    def apply(
        self, images: Tensor, parameters: Sequence[Parameters], crop_size: int, sizes: Tensor | None = None
    ) -> Tensor:
        """Make one view an image.

        Args:
            images: (N, 3, C, C), uint8 or floating point in [0, 1], on any device: stretched to a square, where they
                are none.
            parameters: What ``draw(N, ..., sizes)`` returned.
            crop_size: Side of the views, in pixels.
            sizes: Heights and widths (N, 2) of the images, in pixels, before they were stretched to the square, on the
                CPU; (C, C) by default.

        Returns:
            (N, 3, crop_size, crop_size) in [0, 1] on the images' device; in their type, float32 for uint8. It is
            computed in float32, also under autocast: half precision would move pixels and round colours.

        Raises:
            ValueError: The images' shape or type, the number of parameters or the crop size is wrong.
        """
        self._check(images, parameters, crop_size)
        sizes = torch.tensor(images.shape[-2:]).expand(len(images), 2) if sizes is None else sizes
        if sizes.shape != (len(images), 2):
            raise ValueError(f"sizes {tuple(sizes.shape)}: expected a height and a width for {len(images)} images")
        dtype = torch.float32 if images.dtype == torch.uint8 else images.dtype
        with _without_autocast(images.device):
            views = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
            views = self._sample(views, parameters, crop_size, sizes)
            crop = self._crop() or 0
            for index, (operation, drawn) in enumerate(zip(self.operations, parameters, strict=True)):
                if isinstance(operation, PhotometricOperation):
                    if index < crop:
                        # The view's pixels for one of the image, across and down.
                        scale = crop_size / (parameters[crop]["box"][:, 2:] * sizes.flip(1))
                        drawn = operation.resized(drawn, scale)
                    views = operation.apply(views, drawn)
        return (views.clone() if views is images else views).to(dtype)

    def transform(self, crop_size: int = 224, canvas_size: int | None = None, whole: bool = True) -> "FamilyTransform":
        """Return the family as a transform of one image, as torchvision's and others' pipelines have them.

        Args:
            crop_size: Side of the views, in pixels.
            canvas_size: Side of the canvas that an image is resized to first, in pixels; by default the crop's up to 96
                and 8/7 of it above, as in training.
            whole: The canvas shows the whole image, stretched to a square; otherwise its centre square.

        Example:
            >>> import torch
            >>> from PIL import Image
            >>> from solo_invariance.families import ventral
            >>> photograph = Image.new("RGB", (640, 480), "red")
            >>> make_view = ventral.transform(crop_size=224)
            >>> _ = torch.manual_seed(0)
            >>> first, second = make_view(photograph), make_view(photograph)
            >>> first.shape, first.dtype
            (torch.Size([3, 224, 224]), torch.float32)
        """
        size = default_canvas_size(crop_size) if canvas_size is None else canvas_size
        return FamilyTransform(self, crop_size, Canvas(size, sharp=size > crop_size, whole=whole))

    def _check(self, images: Tensor, parameters: Sequence[Parameters], crop_size: int) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or 0 in images.shape:
            raise ValueError(f"images {tuple(images.shape)}: expected square ones, (N, 3, C, C)")
        if images.dtype != torch.uint8 and not images.dtype.is_floating_point:
            raise ValueError(f"images of {images.dtype}: expected uint8, or floating point in [0, 1]")
        if len(parameters) != len(self.operations):
            raise ValueError(f"{len(parameters)} parameters for {len(self.operations)} operations of {self.name}")
        if any(len(value) != len(images) for drawn in parameters for value in drawn.values()):
            raise ValueError(f"the parameters were not drawn for {len(images)} images")
        if not isinstance(crop_size, int) or crop_size < 1:
            raise ValueError(f"crop_size={crop_size}: expected a positive whole number")

    def _crop(self) -> int | None:
        """The place of the operation that cuts the view out of the image; None where its centre square is cut first."""
        for index, operation in enumerate(self.operations):
            if isinstance(operation, Framing):
                return index
            if isinstance(operation, GeometricOperation) and not operation.axis_aligned:
                return None
        return None

    def _sample(self, images: Tensor, parameters: Sequence[Parameters], crop_size: int, sizes: Tensor) -> Tensor:
        moves = [(o, p) for o, p in zip(self.operations, parameters, strict=True) if isinstance(o, GeometricOperation)]
        if self._crop() is None:
            moves.insert(0, (CentreCrop(), {"box": centre_squares(sizes)}))
        steps = [operation.step(drawn) for operation, drawn in moves]
        if images.shape[-2:] == (crop_size, crop_size) and all(map(_is_identity, steps)):
            return images
        return resample(images, steps, crop_size, axis_aligned=all(operation.axis_aligned for operation, _ in moves))

    def describe(self) -> dict[str, Any]:
        """Return the family as plain data, from which ``build_family`` builds it again."""
        return {
            "name": self.name,
            "invariant_to": self.invariant_to,
            "operations": [{operation.name: operation.numbers} for operation in self.operations],
        }

    def summary(self) -> str:
        """Return the operations and their numbers, with units, in one line for a reader.

        Example:
            >>> from solo_invariance.families import ventral
            >>> ventral.summary()
            'resized_crop scale 0.2 to 1, ratio 0.75 to 1.33; horizontal_flip p 0.5'
        """
        return "; ".join(map(_in_words, self.operations)) or "nothing"

    def fingerprint(self) -> str:
        """Return a short hash of what the family does; two families that draw the same views share it."""
        content = json.dumps(_canonical(self.describe()["operations"]), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FamilyTransform:
    """A family as a transform of one image: its view, drawn anew at each call.

    For pipelines of other programs: ``torchvision.datasets.ImageFolder(root, transform)``, lightly's or DINO's lists of
    views. It computes on the CPU, image by image; on an accelerator, ``Family.apply`` makes the views of a batch.

    What is drawn follows from torch's global random state, as torchvision's transforms do: ``torch.manual_seed``
    repeats it, and each worker of a ``DataLoader`` has a seed of its own.

    Args:
        family: Draws and applies the augmentation.
        crop_size: Side of the views, in pixels.
        canvas: What an image is resized to first.
    """

    family: Family
    crop_size: int
    canvas: Canvas

    def __call__(self, image: Image.Image | Tensor) -> Tensor:
        """Return a view, float32 (3, crop_size, crop_size) in [0, 1], not normalised.

        Args:
            image: A PIL image of any size and mode, or a tensor (3, H, W), uint8.

        Raises:
            UserError: The picture is broken.
            ValueError: It is a tensor of another shape or type.
        """
        if isinstance(image, Tensor) and (image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3):
            raise ValueError(f"image {tuple(image.shape)} of {image.dtype}: expected (3, H, W), uint8")
        pixels, extent = self.canvas(image)
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        sizes = sizes_of([extent])
        parameters = self.family.draw(1, generator, sizes)
        return self.family.apply(pixels[None], parameters, self.crop_size, sizes)[0]


def _in_words(operation: Operation) -> str:
    numbers = ", ".join(
        f"{name} {_amount(value)}{_short_unit(operation.units.get(name, ''))}"
        for name, value in operation.numbers.items()
    )
    return f"{operation.name} {numbers}".strip()


def _amount(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(dict.fromkeys(map(_amount, value)))  # one number where a range has one
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short_unit(unit: str) -> str:
    return f" {unit}" if unit in ("degrees", "pixels", "turns", "stops", "K") else ""


def _canonical(value: Any) -> Any:
    """The same data with every number as a float: 2 and 2.0 draw the same."""
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_identity(step: Tensor) -> bool:
    return step.ndim == 3 and bool((step == torch.eye(3)).all())


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    available = torch.amp.autocast_mode.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
