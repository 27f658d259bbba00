"""Downstream tasks: images with targets, split into training and test."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource, TensorImages
from solo_invariance.data.latent_scenes import LATENTS, LatentScenes
from solo_invariance.errors import UserError

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Split:
    """Images with their targets.

    Args:
        images: N images.
        targets: (N,) int64 classes, or (N, T) float targets.
    """

    images: ImageSource
    targets: Tensor


@dataclass(frozen=True)
class TaskSettings:
    """Where a task finds its images and how many it takes.

    Args:
        path: A folder, for a task that is read from one.
        num_train: Images to train on, for an embedded task.
        num_test: Images to test on, likewise.
        size: Side of the images in pixels, likewise.
        seed: Of the images, likewise.
    """

    path: str | None = None
    num_train: int = 2000
    num_test: int = 1000
    size: int = 64
    seed: int = 2


class Task(ABC):
    """A downstream task; subclasses are frozen dataclasses.

    Attributes:
        kind: Whether the targets are classes or numbers.
        metric: The name of the score.
    """

    kind: Kind
    metric: str

    @abstractmethod
    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the training and the test split."""


def _scenes(settings: TaskSettings) -> tuple[LatentScenes, LatentScenes]:
    if settings.path is not None:
        raise UserError(f"task.path={settings.path}: the embedded tasks are rendered and read no folder")
    train = LatentScenes(settings.num_train, size=settings.size, seed=settings.seed)
    test = LatentScenes(settings.num_test, size=settings.size, seed=settings.seed, start=settings.num_train)
    return train, test


def _images(scenes: LatentScenes) -> TensorImages:
    return TensorImages(scenes.images, name="latent_scenes image")


@dataclass(frozen=True)
class SceneShape(Task):
    """Which shape is it? The embedded dataset's classes."""

    kind = "classification"
    metric = "accuracy"

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits, disjoint images of one seed."""
        train, test = _scenes(settings)
        return Split(_images(train), train.targets), Split(_images(test), test.targets)


@dataclass(frozen=True)
class SceneLatents(Task):
    """Read latents of the embedded dataset off the image.

    Args:
        latents: Their names.
        circular: They are hues in turns: the targets are the cosine and the sine of each.
    """

    latents: tuple[str, ...]
    circular: bool = False
    kind = "regression"
    metric = "r2"

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits, disjoint images of one seed."""
        train, test = _scenes(settings)
        return Split(_images(train), self._targets(train.latents)), Split(_images(test), self._targets(test.latents))

    def _targets(self, latents: Tensor) -> Tensor:
        columns = [index for index, latent in enumerate(LATENTS) if latent.name in self.latents]
        values = latents[:, columns]
        if not self.circular:
            return values
        angles = values * (2 * math.pi)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


shape = SceneShape()
hue = SceneLatents(("object_hue",), circular=True)
position = SceneLatents(("position_x", "position_y", "position_z"))
rotation = SceneLatents(("rotation_phi", "rotation_theta", "rotation_psi"))
