"""Tasks on the embedded dataset, of rendered scenes."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from solo_invariance.data.images import TensorImages
from solo_invariance.data.latent_scenes.dataset import LATENTS, LatentScenes
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks.requirements import check_options
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_NUM_TRAIN, _NUM_TEST = 2000, 1000


def _splits(
    settings: TaskSettings, usual: tuple[int, int], shape: str | None = None
) -> tuple[LatentScenes, LatentScenes]:
    """Return the scenes to train and to test on: the first of the seed, and those that come next.

    Args:
        settings: How many, of which size and seed.
        usual: How many there are of both where the settings do not say it.
        shape: That all show; None for each its own.
    """
    check_options(settings)
    if settings.path is not None:
        raise UserError(f"task.path={settings.path}: the embedded tasks are rendered and read no folder")
    num_train = settings.limited(settings.num_train or usual[0])
    num_test = settings.limited(settings.num_test or usual[1])
    train = _rendered(num_train, settings.size, settings.seed, 0, shape)
    return train, _rendered(num_test, settings.size, settings.seed, num_train, shape)


@lru_cache(maxsize=2)  # the splits of several tasks on the same images
def _rendered(count: int, size: int, seed: int, start: int, shape: str | None) -> LatentScenes:
    return LatentScenes(count, size=size, seed=seed, start=start, shape=shape)


def _images(scenes: LatentScenes) -> TensorImages:
    return TensorImages(scenes.images, name="latent_scenes image")


@dataclass(frozen=True)
class SceneShape(Task):
    """Which shape is it? The embedded dataset's classes.

    Args:
        num_train: Images to train on, where the settings do not say it.
    """

    num_train: int = _NUM_TRAIN
    kind = "classification"
    metric = "accuracy"

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits, disjoint images of one seed."""
        train, test = _splits(settings, (self.num_train, _NUM_TEST))
        return Split(_images(train), train.targets), Split(_images(test), test.targets)


@dataclass(frozen=True)
class SceneLatents(Task):
    """Read latents of the embedded dataset off the image.

    Args:
        latents: Their names.
        circular: They are hues in turns: the targets are the cosine and the sine of each.
        shape: The one that all images show; None for each its own.
    """

    latents: tuple[str, ...]
    circular: bool = False
    shape: str | None = None
    kind = "regression"
    metric = "r2"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The latents, or the cosines and then the sines of them."""
        names = tuple(latent.name for latent in LATENTS if latent.name in self.latents)
        return tuple(f"{of}({name})" for of in ("cos", "sin") for name in names) if self.circular else names

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits, disjoint images of one seed."""
        train, test = _splits(settings, (_NUM_TRAIN, _NUM_TEST), self.shape)
        return Split(_images(train), self._targets(train.latents)), Split(_images(test), self._targets(test.latents))

    def _targets(self, latents: Tensor) -> Tensor:
        columns = [index for index, latent in enumerate(LATENTS) if latent.name in self.latents]
        values = latents[:, columns]
        if not self.circular:
            return values
        angles = values * (2 * math.pi)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


shape = SceneShape()
# So few labels that a probe cannot learn what to ignore: what decides is whether pose, place, colours and light, all of
# which vary, are ignored already.
recognition = SceneShape(num_train=160)
hue = SceneLatents(("object_hue",), circular=True)
position = SceneLatents(("position_x", "position_y", "position_z"))
rotation = SceneLatents(("rotation_phi", "rotation_theta", "rotation_psi"))
# Of one shape: what an angle looks like is another thing for each, of which a linear probe learns next to nothing.
pose = SceneLatents(("rotation_phi", "rotation_theta", "rotation_psi"), shape="airplane")
