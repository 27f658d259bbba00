"""Tables of targets, as CSV or NPZ files."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solo_invariance.data.listing import is_image
from solo_invariance.errors import UserError
from solo_invariance.results.files import read_arrays
from solo_invariance.transfer.tasks.delimited import Line, read_lines
from solo_invariance.transfer.tasks.image_names import ImageNames

Column = npt.NDArray[Any]

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_TRUTH = {"true": 1, "false": 0}
_LONGEST_INT64 = 18
# How pandas names a column that a file does not, which most often are a table's row numbers.
_NAMELESS = re.compile(r"(Unnamed: [0-9]+.*)?")
_ROW_NUMBERS = ("index", "idx", "id", "row", "rows", "row_id", "row_number", "rownames", "level_0", "no", "nr", "#")
_IMAGES = (
    *("image", "images", "file", "filename", "file_name", "filepath", "file_path", "path", "image_path", "image_name"),
    *("image_file", "img", "img_path", "img_name"),
)
_IMAGES_WITHOUT_ENDING = ("image_id", "img_id", "id", "name")
_LOOKED_AT = 3  # rows, to see whether a column has images


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table are what.

    Args:
        targets: Their names; None for ``targets`` of an NPZ file, or else all that are nothing else.
        image: The column of images; None for ``image`` (NPZ: ``images``), or else the first.
        split: The column that says which split an image is in; None for ``split``, where there is one.
        names: The targets are names of classes, even where they look like numbers.
        delimiter: Of a CSV file's cells; None for the one that it seems to have.
    """

    targets: tuple[str, ...] | None = None
    image: str | None = None
    split: str | None = None
    names: bool = False
    delimiter: str | None = None


@dataclass(frozen=True)
class TargetColumn:
    """A column of targets.

    Args:
        values: (N,) integers, floating-point numbers, truth values or words.
        texts: As they are in a text file, where the column is of one, (N,): names of classes are distinct as such.
        is_whole: Whether all are whole numbers or truth values, which may be classes or labels.
    """

    values: Column
    texts: Column | None
    is_whole: bool

    @property
    def is_words(self) -> bool:
        """Whether it has words."""
        return self.values.dtype.kind == "U"

    @property
    def names(self) -> Column:
        """What each row's class is called."""
        return self.values if self.texts is None else self.texts

    @property
    def is_binary(self) -> bool:
        """Whether all are 0 or 1."""
        return self.is_whole and bool(np.isin(self.values, (0, 1)).all())

    def numbers_rows(self) -> bool:
        """Whether it has the rows' numbers, from 0 or 1."""
        if not self.is_whole or self.values.dtype.kind == "b":
            return False
        return any(np.array_equal(self.values, np.arange(first, len(self.values) + first)) for first in (0, 1))

    def num_whole(self) -> int:
        """Return how many different whole numbers it has, however large they are."""
        if self.texts is None or self.values.dtype.kind != "f":
            return len(np.unique(self.values))
        return len({int(cell) for cell in self.texts.tolist() if cell.lower() not in _TRUTH})

    def classes(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return what the classes are called, numbers in their order and then words, and each row's class, (N,)."""
        names, first, inverse = np.unique(self.names, return_index=True, return_inverse=True)
        order = sorted(range(len(names)), key=lambda index: (self.values[first[index]], names[index]))
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        return [str(names[index]) for index in order], places[inverse]


@dataclass(frozen=True)
class TargetTable:
    """A table of N images and what they are.

    Args:
        file: Where from.
        images: File names, (N,), or pixels, uint8 (N, H, W, 3).
        targets: The columns.
        splits: What the split's column says, (N,), where there is one.
        rows: What to call the rows in a message.
        remarks: What is to be said of how the table was read, in sentences without an end.
    """

    file: Path
    images: Column
    targets: Mapping[str, TargetColumn]
    splits: Column | None
    rows: Sequence[str]
    remarks: Sequence[str] = ()

    def complain(self, row: int, column: str, what: str) -> UserError:
        """Return the error that a cell is wrong."""
        return UserError(f"{self.file}: {self.rows[row]}, column {column!r}: {what}")


def read_table(file: Path, columns: TableColumns, images: ImageNames | None = None) -> TargetTable:
    """Read a table of targets: an NPZ file by its suffix, or else a text file whose cells are delimited.

    A text file whose first line names an image has no header: its columns are called ``column 1`` and so on. Columns
    that number the rows, as pandas writes them, are no targets unless they are asked for.

    Args:
        file: The table.
        columns: Which columns are what.
        images: Finds the images of a text file, by which its columns are told apart where names do not.

    Raises:
        UserError: It cannot be read, is empty, lacks a column, or a cell is empty or not of its column's type; the
            message names file, row and column.
    """
    is_npz = file.suffix.lower() == ".npz"
    table = _read_npz(file, columns) if is_npz else _read_csv(file, columns, images)
    if not len(table.images):
        raise UserError(f"{file}: no rows, expected one for each image")
    if not table.targets:
        raise UserError(f"{file}: no columns of targets beside that of the images")
    return table if columns.targets else _without_row_numbers(table)


def joined(tables: Mapping[str, TargetTable]) -> TargetTable:
    """Return the tables of a dataset's parts as one, whose splits are the parts.

    Args:
        tables: By the part's name, at least one.

    Raises:
        UserError: They have other columns, or other things in them.
    """
    first, *others = tables.values()
    for other in others:
        if list(other.targets) != list(first.targets):
            raise UserError(
                f"{other.file}: targets {_shown(other.targets)}, but {first.file} has {_shown(first.targets)}; "
                "task.options.columns chooses those that both have"
            )
    images = [table.images for table in tables.values()]
    if len({(array.dtype.kind, array.shape[1:]) for array in images}) > 1:
        raise UserError(f"{others[0].file}: images of another kind or size than in {first.file}")
    return TargetTable(
        file=Path(" and ".join(str(table.file) for table in tables.values())),
        images=np.concatenate(images),
        targets={name: _one_column(name, [*tables.values()]) for name in first.targets},
        splits=np.concatenate([np.full(len(table.images), part) for part, table in tables.items()]),
        rows=[f"{table.file.name} {row}" for table in tables.values() for row in table.rows],
        remarks=[*dict.fromkeys(remark for table in tables.values() for remark in table.remarks)],
    )


def _one_column(name: str, tables: Sequence[TargetTable]) -> TargetColumn:
    columns = [table.targets[name] for table in tables]
    odd = next((table for table in tables if table.targets[name].is_words != columns[0].is_words), None)
    if odd is not None:
        kinds = ("words", "numbers") if columns[0].is_words else ("numbers", "words")
        raise UserError(f"{odd.file}: column {name!r} has {kinds[1]}, but {kinds[0]} in {tables[0].file}")
    texts = [column.texts for column in columns if column.texts is not None]
    return TargetColumn(
        np.concatenate([column.values for column in columns]),
        np.concatenate(texts) if len(texts) == len(columns) else None,
        all(column.is_whole for column in columns),
    )


def _shown(names: Iterable[str]) -> str:
    names = [*names]
    return ", ".join(names[:_LOOKED_AT]) + (f", ... ({len(names)})" if len(names) > _LOOKED_AT else "")


def _without_row_numbers(table: TargetTable) -> TargetTable:
    """Leave out columns that number the rows and have the name of such, and remark on others that do."""
    rows = {name for name, column in table.targets.items() if _is_row_number(name, column)}
    kept = {name: column for name, column in table.targets.items() if name not in rows}
    if not kept:
        name = next(iter(rows))
        raise UserError(
            f"{table.file}: column {name!r} numbers the rows, and there is no other of targets; "
            f"task.options.columns=['{name}'] takes it"
        )
    nameless = next((name for name in kept if _NAMELESS.fullmatch(name)), None)
    if nameless is not None:
        raise UserError(
            f"{table.file}: column {nameless!r} has no name, and is no row number: name it, or choose the targets by "
            f"task.options.columns"
        )
    left_out = [f"column {name!r} numbers the rows and is no target" for name in table.targets if name in rows]
    odd = [
        f"column {name!r} is a target, though it numbers the rows"
        for name, column in kept.items()
        if column.numbers_rows()
    ]
    return replace(table, targets=kept, remarks=[*table.remarks, *left_out, *odd])


def _is_row_number(name: str, column: TargetColumn) -> bool:
    if _NAMELESS.fullmatch(name):  # of some rows of a larger table, or in another order
        return column.is_whole and len(np.unique(column.values)) == len(column.values)
    return name.casefold() in _ROW_NUMBERS and column.numbers_rows()


def _read_csv(file: Path, columns: TableColumns, images: ImageNames | None) -> TargetTable:
    lines = read_lines(file, columns.delimiter)
    has_header = images is None or not _names_an_image(lines, images)
    header = lines[0].cells if has_header else [f"column {place}" for place in range(1, len(lines[0].cells) + 1)]
    lines = lines[has_header:]
    _refuse_twice(file, header)
    cells = {name: [line.cells[place] for line in lines] for place, name in enumerate(header)}
    image = columns.image or _image_column(cells, images)
    split = columns.split or _named(header, ("split",))
    targets = columns.targets or tuple(name for name in header if name not in (image, split))
    _require_columns(file, header, (image, *([split] if split else []), *targets))
    rows = [f"line {line.number}" for line in lines]
    remarks = [] if has_header else ["the first line names an image: there is no header"]
    table = TargetTable(file, np.array(cells[image]), {}, np.array(cells[split]) if split else None, rows, remarks)
    for name in (image, *([split] if split else []), *targets):
        if "" in cells[name]:
            raise table.complain(cells[name].index(""), name, "empty")
    parsed = {name: _words(cells[name]) if columns.names else _parse(table, name, cells[name]) for name in targets}
    return replace(table, targets=parsed)


def _names_an_image(lines: Sequence[Line], images: ImageNames) -> bool:
    """Whether the first line is one of an image, and not of the columns' names."""
    first = lines[0].cells
    if any(images.file(cell) for cell in first):
        return True
    if any(cell.casefold() in (*_IMAGES, *_IMAGES_WITHOUT_ENDING, *_ROW_NUMBERS) for cell in first):
        return False
    return all(images.by_stem(line.cells[0]) for line in lines[:_LOOKED_AT])


def _refuse_twice(file: Path, header: Sequence[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{file}: two columns are called {name!r}" if name else f"{file}: two columns have no name")


def _image_column(cells: Mapping[str, Sequence[str]], images: ImageNames | None) -> str:
    """Return the column whose first cells are images; or else has the name of one, or is the first."""
    if images is not None:
        shown = [name for name in cells if cells[name] and all(map(images.file, cells[name][:_LOOKED_AT]))]
        if shown:
            return _named(shown, _IMAGES) or shown[0]
    named = _named(cells, _IMAGES) or next((name for name, column in cells.items() if _are_files(column)), None)
    if named is not None or images is None:
        return named or next(iter(cells))
    without_ending = _named(cells, _IMAGES_WITHOUT_ENDING)
    if without_ending is not None and all(map(images.by_stem, cells[without_ending][:_LOOKED_AT])):
        return without_ending
    return next((name for name in cells if not _NAMELESS.fullmatch(name)), next(iter(cells)))


def _are_files(cells: Sequence[str]) -> bool:
    """Whether the first cells of a column are the names of image files, wherever these are."""
    return bool(cells) and all(map(is_image, cells[:_LOOKED_AT]))


def _named(header: Iterable[str], names: Sequence[str]) -> str | None:
    """Return the column that has the first of some names that one has, in any capitals."""
    known = {name.casefold(): name for name in header}
    return next((known[name] for name in names if name in known), None)


def _require_columns(file: Path, known: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UserError(f"{file}: no column {name!r}, there are {', '.join(known)}")
        if wanted.count(name) > 1:
            raise UserError(f"{file}: column {name!r} is asked for twice, as a target, an image or a split")


def _words(cells: Sequence[str]) -> TargetColumn:
    return TargetColumn(np.array(cells), np.array(cells), is_whole=False)


def _parse(table: TargetTable, name: str, cells: Sequence[str]) -> TargetColumn:
    numbers = [_number(cell) for cell in cells]
    words = [row for row, number in enumerate(numbers) if number is None]
    if not words:
        is_whole = all(_WHOLE_NUMBER.fullmatch(cell) or cell.lower() in _TRUTH for cell in cells)
        return TargetColumn(np.array(numbers), np.array(cells), is_whole)
    if len(words) < len(cells) or _DECIMAL_COMMA.fullmatch(cells[0]):
        _refuse_commas(table, name, cells, numbers)
    # Among words, nan and inf are words, too.
    true = [row for row, number in enumerate(numbers) if number is not None and math.isfinite(number)]
    if not true:
        return _words(cells)
    odd = words[0] if 2 * len(words) <= len(cells) else true[0]
    kind = "not a number, as others in the column are" if odd in words else "a number, but others in the column are not"
    raise table.complain(odd, name, f"{cells[odd]!r} is {kind}; task.options.kind=classification takes all as names")


def _refuse_commas(table: TargetTable, name: str, cells: Sequence[str], numbers: Sequence[int | float | None]) -> None:
    """Raise UserError where what is no number is one with a comma."""
    if all(_DECIMAL_COMMA.fullmatch(cell) for cell, number in zip(cells, numbers, strict=True) if number is None):
        row = next(row for row, number in enumerate(numbers) if number is None)
        reason = "numbers are written with a point, 0.5; task.options.kind=classification takes all as names"
        raise table.complain(row, name, f"{cells[row]!r}: {reason}")


def _number(cell: str) -> int | float | None:
    if _WHOLE_NUMBER.fullmatch(cell):
        return int(cell) if len(cell) <= _LONGEST_INT64 else float(cell)
    if cell.lower() in _TRUTH:
        return _TRUTH[cell.lower()]
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _read_npz(file: Path, columns: TableColumns) -> TargetTable:
    arrays = read_arrays(file)
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
    flat = {
        key: TargetColumn(column, None, column.dtype.kind in "biu")
        for name in targets
        for key, column in _flatten(name, arrays[name]).items()
    }
    rows = [f"row {row}" for row in range(len(images))]
    return TargetTable(file, images, flat, arrays[split].astype(str) if split else None, rows)


def _are_images(array: Column) -> bool:
    if array.dtype.kind == "U":
        return array.ndim == 1
    return array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3


def _described(name: str, array: Column) -> str:
    return f"{name!r} is {array.dtype} of shape {array.shape}"


def _flatten(name: str, array: Column) -> dict[str, Column]:
    """The columns of an array, (N,) or (N, ...)."""
    if array.ndim == 1:
        return {name: array}
    return {f"{name}[{place}]": column for place, column in enumerate(array.reshape(len(array), -1).T)}
