"""Any table of targets of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import isabs, normpath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.decoding import image_size
from solo_invariance.data.images import ImageFiles, ImageSource, TensorImages
from solo_invariance.data.parts import Role, for_test, part_name
from solo_invariance.errors import UserError
from solo_invariance.transfer.kinds import KINDS, KindName, kind_named
from solo_invariance.transfer.tasks.delimited import DELIMITERS
from solo_invariance.transfer.tasks.image_names import ImageNames
from solo_invariance.transfer.tasks.landmarks import framed_points
from solo_invariance.transfer.tasks.requirements import check_options
from solo_invariance.transfer.tasks.splits import Rows, draw, select, stratified_split
from solo_invariance.transfer.tasks.target_table import (
    Column,
    TableColumns,
    TargetColumn,
    TargetTable,
    joined,
    read_table,
)
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_OPTIONS = ("targets", "columns", "image", "split", "kind", "points", "delimiter")
_TEST_SHARE = 0.3
_NUMBERED: dict[str, Role] = {"0": "train", "1": "test"}


@dataclass(frozen=True)
class Table(Task):
    """Targets in a CSV or NPZ file, of images in ``settings.path``; what they are, their columns say.

    One column of whole numbers or words is classes, which are told apart as they are written; several columns of 0 and
    1 (or true and false) are labels; other numbers are regressed, in 64 bits. Columns that number the rows, as pandas
    writes them (without a name, ``Unnamed: 0``, ``index``), are none of the targets unless they are asked for. The
    split's column says ``train``, ``val`` or ``test``, or what people call them, or 0 and 1; what is for validation is
    for training where there is a test, and is the test where there is none. Without one, 0.3 of the images are the
    test, of each class where there are classes, drawn with ``settings.seed``.

    ``settings.options``:
        ``targets``: The file, as it is or below ``settings.path``, or one for each part, ``{train: FILE, test: FILE}``;
            a file that is called like a part, or is one's, names images in ``settings.path`` or in the folder in it
            that is called like that part. A CSV file's cells are delimited by commas,
            semicolons, tabs, bars or spaces; where its first line names an image, there is no header. An NPZ file has
            the arrays ``images``, file names or pixels, uint8 (N, H, W, 3), and ``targets``, (N,) or (N, T), or one
            array for each column.
        ``columns``: Names of the targets' columns; by default all that are nothing else.
        ``image``: The column of file names, relative to ``settings.path``, with their endings or without; by default
            the one whose first cells are such, or ``image`` or the like, or the first.
        ``split``: The split's column; by default ``split``, where there is one.
        ``kind``: ``classification``, ``multilabel`` or ``regression``, in place of what the columns look like.
        ``points``: Whether the columns are x and y of landmarks, in turns, in pixels of the image files (0 is the
            centre of the first column or row of pixels), and are to follow the images into the network's square.
        ``delimiter``: Of a CSV file's cells, where two would do; ``tab`` and ``space`` are words.

    Args:
        kind: What the targets are; ``resolve`` finds out.
        metric: The usual score of the kind.
        columns: Of the targets.
        remarks: On how the table was read.
    """

    kind: KindName = "classification"
    metric: str = "accuracy"
    columns: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def resolve(self, settings: TaskSettings) -> "Table":
        """Return the task with the kind that its options or its columns say.

        Raises:
            UserError: An option is unknown or of another type, or the table cannot be read, lacks a column, or has an
                empty cell.
        """
        options, table = _read(settings)
        kind = _kind(options, table)
        return Table(kind, kind_named(kind).usual_metric, tuple(table.targets), tuple(table.remarks))

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits.

        Raises:
            UserError: An option is unknown or of another type; the table cannot be read, lacks a column, has an empty
                cell, a target that is no finite number, an image twice, or one that is not there; or a split has no
                images, or a class none to train on. The message names file, row and column.
        """
        options, table = _read(settings)
        kind = _kind(options, table)
        images = _images(table, settings)
        targets = _points(table, images, settings) if options.points else _targets(table, kind)
        train_rows, test_rows = _rows(table, images, targets, settings)
        if kind == "classification":
            _check_classes(table, train_rows, test_rows)
        train, test = (select(Split(images, targets, _origin(table, rows)), rows) for rows in (train_rows, test_rows))
        return draw(train, "num_train", settings), draw(test, "num_test", settings)


class ClassesInTable(NamedTuple):
    """The classes that a column of a table tells images apart by.

    Args:
        images: Of all rows, N.
        names: What the classes are called, numbers in their order and then words.
        classes: (N,), the number of each image's class.
    """

    images: ImageSource
    names: list[str]
    classes: Tensor


def classes_in_table(file: Path, column: str, folder: str | None = None) -> ClassesInTable:
    """Return the images of a table with the classes of one of its columns, whatever parts its rows are of.

    Args:
        file: CSV or NPZ, as it is or below ``folder``.
        column: Its name.
        folder: Of the images, where the table names them.

    Raises:
        UserError: The table cannot be read, lacks the column, has an empty cell in it, or names an image twice or one
            that is not there; the message names file, row and column.
    """
    settings = TaskSettings(path=folder, options={"targets": str(file), "columns": [column], "kind": "classification"})
    _, table = _read(settings)
    images = _images(table, settings)
    if isinstance(images, ImageFiles):
        _check_twice(table, images, None)
    names, classes = _only_column(table).classes()
    return ClassesInTable(images, names, torch.from_numpy(classes))


@dataclass(frozen=True)
class _Options:
    files: Mapping[str, Path]
    columns: TableColumns
    kind: KindName | None
    points: bool


def _read(settings: TaskSettings) -> tuple[_Options, TargetTable]:
    options = _options(settings)
    tables = {part: _read_part(file, part, options, settings) for part, file in options.files.items()}
    return options, joined(tables) if len(tables) > 1 else next(iter(tables.values()))


def _read_part(file: Path, part: str, options: _Options, settings: TaskSettings) -> TargetTable:
    if settings.path is None:
        return read_table(file, options.columns)
    names = ImageNames(Path(settings.path), part or file.stem)
    table = read_table(file, options.columns, names)
    return (
        replace(table, images=np.array([names.spelt(name) for name in table.images.tolist()]))
        if _are_named(table)
        else table
    )


def _are_named(table: TargetTable) -> bool:
    return bool(table.images.dtype.kind == "U")


def _options(settings: TaskSettings) -> _Options:
    check_options(settings, *_OPTIONS)
    values = settings.options
    files = _files(values.get("targets"), settings)
    kind, points = values.get("kind"), values.get("points", False)
    if kind not in (None, *KINDS):
        raise UserError(f"task.options.kind={kind!r}: expected {', '.join(KINDS)}")
    if not isinstance(points, bool) or (points and kind not in (None, "regression")):
        raise UserError(f"task.options.points={points!r}: expected true or false, and true only for a regression")
    columns = TableColumns(
        _names(values, "columns"),
        _name(values, "image"),
        _name(values, "split"),
        kind == "classification",
        _chosen_delimiter(values),
    )
    return _Options(files, columns, kind, points)


def _files(given: Any, settings: TaskSettings) -> dict[str, Path]:
    """The tables by the parts that they are of; no part's where there is one table."""
    parts = given if isinstance(given, Mapping) else {"": given}
    roles = [_role(str(part)) for part in parts]
    wrong = isinstance(given, Mapping) and ("train" not in roles or len(parts) < 2 or {None, "unlabelled"} & {*roles})
    if wrong or not all(isinstance(file, str | Path) for file in parts.values()):
        raise UserError(
            f"task.options.targets={given!r}: expected the name of a CSV or NPZ file, or one for each part, "
            "{train: FILE, test: FILE}"
        )
    return {str(part): _find(Path(file), settings) for part, file in parts.items()}


def _name(values: Mapping[str, Any], key: str) -> str | None:
    value = _as_text(values.get(key))
    if value is not None and not (isinstance(value, str) and value):
        raise UserError(f"task.options.{key}={value!r}: expected the name of a column")
    return value


def _names(values: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = _as_text(values.get(key))
    names = [value] if isinstance(value, str) else value
    if names is None:
        return None
    names = [*map(_as_text, names)] if isinstance(names, list | tuple) else names
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"task.options.{key}={value!r}: expected a list of names of columns")
    return tuple(names)


def _as_text(value: Any) -> Any:
    """A column that is called 0 is named by a number in YAML."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _chosen_delimiter(values: Mapping[str, Any]) -> str | None:
    given = values.get("delimiter")
    if given is None or given in DELIMITERS:
        return given
    found = next((sign for sign, word in DELIMITERS.items() if word == given), None)
    if found is None:
        listed = ", ".join(map(repr, DELIMITERS.values()))
        raise UserError(f"task.options.delimiter={given!r}: expected one of {listed}")
    return found


def _find(file: Path, settings: TaskSettings) -> Path:
    places = [file] if settings.path is None else [file, Path(settings.path) / file]
    for place in places:
        if place.is_file():
            return place
    tried = [*dict.fromkeys(map(str, places))]
    raise UserError(f"task.options.targets: no such file, {'neither ' * (len(tried) > 1)}{' nor '.join(tried)}")


def _kind(options: _Options, table: TargetTable) -> KindName:
    columns = list(table.targets.values())
    if options.kind is not None or options.points:
        return options.kind or "regression"
    if len(columns) == 1:
        return "classification" if columns[0].is_words or columns[0].is_whole else "regression"
    return "multilabel" if all(column.is_binary for column in columns) else "regression"


def _images(table: TargetTable, settings: TaskSettings) -> ImageSource:
    if not _are_named(table):
        return TensorImages(torch.from_numpy(table.images).permute(0, 3, 1, 2), name=f"{table.file} row")
    if settings.path is None:
        raise UserError(f"task.path is not set, expected the folder of the images in {table.file}")
    # Absolute, where a name is: files of both kinds have no folder in common.
    folder = Path(settings.path).absolute() if any(map(isabs, table.images.tolist())) else Path(settings.path)
    names = ImageNames(folder)
    paths = [names.find(name) for name in table.images.tolist()]
    if None in paths:
        missing = paths.index(None)
        raise UserError(f"{table.file}: {table.rows[missing]}: no such image, {folder / table.images[missing]}")
    return ImageFiles.of([path for path in paths if path is not None])


def _targets(table: TargetTable, kind: KindName) -> Tensor:
    if kind == "classification":
        return torch.from_numpy(_only_column(table).classes()[1])
    columns = {name: _numbers(table, name) for name in table.targets}
    stacked = np.stack(list(columns.values()), axis=1)
    if kind == "regression":
        return torch.from_numpy(stacked)
    for name, column in columns.items():
        if not np.isin(column, (0, 1)).all():
            row = int(np.isin(column, (0, 1)).argmin())
            raise table.complain(row, name, f"{column[row]:g}, expected 0 or 1 for a label")
    return torch.from_numpy(stacked == 1)


def _only_column(table: TargetTable) -> TargetColumn:
    if len(table.targets) > 1:
        raise UserError(f"{table.file}: columns {', '.join(table.targets)}, expected one column of classes")
    (column,) = table.targets.values()
    return column


def _numbers(table: TargetTable, name: str) -> Column:
    column = table.targets[name]
    if column.is_words:
        alone = f"; task.options.columns=['{name}'] takes it alone, as classes" if len(table.targets) > 1 else ""
        raise table.complain(0, name, f"{str(column.names[0])!r} is not a number{alone}")
    values = column.values.astype(np.float64)
    if not np.isfinite(values).all():
        raise table.complain(int(np.isfinite(values).argmin()), name, "not finite (NaN or inf)")
    if column.is_whole and len(np.unique(values)) < column.num_whole():
        raise table.complain(0, name, "whole numbers that 64-bit floating point merges: take off what they share")
    return values


def _points(table: TargetTable, images: ImageSource, settings: TaskSettings) -> Tensor:
    columns = [_numbers(table, name) for name in table.targets]
    if len(columns) % 2:
        raise UserError(f"{table.file}: {len(columns)} columns, expected x and y of each point: an even number")
    points = torch.from_numpy(np.stack(columns, axis=1)).reshape(len(images), -1, 2)
    if isinstance(images, ImageFiles):
        sizes = [image_size(path) for path in images.paths]
    else:
        sizes = [(table.images.shape[2], table.images.shape[1])] * len(images)
    return framed_points(points, sizes, settings.crop_size)


def _rows(table: TargetTable, images: ImageSource, targets: Tensor, settings: TaskSettings) -> tuple[Rows, Rows]:
    in_test = None if table.splits is None else _in_test(table, table.splits)
    if isinstance(images, ImageFiles):
        _check_twice(table, images, in_test)
    if in_test is not None:
        return np.flatnonzero(~in_test), np.flatnonzero(in_test)
    classes = targets if targets.ndim == 1 else torch.zeros(len(targets), dtype=torch.int64)
    alone = classes.bincount()[classes] < 2
    if alone.any():
        row = int(alone.int().argmax())
        if targets.ndim > 1:
            raise UserError(f"{table.file}: one row, expected at least two, to train and to test on")
        name, column = next(iter(table.targets.items()))
        reason = f"the only image of class {column.names[row].item()!r}, expected at least two, to train and to test on"
        raise table.complain(row, name, f"{reason}; task.options.kind=regression takes numbers as numbers")
    return stratified_split(classes, _TEST_SHARE, settings.seed)


def _in_test(table: TargetTable, splits: Column) -> Column:
    values = splits.tolist()
    roles = {value: _role(value) for value in values}
    for row, value in enumerate(values):
        if roles[value] in (None, "unlabelled"):
            expected = "one of train, val, test, 0, 1"
            raise UserError(f"{table.file}: {table.rows[row]}: split {value!r}, expected {expected}")
    tested = for_test(role for role in roles.values() if role)
    in_test = np.array([roles[value] == tested for value in values])
    if in_test.all() or not in_test.any():
        missing = "train" if in_test.all() else "test"
        raise UserError(f"{table.file}: all {len(in_test)} rows are of one split, none is for {missing}")
    return in_test


def _origin(table: TargetTable, rows: Rows) -> str:
    """What the split's column calls these rows."""
    if table.splits is None:
        return f"{len(rows)} of {len(table.images)} rows, drawn by seed"
    return f"rows of split {', '.join(np.unique(table.splits[rows]).tolist())}"


def _role(value: str) -> Role | None:
    found = part_name(value)
    return _NUMBERED.get(value) or (found.role if found and not found.affix else None)


def _check_twice(table: TargetTable, images: ImageFiles, in_test: Column | None) -> None:
    seen: dict[str, int] = {}
    for row, path in enumerate(images.paths):
        first = seen.setdefault(normpath(path), row)
        if first != row:
            both = in_test is not None and in_test[first] != in_test[row]
            where = "in both splits" if both else "there twice"
            name = table.images[row]
            raise UserError(f"{table.file}: image {name} is {where}, in {table.rows[first]} and {table.rows[row]}")


def _check_classes(table: TargetTable, train_rows: Rows, test_rows: Rows) -> None:
    column = _only_column(table).names
    unknown = ~np.isin(column[test_rows], column[train_rows])
    if unknown.any():
        row = int(test_rows[unknown.argmax()])
        raise table.complain(
            row,
            next(iter(table.targets)),
            f"class {column[row].item()!r} is only in the test split, never in training; "
            "task.options.kind=regression takes numbers as numbers",
        )


table = Table()
