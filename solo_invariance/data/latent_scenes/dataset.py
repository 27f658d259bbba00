"""LatentScenes: an embedded dataset of rendered shapes whose ten latents are known, after Causal3DIdent.

Zimmermann et al., "Contrastive Learning Inverts the Data Generating Process" (ICML 2021), and von Kügelgen et al.,
"Self-Supervised Learning with Data Augmentations Provably Isolates Content from Style" (NeurIPS 2021), made the
originals with a path tracer; these scenes have the same factors and are rendered in torch when they are needed. For a
contact sheet: `python -m solo_invariance.data.latent_scenes SHEET.png`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset

from solo_invariance.data.latent_scenes.meshes import SHAPES
from solo_invariance.data.latent_scenes.renderer import Scenes, render_scenes

MIN_SIZE = 16


@dataclass(frozen=True)
class Latent:
    """One factor of a scene, uniform in `[low, high]`.

    A circular quantity (unit "radians" or "turns") keeps to an arc: its ends do not meet, so that it can be regressed.
    """

    name: str
    low: float
    high: float
    unit: str


LATENTS: tuple[Latent, ...] = (
    Latent("position_x", -0.35, 0.35, "scene units to the right; the shape fits in a sphere of radius 1"),
    Latent("position_y", -0.35, 0.35, "scene units away from the camera"),
    Latent("position_z", 1.05, 1.55, "scene units from the floor up to the shape's centre"),
    Latent("rotation_phi", -pi / 3, pi / 3, "radians about z, upwards; applied last; all three are right-handed"),
    Latent("rotation_theta", -pi / 4, pi / 4, "radians about y, away from the camera; applied second"),
    Latent("rotation_psi", -pi / 4, pi / 4, "radians about x, to the right; applied first"),
    Latent("spotlight_angle", -pi / 2, pi / 2, "radians of azimuth; 0 is the camera's side, positive is to the right"),
    Latent("object_hue", 0.0, 0.75, "turns of the colour circle; 0 is red, 1/3 green, 2/3 blue"),
    Latent("spotlight_hue", 0.0, 0.75, "turns of the colour circle"),
    Latent("background_hue", 0.0, 0.75, "turns of the colour circle"),
)
_LOW = torch.tensor([latent.low for latent in LATENTS])
_HIGH = torch.tensor([latent.high for latent in LATENTS])

_VARYING = {
    "pose": ("rotation_phi", "rotation_theta", "rotation_psi"),
    "light_direction": ("spotlight_angle",),
    "light_hue": ("spotlight_hue",),
}
VIEW_SETS: tuple[str, ...] = tuple(_VARYING)


def sample_latents(indices: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Draw class and latents, all independent and uniform, from (seed, index) alone.

    Args:
        indices: `(N,)` integers, one per image.
        seed: any integer.

    Returns:
        Classes `(N,)` int64, indices into `SHAPES`, and latents `(N, 10)` float32 in the order, units and ranges of
        `LATENTS`; both on the device of `indices`.
    """
    draws = _uniform(indices, seed, 0, 1 + len(LATENTS))
    return (draws[:, 0] * len(SHAPES)).long(), _in_range(draws[:, 1:], list(range(len(LATENTS))))


def render(classes: Tensor, latents: Tensor, size: int = 64) -> Tensor:
    """Render scenes.

    Args:
        classes: `(N,)` integers, indices into `SHAPES`.
        latents: `(N, 10)`, as `LATENTS` says; within those ranges the shape stays in the frame.
        size: side of the images in pixels, at least 16.

    Returns:
        uint8 RGB images `(N, 3, size, size)` on the device of `latents`.

    Raises:
        ValueError: for a wrong shape or size, a class that is none, or a latent that is not finite.
    """
    _check_size(size)
    _check_scenes(classes, latents)
    if not len(latents):
        return torch.empty(0, 3, size, size, dtype=torch.uint8, device=latents.device)
    columns = latents.detach().float().T
    scenes = Scenes(classes.to(latents.device).long(), columns[:3], columns[3:6], *columns[6:])
    with torch.no_grad():
        return render_scenes(scenes, size)


class LatentScenes(Dataset[tuple[Any, int]]):
    """Images `start` to `start + num_images - 1` of a seed; each is the same in every dataset that holds it.

    The images are rendered once, on first access, and kept as uint8 (12 kB each at 64 pixels). Loader workers that are
    started before that each render all of them: ask for `images` first.

    Args:
        num_images: how many.
        size: side in pixels, at least 16.
        seed: any integer.
        transform: applied to an image, uint8 `(3, size, size)`; without it `dataset[i]` gives that tensor.
        start: first index; ranges that do not overlap make disjoint splits.
        shape: one of `SHAPES` that all images show, their latents unchanged; by default each shows its own.

    Attributes:
        classes: the names of the classes, `SHAPES`.
        targets: `(N,)` int64.
        latents: `(N, 10)` float32, see `LATENTS`.

    Raises:
        ValueError: for a number, size or start that is too small, or an unknown shape.
    """

    def __init__(
        self,
        num_images: int,
        size: int = 64,
        seed: int = 0,
        transform: Callable[[Tensor], Any] | None = None,
        start: int = 0,
        shape: str | None = None,
    ) -> None:
        _check_at_least("num_images", num_images, 1)
        _check_at_least("start", start, 0)
        _check_size(size)
        self.size = size
        self.transform = transform
        self.classes = list(SHAPES)
        self.targets, self.latents = sample_latents(torch.arange(start, start + num_images), seed)
        if shape is not None:
            if shape not in SHAPES:
                raise ValueError(f"shape is {shape!r}; the shapes are {', '.join(SHAPES)}")
            self.targets.fill_(SHAPES.index(shape))
        self._images: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """All images, uint8 `(N, 3, size, size)`, without the transform."""
        if self._images is None:
            self._images = render(self.targets, self.latents, self.size)
        return self._images

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.images[index]
        return (image if self.transform is None else self.transform(image)), int(self.targets[index])


def view_group_latents(name: str, num_groups: int, num_views: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw groups of scenes that differ in nothing but what the view set varies.

    Group g shows scene g of the seed; its view v is the same whatever the numbers of groups and views.

    Args:
        name: one of `VIEW_SETS`: "pose" varies the three rotation angles, "light_direction" the spotlight's angle,
            "light_hue" the spotlight's hue.
        num_groups: G, at least 1.
        num_views: V, at least 1.
        seed: any integer.

    Returns:
        Classes `(G, V)` int64 and latents `(G, V, 10)` float32.

    Raises:
        ValueError: for an unknown name or a number that is too small.
    """
    if name not in _VARYING:
        raise ValueError(f"name is {name!r}; the view sets are {', '.join(VIEW_SETS)}")
    _check_at_least("num_groups", num_groups, 1)
    _check_at_least("num_views", num_views, 1)
    groups = torch.arange(num_groups)
    classes, latents = (held[:, None].repeat_interleave(num_views, 1) for held in sample_latents(groups, seed))
    varying = [i for i, latent in enumerate(LATENTS) if latent.name in _VARYING[name]]
    draws = _uniform(groups, seed, 1 + len(LATENTS), num_views * len(varying))
    latents[..., varying] = _in_range(draws.view(num_groups, num_views, -1), varying)
    return classes, latents


def view_groups(name: str, num_groups: int, num_views: int, size: int = 64, seed: int = 0) -> Tensor:
    """Render the scenes of `view_group_latents`: uint8 `(G, V, 3, size, size)`."""
    classes, latents = view_group_latents(name, num_groups, num_views, seed)
    return render(classes.flatten(), latents.flatten(0, 1), size).view(num_groups, num_views, 3, size, size)


def contact_sheet(size: int = 64, columns: int = 6, seed: int = 0) -> Image.Image:
    """Draw a labelled sheet: on the left the shapes and view sets, on the right each latent from low to high."""
    shapes = {name: _examples(label, columns, size, seed) for label, name in enumerate(SHAPES)}
    views = {f"view set\n{name}": view_groups(name, 8, columns, size, seed)[7] for name in VIEW_SETS}
    sweeps = {latent.name: _sweep(i, columns, size) for i, latent in enumerate(LATENTS)}
    panels = [_panel(rows) for rows in (shapes | views, sweeps)]
    sheet = Image.new("RGB", (sum(p.width for p in panels), max(p.height for p in panels)), "white")
    for panel, left in zip(panels, (0, panels[0].width), strict=True):
        sheet.paste(panel, (left, 0))
    return sheet


def _examples(label: int, count: int, size: int, seed: int) -> Tensor:
    _, latents = sample_latents(torch.arange(count) + count * label, seed)
    return render(torch.full((count,), label), latents, size)


def _sweep(latent: int, count: int, size: int) -> Tensor:
    latents = ((_LOW + _HIGH) / 2).repeat(count, 1)
    latents[:, 3:] = torch.tensor([-0.5, 0.1, 0.1, 0.7, 0.05, 0.15, 0.55])  # three-quarter view, colours apart
    latents[:, latent] = torch.linspace(LATENTS[latent].low, LATENTS[latent].high, count)
    return render(torch.full((count,), latent % len(SHAPES)), latents, size)


def _panel(rows: dict[str, Tensor], label_width: int = 100, gap: int = 2) -> Image.Image:
    """Rows of images `(V, 3, size, size)`, each after its label."""
    columns, _, size, _ = next(iter(rows.values())).shape
    panel = Image.new("RGB", (label_width + columns * (size + gap), len(rows) * (size + gap)), "white")
    draw = ImageDraw.Draw(panel)
    for row, (label, images) in enumerate(rows.items()):
        draw.text((8, row * (size + gap) + size // 2), label, "black", anchor="lm")
        for column, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy()):
            panel.paste(Image.fromarray(image), (label_width + column * (size + gap), row * (size + gap)))
    return panel


def _uniform(indices: Tensor, seed: int, first: int, count: int) -> Tensor:
    """Draws `first` to `first + count - 1`, `(N, count)` float32 in [0, 1), of the random stream of (seed, index).

    A counter-based generator: the finaliser of SplitMix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014) applied to the seed, then the index, then the number of the draw.
    """
    numbers = np.arange(first, first + count).astype(np.uint64)
    stream = _mix(np.array([seed % 2**64], dtype=np.uint64))
    stream = _mix(stream + indices.cpu().numpy().astype(np.uint64))
    bits = _mix(stream[:, None] + numbers) >> np.uint64(40)
    return torch.from_numpy(bits.astype(np.float32) * np.float32(2**-24)).to(indices.device)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _in_range(draws: Tensor, latents: list[int]) -> Tensor:
    return torch.lerp(_LOW[latents].to(draws.device), _HIGH[latents].to(draws.device), draws)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; at least {least} is needed")


def _check_size(size: int) -> None:
    _check_at_least("size", size, MIN_SIZE)


def _check_scenes(classes: Tensor, latents: Tensor) -> None:
    if latents.ndim != 2 or latents.shape[1] != len(LATENTS):
        raise ValueError(f"latents have the shape {tuple(latents.shape)}; (N, {len(LATENTS)}) is needed")
    if classes.shape != latents.shape[:1]:
        raise ValueError(
            f"classes have the shape {tuple(classes.shape)}; ({len(latents)},), one per row of latents, is needed"
        )
    wrong = (classes < 0) | (classes >= len(SHAPES))
    if wrong.any():
        raise ValueError(f"classes holds {int(classes[wrong][0])}; 0 to {len(SHAPES) - 1} are allowed")
    unknown = ~latents.isfinite().all(1)
    if unknown.any():
        raise ValueError(f"latents of image {int(unknown.nonzero()[0])} are not finite: {latents[unknown][0].tolist()}")
