"""What the monitor measures: a copy of the backbone, on a few images of the run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from solo_invariance.backbones import Backbone, InputSpec
from solo_invariance.data.decoding import readable
from solo_invariance.data.framing import resize_for
from solo_invariance.data.images import ImageSource, TensorImages
from solo_invariance.data.sources import image_source
from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.hosts.lightning.run_images import run_images
from solo_invariance.hosts.lightning.watched import Watched
from solo_invariance.hosts.lightning.watching import TrainerProcesses, Watcher
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings, Transform, health_of
from solo_invariance.measure.health import HEALTH
from solo_invariance.measure.loop.plan import grids_of
from solo_invariance.measure.transforms.transform import centre_crop
from solo_invariance.plugins import discover, load_plugin
from solo_invariance.processes import Processes

_FEWEST = 3  # each image's features are whitened by those of at least two others


class Monitor:
    """Measures backbones on the same images again and again.

    Args:
        images: uint8 (N, 3, R, R).
        transforms: By name.
        input_spec: The input that the backbone is trained on.
        settings: How the run is watched.
    """

    def __init__(
        self,
        images: Tensor,
        transforms: Mapping[str, Transform],
        input_spec: InputSpec,
        settings: MonitorSettings,
    ) -> None:
        self.reference = TensorImages(images, name="monitored image")
        self.images = TensorImages(images[: settings.num_images], name="monitored image")
        self.transforms = transforms
        geometry = Geometry(images.shape[-1], input_spec.crop_size)
        self.settings = MeasureSettings(
            k=settings.k,
            num_images=settings.num_images,
            geometry=geometry,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        grids_of(transforms, self.settings, geometry)  # now, and not after the first epochs

    def summary(self) -> str:
        """Return what is measured, in words."""
        asked, there = self.settings.num_images, len(self.images)
        few = "" if there == asked else f" (all there are, {asked} were asked for)"
        names = ", ".join(self.transforms)
        images = f"{there} images{few}, whitened by {len(self.reference)}"
        return f"similarity under {names}; k {self.settings.k}; {images}"

    def measure(self, backbone: Backbone) -> dict[str, float]:
        """Return ``invariance/TRANSFORM/similarity`` of a backbone.

        With them go ``invariance/mean_KIND/similarity``, over the spatial transforms and over those of appearance, and
        ``health/METRIC`` of the reference images' features, where these are enough for it to say something.
        """
        measurement = InvarianceMeasurement(backbone, self.reference, self.settings)
        measured = measurement.measure(self.transforms, self.images)
        means = {name: one.summary["similarity"]["mean"] for name, one in measured[""].items()}
        for mean, names in _kinds(self.transforms).items():
            means[mean] = sum(means[name] for name in names) / len(names)
        health = health_of(measurement.moments[""])
        return {
            **{f"invariance/{name}/similarity": value for name, value in means.items()},
            **{f"health/{name}": value for name, value in health.items()},
        }


class MonitorWatcher(Watcher):
    """Watches a run by a ``Monitor``, which the first process has.

    Args:
        settings: What is measured, and when.
        watched: The backbone.

    Raises:
        UserError: A transform is unknown.
    """

    def __init__(self, settings: MonitorSettings, watched: Watched) -> None:
        self.settings, self.watched, self.every = settings, watched, settings.every
        self.transforms = _transforms(settings.transforms, self.watched.where)
        self._monitor: Monitor | None = None

    @property
    def names(self) -> Sequence[str]:
        """Of the transforms' similarities, of their means, and of the features' health."""
        measured = [f"invariance/{one}/similarity" for one in (*self.transforms, *_kinds(self.transforms))]
        return [f"{self.watched.prefix}{name}" for name in (*measured, *(f"health/{one}" for one in HEALTH))]

    def prepare(self, trainer: Trainer, module: LightningModule, network: nn.Module, processes: Processes) -> str:
        """Read the images, and see whether the backbone takes them.

        Raises:
            UserError: There are no images, or one of them is broken, or the backbone gives no features of them.
        """
        if processes.rank > 0:
            return ""
        resize = resize_for(self.watched.input_spec.crop_size)
        images = self._images(trainer, resize)
        if len(images) < _FEWEST:
            raise UserError(f"{self.watched.where}data: {len(images)} images, at least {_FEWEST} are needed")
        self._monitor = Monitor(images, self.transforms, self.watched.input_spec, self.settings)
        self.watched.copied(network)
        return self._monitor.summary()

    def measure(self, network: nn.Module, processes: TrainerProcesses) -> Mapping[str, float]:
        """Measure in the first process."""
        if self._monitor is None:
            return {}
        return self.watched.named(self._monitor.measure(self.watched.copied(network)))

    def _images(self, trainer: Trainer, resize: int) -> Tensor:
        if self.settings.data is not None:
            try:
                return _some_images(image_source(self.settings.data, resize), self.settings, resize)
            except UserError as error:
                raise UserError(f"{self.watched.where}data: {error}") from error
        images = run_images(trainer, resize)
        if images is None:
            raise UserError(
                f"{self.watched.where}data is needed: the run's own images cannot be read without its transforms; "
                f"give a folder"
            )
        return _some_images(images, self.settings, resize)


def _kinds(transforms: Mapping[str, Transform]) -> dict[str, list[str]]:
    """Return the transforms of a kind, by the name of their mean."""
    kinds: dict[str, list[str]] = {}
    for name, transform in transforms.items():
        kinds.setdefault(f"mean_{transform.kind}", []).append(name)
    return kinds


def _transforms(chosen: Any, where: str) -> dict[str, Transform]:
    if isinstance(chosen, Mapping) and chosen:
        return dict(chosen)
    names = [plugin.name for plugin in discover("transforms")] if chosen == "all" else chosen
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise UserError(f"{where}transforms={chosen}: expected all, or a list such as [rotation,hue]")
    return {str(name): load_plugin("transforms", str(name)) for name in names}


def _some_images(source: ImageSource, settings: MonitorSettings, side: int) -> Tensor:
    count = min(len(source), max(settings.reference_images, settings.num_images))
    chosen = np.random.default_rng(settings.seed).permutation(len(source))[:count]
    squares = Geometry(side, side)
    images = [centre_crop(readable(source[int(index)])[None], squares)[0] for index in chosen]
    return torch.stack(images) if images else torch.empty(0, 3, side, side, dtype=torch.uint8)
