"""Timing two ways of doing the same thing, in turns."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmarks.rows import Row, judged

_LEAST_SECONDS = 0.02


@dataclass(frozen=True)
class Comparison(Row):
    """What was timed, against what, and the target for the ratio, where there is one.

    Args:
        what: What is timed.
        against: The peer, which a user would run instead.
        seconds: Median of ours.
        peer_seconds: Median of the peer's.
        ratio: Median of peer / ours over the pairs: above 1, ours is faster.
        spread: Least and largest ratio.
        target: The least ratio aimed for.
        note: Units and sizes.
        images_per_second: Of ours, where images are what is made.
        peer_images_per_second: Of the peer, likewise.
    """

    title: ClassVar[str] = "How many times faster than the peer"
    what: str
    against: str
    seconds: float
    peer_seconds: float
    ratio: float
    spread: tuple[float, float]
    target: float | None = None
    note: str = ""
    images_per_second: float | None = None
    peer_images_per_second: float | None = None

    def met(self) -> bool:
        """Return whether it is as many times faster as is aimed for."""
        return self.target is None or self.ratio >= self.target

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "what": self.what,
            "against": self.against,
            "ours": f"{self.seconds * 1000:.1f} ms",
            "peer": f"{self.peer_seconds * 1000:.1f} ms",
            "images/s": _rounded(self.images_per_second),
            "peer's": _rounded(self.peer_images_per_second),
            "ratio": judged(f"{self.ratio:.2f}", self.met()),
            "spread": f"{self.spread[0]:.2f} to {self.spread[1]:.2f}",
            "target": "" if self.target is None else f"{self.target:.2f}",
            "note": self.note,
        }


@dataclass(frozen=True)
class Timing(Row):
    """How long something takes, and how long it may.

    Args:
        what: Is timed.
        seconds: Median.
        spread: Least and largest.
        target: The most seconds aimed for.
        note: Units and sizes.
    """

    title: ClassVar[str] = "Time"
    what: str
    seconds: float
    spread: tuple[float, float]
    target: float
    note: str = ""

    def met(self) -> bool:
        """Return whether it takes no longer than is aimed for."""
        return self.seconds <= self.target

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "what": self.what,
            "time": judged(f"{self.seconds * 1000:.2f} ms", self.met()),
            "spread": " to ".join(f"{seconds * 1000:.2f}" for seconds in self.spread),
            "target": f"{self.target * 1000:.2f} ms",
            "note": self.note,
        }


def _rounded(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0f}"


def compare(
    what: str,
    ours: Callable[[], object],
    against: str,
    peer: Callable[[], object],
    *,
    pairs: int = 5,
    target: float | None = None,
    note: str = "",
    items: int | None = None,
) -> Comparison:
    """Run ours and the peer in turns; ``items`` is how many images one run makes."""
    own, others = in_turns([ours, peer], pairs)
    ratios = [b / a for a, b in zip(own, others, strict=True)]
    seconds, peer_seconds = statistics.median(own), statistics.median(others)
    return Comparison(
        what,
        against,
        seconds,
        peer_seconds,
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        target,
        note,
        items and items / seconds,
        items and items / peer_seconds,
    )


def in_turns(functions: Sequence[Callable[[], object]], rounds: int = 5) -> list[list[float]]:
    """Return the seconds of one run of each function in each round, after runs that do not count.

    What takes too little time to be timed is run several times a round.
    """
    repeats = [max(1, math.ceil(_LEAST_SECONDS / _warm_up(function))) for function in functions]
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, count, seconds in zip(functions, repeats, times, strict=True):
            seconds.append(_seconds(function, count) / count)
    return times


def _warm_up(function: Callable[[], object]) -> float:
    first = _seconds(function)
    return first if first > 1 else _seconds(function)


def _seconds(function: Callable[[], object], count: int = 1) -> float:
    _synchronise()
    started = time.perf_counter()
    for _ in range(count):
        function()
    _synchronise()
    return time.perf_counter() - started


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
