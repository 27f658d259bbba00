"""What the monitor measures: a copy of the backbone, on a few images of the run."""

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn
from torchvision.datasets.folder import default_loader

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.backbones.load import input_spec_of
from solo_invariance.data.decoding import readable, reading, resize_short_side, to_rgb, to_tensor
from solo_invariance.data.framing import resize_for
from solo_invariance.data.images import ImageFiles, ImageSource, TensorImages
from solo_invariance.device import device_of
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas
from solo_invariance.hosts.lightning.datasets import training_dataset, validation_datasets
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings, Transform
from solo_invariance.measure.loop.plan import grids_of
from solo_invariance.measure.transforms.transform import centre_crop
from solo_invariance.plugins import discover, load_plugin

if TYPE_CHECKING:
    from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings


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
        settings: "MonitorSettings",
    ) -> None:
        self.reference = TensorImages(images, name="monitored image")
        self.images = TensorImages(images[: settings.num_images], name="monitored image")
        self.transforms = transforms
        self.input_spec = input_spec
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

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Return ``invariance/TRANSFORM/similarity`` of a copy of a network, in single precision.

        With them goes ``invariance/mean_KIND/similarity``, over the spatial transforms and over those of appearance.
        """
        backbone = Backbone(
            copy.deepcopy(network).float(), Architecture("monitored"), self.input_spec, Provenance("monitored")
        ).to(device_of(network))
        measured = InvarianceMeasurement(backbone, self.reference, self.settings).measure(self.transforms, self.images)
        means = {name: one.summary["similarity"]["mean"] for name, one in measured[""].items()}
        for kind in dict.fromkeys(transform.kind for transform in self.transforms.values()):
            of_kind = [means[name] for name, transform in self.transforms.items() if transform.kind == kind]
            means[f"mean_{kind}"] = sum(of_kind) / len(of_kind)
        return {f"invariance/{name}/similarity": mean for name, mean in means.items()}


def build_monitor(settings: "MonitorSettings", trainer: Trainer, pl_module: LightningModule) -> Monitor:
    """Return the monitor that a run asks for, with its images in memory.

    Raises:
        UserError: A transform is unknown, or there are no images, or one of them is broken.
    """
    cfg: Any = pl_module.cfg
    content: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    try:
        spec = input_spec_of(content)
    except ValueError as error:
        raise UserError(f"invariance.monitor: {error}") from error
    resize = resize_for(spec.crop_size)
    images = _some_images(_source(settings, trainer, resize), settings, resize)
    return Monitor(images, _transforms(settings.transforms), spec, settings)


def _transforms(chosen: Any) -> dict[str, Transform]:
    names = [plugin.name for plugin in discover("transforms")] if chosen == "all" else chosen
    if not isinstance(names, list) or not names:
        raise UserError(f"invariance.monitor.transforms={chosen}: expected all, or a list such as [rotation,hue]")
    return {str(name): load_plugin("transforms", str(name)) for name in names}


def _source(settings: "MonitorSettings", trainer: Trainer, resize: int) -> ImageSource:
    if settings.data is not None:
        return ImageFiles(Path(settings.data), resize)
    for dataset in [*validation_datasets(trainer), training_dataset(trainer)]:
        if hasattr(dataset, "transform"):
            return RunImages(dataset, resize)
    raise UserError("invariance.monitor.data=FOLDER is needed: the run's images cannot be read without its transform")


def _some_images(source: ImageSource, settings: "MonitorSettings", side: int) -> Tensor:
    count = min(len(source), max(settings.reference_images, settings.num_images))
    chosen = np.random.default_rng(settings.seed).permutation(len(source))[:count]
    squares = Geometry(side, side)
    return torch.stack([centre_crop(readable(source[int(index)])[None], squares)[0] for index in chosen])


class RunImages:
    """The images of a run's dataset, without the run's transform.

    Args:
        dataset: Gives samples with an image, to which its ``transform`` is applied; it is copied, and stays as it is.
        resize: Short side in pixels.
    """

    def __init__(self, dataset: Any, resize: int) -> None:
        self._dataset = copy.copy(dataset)
        if isinstance(getattr(getattr(dataset, "loader", None), "__self__", None), Canvas):
            self._dataset.loader = default_loader  # which the families' canvas has taken the place of
        self._dataset.transform = self._resized
        self._resize = resize

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Tensor:
        sample = self._dataset[index]
        for part in sample if isinstance(sample, tuple | list) else [sample]:
            if isinstance(part, Tensor) and part.dtype == torch.uint8 and part.ndim == 3:
                return part
        raise UserError(
            f"invariance.monitor: {type(self._dataset).__name__} gives no image; set invariance.monitor.data=FOLDER"
        )

    def name_of(self, index: int) -> str:
        """Return the dataset's name and the index."""
        return f"{type(self._dataset).__name__} image {index}"

    def _resized(self, image: Image.Image | Tensor) -> Tensor:
        if isinstance(image, Tensor):  # uint8, as the embedded data are
            image = Image.fromarray(image.permute(1, 2, 0).numpy())
        with reading("an image of the dataset"):
            return to_tensor(resize_short_side(to_rgb(image), self._resize))


@contextmanager
def unchanged_random_states() -> Iterator[None]:
    """Leave the random states of torch, NumPy and Python as they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (other people's draws)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
