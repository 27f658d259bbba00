"""Tables of targets, as CSV or NPZ files."""

import csv
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solo_invariance.errors import UserError

Column = npt.NDArray[Any]

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_TRUTH = {"true": 1, "false": 0}


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table are what.

    Args:
        targets: Their names; None for ``targets`` of an NPZ file, or else all that are nothing else.
        image: The column of images; None for ``image`` (NPZ: ``images``), or else the first.
        split: The column that says which split an image is in; None for ``split``, where there is one.
        names: The targets are names of classes, even where they look like numbers.
    """

    targets: tuple[str, ...] | None = None
    image: str | None = None
    split: str | None = None
    names: bool = False


@dataclass(frozen=True)
class TargetTable:
    """A table of N images and what they are.

    Args:
        file: Where from.
        images: File names, (N,), or pixels, uint8 (N, H, W, 3).
        targets: The columns: (N,) integers, floating-point numbers, truth values or words.
        splits: What the split's column says, (N,), where there is one.
        rows: What to call the rows in a message.
    """

    file: Path
    images: Column
    targets: Mapping[str, Column]
    splits: Column | None
    rows: Sequence[str]

    def complain(self, row: int, column: str, what: str) -> UserError:
        """Return the error that a cell is wrong."""
        return UserError(f"{self.file}: {self.rows[row]}, column {column!r}: {what}")


def read_table(file: Path, columns: TableColumns) -> TargetTable:
    """Read a table of targets: an NPZ file by its suffix, or else a CSV file with a header.

    Raises:
        UserError: It cannot be read, is empty, lacks a column, or a cell is empty or not of its column's type; the
            message names file, row and column.
    """
    table = _read_npz(file, columns) if file.suffix.lower() == ".npz" else _read_csv(file, columns)
    if not len(table.images):
        raise UserError(f"{file}: no rows, expected one for each image")
    if not table.targets:
        raise UserError(f"{file}: no columns of targets beside that of the images")
    return table


def _read_csv(file: Path, columns: TableColumns) -> TargetTable:
    header, lines = _read_cells(file)
    image = columns.image or ("image" if "image" in header else header[0])
    split = columns.split or ("split" if "split" in header else None)
    targets = columns.targets or tuple(name for name in header if name not in (image, split))
    _require_columns(file, header, (image, *([split] if split else []), *targets))
    rows = [f"line {number}" for number, _ in lines]
    cells = {name: [line[place] for _, line in lines] for place, name in enumerate(header)}
    table = TargetTable(file, np.array(cells[image]), {}, np.array(cells[split]) if split else None, rows)
    for name in (image, *([split] if split else []), *targets):
        if "" in cells[name]:
            raise table.complain(cells[name].index(""), name, "empty")
    parsed = {name: np.array(cells[name]) if columns.names else _parse(table, name, cells[name]) for name in targets}
    return TargetTable(file, table.images, parsed, table.splits, rows)


def _read_cells(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the lines that are not blank with their numbers."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a readable CSV file ({error})") from error
    if not lines:
        raise UserError(f"{file}: empty, expected a header and a line for each image")
    (_, header), *rest = lines
    if len({*header}) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UserError(f"{file}: two columns are called {twice!r}")
    for number, cells in rest:
        if len(cells) != len(header):
            raise UserError(f"{file}: line {number} has {len(cells)} cells, expected {len(header)} as in the header")
    return header, rest


def _require_columns(file: Path, known: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UserError(f"{file}: no column {name!r}, there are {', '.join(known)}")
        if wanted.count(name) > 1:
            raise UserError(f"{file}: column {name!r} is asked for twice, as a target, an image or a split")


def _parse(table: TargetTable, name: str, cells: Sequence[str]) -> Column:
    numbers = [_number(cell) for cell in cells]
    words = [row for row, number in enumerate(numbers) if number is None]
    if not words:
        return np.array(numbers)
    if len(words) == len(cells):
        return np.array(cells)
    odd = words[0] if 2 * len(words) <= len(cells) else numbers.index(next(n for n in numbers if n is not None))
    kind = "not a number, as others in the column are" if odd in words else "a number, but others in the column are not"
    raise table.complain(odd, name, f"{cells[odd]!r} is {kind}; task.options.kind=classification takes all as names")


def _number(cell: str) -> int | float | None:
    if _WHOLE_NUMBER.fullmatch(cell):
        return int(cell)
    if cell.lower() in _TRUTH:
        return _TRUTH[cell.lower()]
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _read_npz(file: Path, columns: TableColumns) -> TargetTable:
    arrays = _read_arrays(file)
    image, split = columns.image or "images", columns.split or ("split" if "split" in arrays else None)
    rest = tuple(name for name in arrays if name not in (image, split))
    targets = columns.targets or (("targets",) if "targets" in arrays else rest)
    _require_columns(file, list(arrays), (image, *([split] if split else []), *targets))
    images = arrays[image]
    if not _are_images(images):
        raise UserError(f"{file}: {_described(image, images)}, expected names of files (N,) or uint8 (N, H, W, 3)")
    for name in (*targets, *([split] if split else [])):
        array = arrays[name]
        if array.shape[:1] != (len(images),) or array.dtype.kind not in "biufU" or (name == split and array.ndim > 1):
            raise UserError(f"{file}: {_described(name, array)}, expected numbers or words for {len(images)} images")
    flat = {key: column for name in targets for key, column in _flatten(name, arrays[name]).items()}
    rows = [f"row {row}" for row in range(len(images))]
    return TargetTable(file, images, flat, arrays[split].astype(str) if split else None, rows)


def _are_images(array: Column) -> bool:
    if array.dtype.kind == "U":
        return array.ndim == 1
    return array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3


def _described(name: str, array: Column) -> str:
    return f"{name!r} is {array.dtype} of shape {array.shape}"


def _read_arrays(file: Path) -> dict[str, Column]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file}: not a readable NPZ file of arrays ({error})") from error


def _flatten(name: str, array: Column) -> dict[str, Column]:
    """The columns of an array, (N,) or (N, ...)."""
    if array.ndim == 1:
        return {name: array}
    return {f"{name}[{place}]": column for place, column in enumerate(array.reshape(len(array), -1).T)}
