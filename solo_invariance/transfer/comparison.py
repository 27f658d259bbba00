"""Two backbones' scores on one task, compared on the same test images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import paired_interval
from solo_invariance.errors import UserError
from solo_invariance.results import TransferComparison, TransferResult
from solo_invariance.results.comparison import COMPARISON_FILE
from solo_invariance.results.files import REMEDY, SCHEMA, read_arrays
from solo_invariance.results.transfer import TRANSFER_FILE
from solo_invariance.transfer.scores import difference_interval

ARRAYS = "transfer.npz"

_SAME = ("task", "metric", "num_test", "test_images")
_SAME_EPISODES = ("seed", "details")
_LEAST_CORRELATION = 0.95


def require_result(against: Path | str, name: str = "") -> None:
    """Raise UserError unless a directory has a task's result to compare with, whole.

    Args:
        against: Where an earlier run wrote its results.
        name: The task's folder in it, where that run was of several.
    """
    if not (Path(against) / name / TRANSFER_FILE).is_file():
        raise UserError(f"against={against}: no result of transfer there ({Path(name) / TRANSFER_FILE})")
    _read(Path(against) / name)


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
    result, arrays = _read(against)
    for key, value in here.items():
        _require_same(against, key, getattr(result, key), value)
    if _columns(config) != _columns(result.config) or not _same_targets(targets, arrays["targets"]):
        raise UserError(f"against={against}: other targets are predicted there")


def _require_same(against: Path, key: str, there: Any, here: Any) -> None:
    if here != there:
        raise UserError(f"against={against}: its {key} is {there}, here it is {here}")


def _read(run: Path) -> tuple[TransferResult, dict[str, Tensor]]:
    """Return a run's result and its arrays, as many numbers as the result says."""
    result, arrays = TransferResult.read(run / TRANSFER_FILE), read_arrays(run / ARRAYS)
    expected = {"targets", "episodes" if "episodes" in arrays else "predictions"}
    for name in sorted(expected):
        if name not in arrays:
            raise UserError(f"{run / ARRAYS}: {name!r} is missing in it. {REMEDY}")
        array = arrays[name]
        if array.dtype.kind == "U" or array.ndim == 0 or (name != "episodes" and len(array) != result.num_test):
            raise UserError(
                f"{run / ARRAYS}: {name!r} in it is {array.dtype} {array.shape}, expected {result.num_test} rows of "
                f"numbers. {REMEDY}"
            )
    # Whole numbers of 64 bits, as ours are: torch does not compare all kinds.
    return result, {
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
    (first, one), (second, other) = _read(ours), _read(theirs)
    same = _SAME + (_SAME_EPISODES if "episodes" in one else ())
    require_comparable(theirs, {key: getattr(first, key) for key in same}, first.config, one["targets"])
    if "episodes" in one:
        interval = paired_interval(_mean, one["episodes"], other["episodes"], one["episodes"], seed=seed)
    else:
        predictions = one["predictions"], other["predictions"]
        interval = difference_interval(*predictions, one["targets"], first.metric, seed, other["targets"])
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
