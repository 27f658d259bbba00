"""Scoring features of a task's images, wherever these come from."""

import torch
from torch import Tensor

from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scorable import require_scorable
from solo_invariance.transfer.scoring import TransferScore, score_features
from solo_invariance.transfer.task_data import TaskData

_ON_A_GPU = ("ridge", "logistic", "kernel_ridge")  # in float64, which other devices may not have


def require_sound(data: TaskData, settings: ProbeSettings) -> None:
    """Raise UserError where a task's targets allow no score, or a test image is among the training images.

    Args:
        data: The task's images and targets.
        settings: How they are to be probed.
    """
    require_scorable(data.train.targets, data.test.targets, settings, data.task.columns)
    data.require_apart()


def score_task(
    data: TaskData, train: Tensor, test: Tensor, settings: ProbeSettings, device: torch.device
) -> TransferScore:
    """Return the score of a probe of features of a task's images.

    Args:
        data: The task's targets, N for training and M for the test.
        train: Features of the training images, (N, D).
        test: Features of the test images, (M, D).
        settings: How to probe.
        device: The backbone's: linear and kernel probes are fitted on it where it is a GPU.

    Raises:
        UserError: The features or targets do not allow it.
    """
    on = device if device.type == "cuda" and settings.probe in _ON_A_GPU else None
    return score_features((train, data.train.targets), (test, data.test.targets), settings, on)
