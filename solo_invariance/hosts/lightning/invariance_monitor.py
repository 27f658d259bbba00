"""Watching what a backbone becomes invariant to, in any Lightning program."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from solo_invariance.data.sources import Images, image_source
from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.given_monitor import GivenMonitor
from solo_invariance.hosts.lightning.monitor import MonitorWatcher
from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.hosts.lightning.watched import Watched, input_from
from solo_invariance.known_datasets import IMAGENET
from solo_invariance.measure import Transform

_LABEL = "InvarianceMonitor"
TRANSFORMS = ("rotation", "resized_crop", "h_flip", "hue", "brightness", "grayscale", "blur")


class InvarianceMonitor(GivenMonitor):
    """Measure what a backbone becomes invariant to while it trains, in a Trainer of Lightning's.

    Every few epochs and after the last, a copy of the backbone as it is then is measured on a few images.
    ``invariance/TRANSFORM/similarity`` (1: invariant), the means ``invariance/mean_spatial/similarity`` and
    ``invariance/mean_appearance/similarity``, and of the same features ``health/rankme`` and ``health/alpha_req``,
    where the images are enough for them, go to the run's loggers and to ``trainer.callback_metrics``, where
    ``ModelCheckpoint(monitor="invariance/hue/similarity", mode="max")`` finds the number of the weights that it saves.
    In epochs in which nothing is measured, the number is NaN, which it takes for the worst, and for an
    ``EarlyStopping`` that would stop at that, the worst number.

    The run stays what it is: the same weights, metrics, checkpoints and random states, bit for bit. What is wrong is
    said before training begins, in every process; what goes wrong while it trains is said once, and training goes on.
    Of several processes the first measures, while the others wait for it. Trainers of ``lightning.pytorch`` and of
    ``pytorch_lightning`` take it alike, and one of them may have several with other prefixes.

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
        prefix: What the numbers' names begin with, such as ``teacher/``.

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
        prefix: str = "",
    ) -> None:
        settings = MonitorSettings(every, transforms, k, num_images, reference_images, data, batch_size, seed)
        watched = Watched(_LABEL, input_from(_LABEL, crop_size, mean, std), backbone, prefix, features)
        settings.require_counts(watched.where)
        _require_images(data)
        super().__init__(partial(MonitorWatcher, settings, watched))


def _require_images(data: Any) -> None:
    if isinstance(data, str | Path):
        if not Path(data).is_dir():
            raise UserError(f"{_LABEL}: data={data}: no such folder of images")
    elif data is not None:
        try:
            image_source(data)
        except UserError as error:
            raise UserError(f"{_LABEL}: data: {error}") from error
