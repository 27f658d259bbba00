"""Two backbones' scores on one task, compared on the same test images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import Interval, ResampledScores, resampled_scores
from solo_invariance.errors import UserError
from solo_invariance.results import TransferComparison, TransferResult
from solo_invariance.results.comparison import COMPARISON_FILE
from solo_invariance.results.files import REMEDY, SCHEMA, read_arrays
from solo_invariance.results.transfer import TRANSFER_FILE
from solo_invariance.transfer.scores import CLASS_METRICS, difference_interval, metric_named

ARRAYS = "transfer.npz"

_SAME = ("task", "metric", "num_test", "test_images")
_SAME_EPISODES = ("seed", "details")
_LEAST_CORRELATION = 0.95


@dataclass(frozen=True)
class ScoredRun:
    """A result with what was predicted of each test image, or scored in each episode.

    Args:
        result: Of a backbone on a task.
        arrays: ``targets``, and ``predictions`` or ``episodes``, one row an image or an episode.
    """

    result: TransferResult
    arrays: Mapping[str, Tensor]
    _resampled: dict[int, ResampledScores] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, run: Path) -> "ScoredRun":
        """Read what a run wrote to its directory.

        Raises:
            UserError: A file is missing or broken, or they do not fit together.
        """
        return cls.of(TransferResult.read(run / TRANSFER_FILE))

    @classmethod
    def of(cls, result: TransferResult) -> "ScoredRun":
        """Return a result that was read with the arrays that lie beside its file.

        Raises:
            UserError: They are missing or broken, or do not fit to it.
        """
        return cls(result, _arrays_of(result, result.file.parent / ARRAYS))

    def minus(self, other: "ScoredRun", seed: int) -> Interval:
        """Return the paired 95 % interval of how much higher the score is than another run's.

        Args:
            other: Of the same test images, or episodes; ``require_same`` says whether they are.
            seed: Of the bootstrap, where there is one.
        """
        if "episodes" not in self.arrays and self.result.metric in CLASS_METRICS:
            predictions = self.arrays["predictions"], other.arrays["predictions"]
            return difference_interval(*predictions, self.arrays["targets"], self.result.metric)
        return self.resampled(seed).minus(other.resampled(seed))

    def require_same(self, other: "ScoredRun", named: Path) -> None:
        """Raise UserError, which says what is not the same, where another run's score cannot be compared with this.

        Args:
            other: The other run.
            named: What the message calls it.
        """
        same = _SAME + (_SAME_EPISODES if "episodes" in self.arrays else ())
        here = {key: getattr(self.result, key) for key in same}
        _require_alike(named, other, here, self.result.config, self.arrays["targets"])

    def resampled(self, seed: int) -> ResampledScores:
        """Return the score with those of bootstrap samples of the test images, or episodes.

        They are the same for every run of these images, so that differences are paired.

        Args:
            seed: Of the bootstrap.
        """
        if seed not in self._resampled:  # of many runs, each is compared with several
            if "episodes" in self.arrays:
                episodes = self.arrays["episodes"]
                self._resampled[seed] = resampled_scores(_mean, episodes, episodes, seed=seed)
            else:
                score = metric_named(self.result.metric)
                arrays = self.arrays["predictions"], self.arrays["targets"]
                self._resampled[seed] = resampled_scores(score, *arrays, seed=seed)
        return self._resampled[seed]


def require_result(against: Path | str, name: str = "") -> None:
    """Raise UserError unless a directory has a task's result to compare with, whole.

    Args:
        against: Where an earlier run wrote its results.
        name: The task's folder in it, where that run was of several.
    """
    if not (Path(against) / name / TRANSFER_FILE).is_file():
        raise UserError(f"against={against}: no result of transfer there ({Path(name) / TRANSFER_FILE})")
    ScoredRun.read(Path(against) / name)


def require_comparable(against: Path, here: Mapping[str, Any], config: Mapping[str, Any], targets: Tensor) -> None:
    """Refuse what cannot be compared with another run, before it is scored.

    Args:
        against: The directory of the other run's result.
        here: What must be the same there, by its key in the result.
        config: The configuration of this run's result.
        targets: Of this run's test images, (N,) or (N, T).

    Raises:
        UserError: Something is not the same; the message says what.
    """
    _require_alike(against, ScoredRun.read(against), here, config, targets)


def _require_alike(
    against: Path, other: ScoredRun, here: Mapping[str, Any], config: Mapping[str, Any], targets: Tensor
) -> None:
    for key, value in here.items():
        _require_same(against, key, getattr(other.result, key), value)
    if _columns(config) != _columns(other.result.config) or not _same_targets(targets, other.arrays["targets"]):
        raise UserError(f"against={against}: other targets are predicted there")


def _require_same(against: Path, key: str, there: Any, here: Any) -> None:
    if here != there:
        raise UserError(f"against={against}: its {key} is {there}, here it is {here}")


def _arrays_of(result: TransferResult, path: Path) -> dict[str, Tensor]:
    """Return what a file of arrays has, as many numbers as the result says."""
    arrays = read_arrays(path)
    expected = {"targets", "episodes" if "episodes" in arrays else "predictions"}
    for name in sorted(expected):
        if name not in arrays:
            raise UserError(f"{path}: {name!r} is missing in it. {REMEDY}")
        array = arrays[name]
        if array.dtype.kind == "U" or array.ndim == 0 or (name != "episodes" and len(array) != result.num_test):
            raise UserError(
                f"{path}: {name!r} in it is {array.dtype} {array.shape}, expected {result.num_test} rows of numbers. "
                f"{REMEDY}"
            )
    # Whole numbers of 64 bits, as ours are: torch does not compare all kinds.
    return {
        name: torch.from_numpy(arrays[name].astype(np.int64) if arrays[name].dtype.kind in "iu" else arrays[name])
        for name in expected
    }


def compare_scores(ours: Path, theirs: Path, seed: int) -> TransferComparison:
    """Compare the results of two backbones on one task; write ``comparison.json`` to ``ours`` and return it.

    The interval is of the difference: the same test images, or episodes, are drawn for both. It is far surer than
    two intervals side by side, since most of what varies between images varies for both.

    Args:
        ours: A directory with ``transfer.json`` and ``transfer.npz``.
        theirs: Another one; differences are ours minus theirs.
        seed: Of the bootstrap.

    Returns:
        ``difference`` of the scores, its 95 % interval ``ci95``, and what was compared.

    Raises:
        UserError: The other run has no result there, or one of another task, metric or other test images.
    """
    one, other = ScoredRun.read(ours), ScoredRun.read(theirs)
    one.require_same(other, theirs)
    first, second, interval = one.result, other.result, one.minus(other, seed)
    result = TransferComparison.from_content(
        {
            "schema": SCHEMA,
            "kind": TransferComparison.kind,
            "label": first.label,
            "against": {"label": second.label, "out": str(theirs)},
            **{key: getattr(first, key) for key in ("task", "metric", "num_test")},
            "difference": first.score.mean - second.score.mean,
            "ci95": list(interval),
            "seed": seed,
        }
    )
    result.write(ours / COMPARISON_FILE)
    return result


def _columns(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's configuration says of its targets, but for where they lie."""
    task = config.get("task")
    if not isinstance(task, Mapping) or not isinstance(options := task.get("options"), Mapping):  # no file of ours
        return {}
    return {"name": task.get("name"), **{key: value for key, value in options.items() if key != "targets"}}


def _same_targets(ours: Tensor, theirs: Tensor) -> bool:
    """Whether targets are equal, or, where they are numbers, up to their units and the rounding of sizes to pixels."""
    if ours.shape != theirs.shape or ours.is_floating_point() != theirs.is_floating_point():
        return False
    if not ours.is_floating_point():
        return torch.equal(ours, theirs)
    first, second = (targets.double() - targets.double().mean(0) for targets in (ours, theirs))
    sizes = first.norm(dim=0) * second.norm(dim=0)
    return bool(((first * second).sum(0) >= _LEAST_CORRELATION * sizes).all())


def _mean(values: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean of values (N,), each counted as often as its weight (..., N) says."""
    weights = torch.ones_like(values) if weights is None else weights
    return (weights * values).sum(-1) / weights.sum(-1)
