"""Scoring a backbone on labelled images while it trains, in any Lightning program."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.config.watch_transfer import WATCH_TRANSFER, WatchTransferConfig
from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.given_monitor import GivenMonitor
from solo_invariance.hosts.lightning.transfer_watcher import TransferWatcher
from solo_invariance.hosts.lightning.watched import Watched, input_from
from solo_invariance.known_datasets import IMAGENET
from solo_invariance.transfer.chosen_tasks import TaskChoice

_LABEL = "TransferMonitor"


class TransferMonitor(GivenMonitor):
    """Score a backbone on labelled images while it trains, in a Trainer of Lightning's.

    Every few epochs and after the last, a copy of the backbone as it is then is scored on tasks, as ``transfer`` scores
    it: a probe is fitted to frozen features of a task's training images and scored on its test images. Training itself
    sees none of them, nor any label. ``transfer/TASK/METRIC``, higher is better, goes to the run's loggers and to
    ``trainer.callback_metrics``, where ``ModelCheckpoint(monitor="transfer/shape/accuracy", mode="max")`` finds the
    score of the weights that it saves. In epochs in which nothing is scored, the number is NaN, which it takes for the
    worst. ``health/TASK/rankme`` and ``health/TASK/alpha_req`` of the training images' features go with it.

    The run stays what it is: the same weights, metrics, checkpoints and random states, bit for bit. What is wrong is
    said before training begins, in every process; what goes wrong while it trains is said once, and training goes on.
    Several processes share the work: each decodes and keeps a part of the images and computes their features, and fits
    the probes of a part of the tasks; the scores are those of one process. Trainers of ``lightning.pytorch`` and of
    ``pytorch_lightning`` take it alike, and one of them may have several of other prefixes.

    Args:
        tasks: Names of tasks; mappings with a ``name``, keys of ``TaskConfig`` such as ``path`` and ``label``, and
            ``probe`` and ``metric`` where they differ from the others'; or whatever ``transfer`` takes for a task, such
            as a tuple of training images, training targets, test images and test targets.
        backbone: Where the module has its backbone: an attribute, dotted where it lies deeper (``model.encoder``). It
            maps normalised images (N, 3, S, S) to features (N, D), or to maps of one pixel (N, D, 1, 1).
        every: Epochs between scores.
        probe: What is trained on the features: ``logistic``, ``knn`` or ``few_shot`` (classes), ``ridge`` or
            ``kernel_ridge`` (numbers); ``auto`` for each task's usual one.
        num_images: Of each task, for training and for the test at most so many images, drawn by the task's seed, and
            decoded once; None for all.
        crop_size: Side of the images that the backbone is trained on, S, in pixels.
        mean: Channel means that these are normalised with, in [0, 1] units; ImageNet's by default, None for none.
        std: Channel standard deviations that they are divided by; ImageNet's by default, None for none.
        features: Makes features (N, D) of what the backbone returns, where that is something else, such as
            ``lambda output: output.last_hidden_state[:, 0]``.
        metric: Of the scores; each task's usual one by default.
        folds: Of the cross-validation that chooses what a probe leaves open.
        knn: How nearest neighbours vote, for ``probe="knn"``.
        few_shot: What an episode is, for ``probe="few_shot"``.
        batch_size: Images in one forward pass, None for what suits the device.
        num_workers: Threads that read images, once.
        seed: Of folds and episodes.
        prefix: What the numbers' names begin with.

    Raises:
        UserError: An argument is not what it should be; the message names it.

    Example:
        >>> monitor = TransferMonitor(["shape", "hue"], every=2, crop_size=32)
        >>> monitor.names[:2]
        ['transfer/shape/accuracy', 'transfer/hue/r2']
    """

    def __init__(
        self,
        tasks: Sequence[TaskChoice | Mapping[str, Any]] = ("shape", "hue"),
        backbone: str = "backbone",
        every: int = 5,
        probe: str = "auto",
        num_images: int | None = 1000,
        crop_size: int = 224,
        mean: Sequence[float] | None = IMAGENET[0],
        std: Sequence[float] | None = IMAGENET[1],
        *,
        features: Callable[[Any], Tensor] | None = None,
        metric: str | None = None,
        folds: int = 5,
        knn: KNNConfig | None = None,
        few_shot: FewShotConfig | None = None,
        batch_size: int | None = None,
        num_workers: int = 4,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        watched = Watched(_LABEL, input_from(_LABEL, crop_size, mean, std), backbone, prefix, features)
        counts = {"every": every, "folds": folds, "num_workers": num_workers, "seed": seed}
        for key, value in {**counts, "num_images": num_images, "batch_size": batch_size}.items():
            if isinstance(value, bool) or not isinstance(value, int if key in counts else int | None):
                raise UserError(f"{_LABEL}: {key}={value!r}: expected a whole number")
        given = [dict(task) if isinstance(task, Mapping) else task for task in _listed(tasks)]
        try:
            config = WatchTransferConfig(
                every,
                given,
                probe,
                metric,
                num_images,
                folds,
                knn or KNNConfig(),
                few_shot or FewShotConfig(),
                batch_size,
                num_workers,
                seed,
            )
        except UserError as error:
            raise UserError(f"{_LABEL}: {str(error).removeprefix(f'{WATCH_TRANSFER}.')}") from error
        super().__init__(partial(TransferWatcher, config, watched))


def _listed(tasks: Any) -> list[Any]:
    if isinstance(tasks, str | Mapping) or not isinstance(tasks, Sequence):
        raise UserError(f"{_LABEL}: tasks={tasks!r}: expected a list, such as ['shape', 'hue']")
    return list(tasks)
