"""Watching what a backbone becomes invariant to, in any Lightning program."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from solo_invariance.backbones import InputSpec
from solo_invariance.data.sources import Images, image_source
from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.either_package import OtherCallback
from solo_invariance.hosts.lightning.monitor import MonitorWatcher
from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.hosts.lightning.per_trainer import WatchingCallback
from solo_invariance.hosts.lightning.watching import Watch
from solo_invariance.known_datasets import IMAGENET
from solo_invariance.measure import Transform

_LABEL = "InvarianceMonitor"
TRANSFORMS = ("rotation", "resized_crop", "h_flip", "hue", "brightness", "grayscale", "blur")


class InvarianceMonitor(WatchingCallback, OtherCallback):
    """Measure what a backbone becomes invariant to while it trains, in a Trainer of Lightning's.

    Every few epochs and after the last, a copy of the backbone as it is then is measured on a few images.
    ``invariance/TRANSFORM/similarity`` (1: invariant) and the means ``invariance/mean_spatial/similarity`` and
    ``invariance/mean_appearance/similarity`` go to the run's loggers and to ``trainer.callback_metrics``, where
    ``ModelCheckpoint(monitor="invariance/hue/similarity", mode="max")`` finds the number of the weights that it saves.
    In epochs in which nothing is measured, the number is NaN, which it takes for the worst, and for an
    ``EarlyStopping`` that would stop at that, the worst number.

    The run stays what it is: the same weights, metrics, checkpoints and random states, bit for bit. What is wrong is
    said before training begins, in every process; what goes wrong while it trains is said once, and training goes on.
    Of several processes the first measures, while the others wait for it. Trainers of ``lightning.pytorch`` and of
    ``pytorch_lightning`` take it alike, and one of them may have several of other names.

    Args:
        backbone: Where the module has its backbone: an attribute, dotted where it lies deeper (``model.encoder``). It
            maps normalised images (N, 3, S, S) to features (N, D), or to maps of one pixel (N, D, 1, 1).
        every: Epochs between measurements.
        transforms: Names of transforms, ``all``, or transforms of your own by name.
        k: Parameters of a transform.
        num_images: Images to measure on.
        reference_images: Images of the features' mean and covariance, of which those are the first.
        data: A folder of images, a uint8 tensor (N, 3, H, W), or a dataset of images without a random transform. None
            for the run's own validation images, or else its training images: those of a dataset with a ``transform``,
            which is left out.
        crop_size: Side of the images that the backbone is trained on, S, in pixels.
        mean: Channel means that these are normalised with, in [0, 1] units; ImageNet's by default, None for none.
        std: Channel standard deviations that they are divided by; ImageNet's by default, None for none.
        features: Makes features (N, D) of what the backbone returns, where that is something else, such as
            ``lambda output: output.last_hidden_state[:, 0]``.
        batch_size: Views in one forward pass.
        seed: Of the choice of images and of parameters.
        name: What the numbers' names begin with.

    Raises:
        UserError: An argument is not what it should be; the message names it.

    Example:
        >>> monitor = InvarianceMonitor(every=2, transforms=["rotation", "hue"], k=4, num_images=16, crop_size=32)
        >>> monitor.names[:2]
        ['invariance/rotation/similarity', 'invariance/hue/similarity']
    """

    def __init__(
        self,
        backbone: str = "backbone",
        every: int = 5,
        transforms: Sequence[str] | Mapping[str, Transform] | Literal["all"] = TRANSFORMS,
        k: int = 8,
        num_images: int = 64,
        reference_images: int = 512,
        data: Images | None = None,
        crop_size: int = 224,
        mean: Sequence[float] | None = IMAGENET[0],
        std: Sequence[float] | None = IMAGENET[1],
        *,
        features: Callable[[Any], Tensor] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        name: str = "invariance",
    ) -> None:
        super().__init__()
        _require_name("backbone", backbone)
        _require_name("name", name)
        if features is not None and not callable(features):
            raise UserError(f"{_LABEL}: features={features!r}: expected a callable")
        settings = MonitorSettings(every, transforms, k, num_images, reference_images, data, batch_size, seed)
        settings.require_counts(f"{_LABEL}: ")
        _require_images(data)
        self._arguments: tuple[Any, ...] = (settings, _input(crop_size, mean, std), _LABEL, backbone, name, features)
        self._watcher()  # which refuses unknown transforms

    @property
    def names(self) -> list[str]:
        """What the numbers are called, in loggers and in ``callback_metrics``."""
        return list(self._watcher().names)

    @property
    def state_key(self) -> str:
        """Return a key by which one is told from others; none has a state."""
        _, _, label, backbone, name, _ = self._arguments
        return f"{label}({backbone!r}, {name!r})"

    def watch(self, trainer: Trainer, pl_module: LightningModule) -> Watch:
        """Watch every run."""
        return Watch(self._watcher())

    def _watcher(self) -> MonitorWatcher:
        return MonitorWatcher(*self._arguments)


def _input(crop_size: Any, mean: Any, std: Any) -> InputSpec:
    statistics = {"mean": (0.0, 0.0, 0.0) if mean is None else mean, "std": (1.0, 1.0, 1.0) if std is None else std}
    plain = {key: list(value) if isinstance(value, Sequence) else value for key, value in statistics.items()}
    if crop_size is None:
        raise UserError(f"{_LABEL}: crop_size is None, expected the side of the backbone's images, in pixels")
    try:
        spec = InputSpec.from_mapping({"crop_size": crop_size, **plain})
    except ValueError as error:
        raise UserError(f"{_LABEL}: {error}") from error
    for key, statistic in (("mean", spec.mean), ("std", spec.std)):
        if not 0 <= min(statistic) <= max(statistic) <= 1:
            raise UserError(f"{_LABEL}: {key} is {list(statistic)}, expected numbers in [0, 1]; divide by 255, perhaps")
    return spec


def _require_name(argument: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip("./ ") or "" in value.split("."):
        given = f"{value!r}" if isinstance(value, str) else f"a {type(value).__name__}"
        example = "an attribute of the module, such as 'backbone'" if argument == "backbone" else "such as 'invariance'"
        raise UserError(f"{_LABEL}: {argument} is {given}, expected a name, {example}")


def _require_images(data: Any) -> None:
    if isinstance(data, str | Path):
        if not Path(data).is_dir():
            raise UserError(f"{_LABEL}: data={data}: no such folder of images")
    elif data is not None:
        try:
            image_source(data)
        except UserError as error:
            raise UserError(f"{_LABEL}: data: {error}") from error
