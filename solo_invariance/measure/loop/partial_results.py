"""What was measured so far, in partial results that can be written down, merged and taken up again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.results.files import fingerprint_of, read_arrays, write_arrays

Key = tuple[str, ...]
"""What was measured, on which layer, by which metric, and so on; the last is the state."""

_SEPARATOR = "|"
_OF_EACH = ("names", "rows", "unreadable", "left_out")
_HINT = "; remove it, and what it held is measured again"


@dataclass(frozen=True)
class PartialResult:
    """The states of metrics on some rows of a measurement.

    Args:
        names: What was measured: transforms, or a view set.
        rows: The numbers of the rows, ascending.
        unreadable: Those of them whose image could not be read.
        states: By ``(name, ...)``, with one row for each that could be read, in the order of ``rows``.
        left_out: Images that could not be read.
    """

    names: Sequence[str]
    rows: Sequence[int]
    unreadable: Sequence[int]
    states: Mapping[Key, Tensor]
    left_out: Sequence[str] = ()


class PartialResults:
    """Partial results in memory."""

    def __init__(self) -> None:
        self._held: list[Mapping[str, np.ndarray]] = []

    def add(self, part: PartialResult) -> None:
        """Keep a partial result."""
        self._keep(
            {
                "names": np.asarray(part.names),
                "rows": np.asarray(part.rows, dtype=np.int64),
                "unreadable": np.asarray(part.unreadable, dtype=np.int64),
                "left_out": np.asarray(part.left_out, dtype=str),
                **{_SEPARATOR.join(key): _array(state) for key, state in part.states.items()},
            }
        )

    def done(self, name: str) -> set[int]:
        """Return the rows on which something was measured, or whose image could not be read."""
        return {int(row) for part in self._all() if name in part["names"] for row in part["rows"]}

    def left_out(self, name: str) -> list[str]:
        """Return the images that could not be read where something was measured."""
        return sorted({str(image) for part in self._all() if name in part["names"] for image in part["left_out"]})

    def rows(self, name: str) -> np.ndarray:
        """Return the rows, ascending, (N,), that there are states of."""
        unreadable = {int(row) for part in self._all() if name in part["names"] for row in part["unreadable"]}
        return np.asarray(sorted(self.done(name) - unreadable), dtype=np.int64)

    def states(self, key: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the states below a key, each (N, ...), of the first N of ``rows(key[0])``."""
        prefix = _SEPARATOR.join(key) + _SEPARATOR
        found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for part in self._all(prefix):
            rows = np.setdiff1d(part["rows"], part["unreadable"], assume_unique=True)
            for name in part:
                if name.startswith(prefix):
                    state = part[name]
                    found.setdefault(name.removeprefix(prefix), []).append((rows[: len(state)], state))
        return {name: _sorted_by_row(pieces) for name, pieces in found.items()}

    def drop(self, finished: Callable[[str], bool]) -> None:
        """Forget the partial results of what is finished, by its name."""
        self._held = [part for part in self._held if not all(finished(str(name)) for name in part["names"])]

    def _keep(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._held.append(arrays)

    def _all(self, prefix: str = "") -> Iterator[Mapping[str, np.ndarray]]:
        """Yield all of them; of their states, those that begin with a prefix are enough."""
        yield from self._held


def _sorted_by_row(pieces: list[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    rows, states = zip(*pieces, strict=True)
    return torch.from_numpy(np.concatenate(states)[np.concatenate(rows).argsort()])


def _array(state: Tensor) -> np.ndarray:
    return (state.float() if state.is_floating_point() else state).cpu().numpy()


class PartialResultFiles(PartialResults):
    """Partial results in a directory, one file each, which several processes may fill at the same time.

    Args:
        directory: It need not be there.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self._heads: dict[Path, Mapping[str, np.ndarray]] = {}

    def drop(self, finished: Callable[[str], bool]) -> None:
        """Remove the files of what is finished, by its name."""
        for path, part in zip(self._paths(), self._all(), strict=True):
            if all(finished(str(name)) for name in part["names"]):
                path.unlink(missing_ok=True)

    def _keep(self, arrays: Mapping[str, np.ndarray]) -> None:
        rows, names = arrays["rows"], arrays["names"]
        of = fingerprint_of({"rows": rows.tolist(), "names": names.tolist()})[:8]
        write_arrays(self.directory / f"rows-{rows[0]:07d}-{rows[-1]:07d}-{of}.npz", arrays, summed=True)

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("rows-*.npz"))

    def _all(self, prefix: str = "") -> Iterator[Mapping[str, np.ndarray]]:
        for path in self._paths():
            if path not in self._heads:  # a file is whole when it appears, and stays as it is
                self._heads[path] = read_arrays(path, _OF_EACH.__contains__, _HINT, summed=True)
                if missing := [name for name in _OF_EACH if name not in self._heads[path]]:
                    raise UserError(f"{path}: {missing[0]!r} is missing in it{_HINT}")
            head = self._heads[path]
            if prefix.split(_SEPARATOR)[0] in head["names"]:
                yield {**head, **read_arrays(path, lambda name: name.startswith(prefix), _HINT, summed=True)}
            else:
                yield head
