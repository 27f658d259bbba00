"""Read a study's numbers from the results of its runs, and what they are on resampled test images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from solo_invariance.errors import UserError
from solo_invariance.measure.comparison import resampled_together
from solo_invariance.results import InvarianceResult, TransferResult
from solo_invariance.results.invariance import INVARIANCE_FILE
from solo_invariance.results.transfer import TRANSFER_FILE
from solo_invariance.study.instances import Runs
from solo_invariance.transfer.comparison import ScoredRun

Array = NDArray[np.float64]

Cell = TypeVar("Cell")

RESAMPLES = 1000
METRIC = "width_matched_similarity"


class Column(NamedTuple):
    """A quantity of I instances, (I,), and on B draws of its test images, (B, I); nan where it was not measured."""

    values: Array
    draws: Array
    unit: str
    kind: str
    num_images: int


@dataclass(frozen=True)
class _Measured:
    """A change that was measured, and where."""

    result: InvarianceResult
    run: Path
    change: str

    @property
    def entry(self) -> tuple[str, float]:
        """Its kind, and the number.

        Raises:
            UserError: It was measured without the number.
        """
        one = {**self.result.transforms, **self.result.views}[self.change]
        found = one.metrics.get(METRIC)
        if found is None:
            raise UserError(f"{self.result.file}: {self.change}: has no {METRIC}; measure it with matched_width=64")
        return one.kind, found.mean


def read_columns(runs: Sequence[Runs], seed: int) -> dict[str, Column]:
    """Return all quantities of a study, invariances first, in the order in which runs have them.

    Args:
        runs: I of them.
        seed: Of the draws of test images.

    Raises:
        UserError: A file is missing or broken, or results cannot be compared: the message says which, and why.
    """
    measured: dict[str, dict[int, _Measured]] = {}
    scored: dict[str, dict[int, TransferResult]] = {}
    for index, one in enumerate(runs):
        for quantity, found in _measured_in(one.measured):
            _put(measured, quantity, index, found, found.run)
        for prefix, directories in (("score", one.scored), ("projected", one.projected)):
            for directory in directories:
                result = TransferResult.read(directory / TRANSFER_FILE)
                _put(scored, f"{prefix}/{result.task}", index, result, directory)
    order = ("invariance", "views", "score", "projected")
    columns = {name: _of_measured(cells, len(runs), seed) for name, cells in measured.items()}
    columns |= {name: _of_scored(cells, len(runs), seed) for name, cells in scored.items()}
    return {name: columns[name] for name in sorted(columns, key=lambda name: order.index(name.partition("/")[0]))}


def _measured_in(directories: Sequence[Path]) -> Iterator[tuple[str, _Measured]]:
    for directory in directories:
        result = InvarianceResult.read(directory / INVARIANCE_FILE)
        for prefix, changes in (("invariance", result.transforms), ("views", result.views)):
            for change in changes:
                yield f"{prefix}/{change}", _Measured(result, directory, change)


def _put(cells: dict[str, dict[int, Cell]], quantity: str, index: int, found: Cell, run: Path) -> None:
    of_quantity = cells.setdefault(quantity, {})
    if index in of_quantity:
        raise UserError(f"{run}: {quantity} is in another of the backbone's results, too")
    of_quantity[index] = found


def _of_measured(cells: Mapping[int, _Measured], count: int, seed: int) -> Column:
    first, *others = cells.values()
    for one in others:
        for key in ("protocol", "matched_width"):
            here, there = getattr(one.result, key), getattr(first.result, key)
            if here != there:
                raise UserError(f"{one.result.file}: its {key} is {here}, that of {first.result.file} {there}")
    draws, num_images = resampled_together([one.run for one in cells.values()], first.change, METRIC, seed, RESAMPLES)
    values = [one.entry[1] for one in cells.values()]
    return _column(cells, values, draws, count, "similarity", first.entry[0], num_images)


def _of_scored(cells: Mapping[int, TransferResult], count: int, seed: int) -> Column:
    first, *others = (ScoredRun.of(result) for result in cells.values())
    for other in others:
        try:
            other.require_same(first, first.result.file)
        except UserError as error:
            raise UserError(f"{other.result.file}: {error}") from error
    samples = [one.resampled(seed) for one in (first, *others)]
    draws = np.stack([one.samples.double().numpy() for one in samples], axis=1)
    values = [result.mean_score for result in cells.values()]
    return _column(cells, values, draws, count, first.result.metric, "", samples[0].num_images)


def _column(
    cells: Mapping[int, object], values: Sequence[float], draws: Array, count: int, unit: str, kind: str, num: int
) -> Column:
    """Put the numbers of those that have them in their places."""
    places = list(cells)
    all_values, all_draws = np.full(count, np.nan), np.full((len(draws), count), np.nan)
    all_values[places], all_draws[:, places] = values, draws
    return Column(all_values, all_draws, unit, kind, num)
