"""Timing two ways of doing the same thing, in turns."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Comparison:
    """One row: what was timed, against what, and the target for the ratio, where there is one.

    Args:
        what: What is timed.
        against: The peer, which a user would run instead.
        seconds: Median of ours.
        peer_seconds: Median of the peer's.
        ratio: Median of peer / ours over the pairs: above 1, ours is faster.
        spread: Least and largest ratio.
        target: The least ratio aimed for.
        note: Units and sizes.
    """

    what: str
    against: str
    seconds: float
    peer_seconds: float
    ratio: float
    spread: tuple[float, float]
    target: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def compare(
    what: str,
    ours: Callable[[], object],
    against: str,
    peer: Callable[[], object],
    *,
    pairs: int = 5,
    target: float | None = None,
    note: str = "",
) -> Comparison:
    """Run ours and the peer in turns, after one run of each that does not count."""
    ours(), peer()
    times = [(_seconds(ours), _seconds(peer)) for _ in range(pairs)]
    ratios = [b / a for a, b in times]
    return Comparison(
        what,
        against,
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        target,
        note,
    )


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
