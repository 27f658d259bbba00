"""Telling what is about to be done, and how far work is."""

from collections.abc import Callable, Mapping
from typing import Protocol

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done and how much there is; the first may be a ``Doing``."""


class Doing(str):
    """What is being done, with what is to be said of it at this moment: the same work with other details is equal.

    Args:
        what: Names the work.
        detail: Of this moment: the epoch, the loss.
    """

    detail: str

    def __new__(cls, what: str, detail: str) -> "Doing":
        """Return the text, with its detail."""
        doing = super().__new__(cls, what)
        doing.detail = detail
        return doing


class Facts(Protocol):
    """What is ahead or has been done."""

    def facts(self) -> Mapping[str, str]:
        """Return it in words: short titles, and a line for each."""


Announce = Callable[[Facts], None]
"""Called with what a call is about to do once that is known, and before the work."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""


def say_nothing(facts: Facts) -> None:
    """Announce nothing."""


def about(seconds: float) -> str:
    """Return a time as precisely as an estimate deserves.

    Example:
        >>> [about(seconds) for seconds in (8, 93, 4000, 40_000)]
        ['8 s', '2 min', '1 h 7 min', '11 h']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 10 and minutes else f"{round(seconds / 3600)} h"


def bytes_in_words(count: int) -> str:
    """Return a size as precisely as an estimate deserves.

    Example:
        >>> [bytes_in_words(count) for count in (3_400_000, 812_000_000, 1_260_000_000)]
        ['3 MB', '810 MB', '1.3 GB']
    """
    if count < 100e6:
        return f"{max(1, round(count / 1e6))} MB"
    return f"{round(count / 1e7) * 10} MB" if count < 995e6 else f"{count / 1e9:.1f} GB"
