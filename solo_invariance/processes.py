"""The processes that share a piece of work."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Processes:
    """One process, with nobody to share with; ``solo_invariance.hosts.fabric`` has those that share.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's part of the items: every ``count``-th of them."""
        return items[self.rank :: self.count]

    def wait(self) -> None:
        """Wait until every process is here."""

    def gather(self, items: list[Item]) -> list[Item]:
        """Return the items of all processes, by rank; every process calls this."""
        return items
