"""The cells of a text file with a line for each image, however it delimits them."""

import codecs
import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from solo_invariance.errors import UserError

DELIMITERS = {",": ",", ";": ";", "\t": "tab", "|": "|", " ": "space"}
"""Those that are recognised, with what to call them."""

_OTHER_FORMATS = (
    *(".json", ".jsonl", ".yaml", ".yml", ".xml", ".html", ".xls", ".xlsx", ".ods", ".parquet", ".feather"),
    *(".npy", ".pkl", ".pickle", ".pt", ".h5", ".hdf5", ".mat"),
)
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_EXCELS_HINT = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


class Line(NamedTuple):
    """The cells of a line, without the blanks around them.

    Args:
        number: Of the line in the file, from 1; of the last where quoted cells have several.
        cells: As they are.
    """

    number: int
    cells: list[str]


def read_lines(file: Path, delimiter: str | None = None) -> list[Line]:
    """Return the lines of a text file that are neither blank nor comments (``#`` before the first).

    The delimiter is the one of comma, semicolon, tab, bar and, where there is none of these, space that cuts all lines
    into as many cells, and more of them than another one. Text is UTF-8, or UTF-16 with its byte-order mark. Cells may
    be quoted. Empty cells at the ends of lines, where the first line has none, are left out.

    Args:
        file: With a line for each image, and perhaps one that names the columns before them.
        delimiter: By which cells are delimited, where that is known.

    Raises:
        UserError: The file cannot be read, holds something else, is empty, or lines differ in their number of cells;
            or two delimiters would do.
    """
    if file.suffix.lower() in _OTHER_FORMATS:
        raise UserError(
            f"{file}: expected a CSV file or an NPZ file, not {file.suffix}; pandas writes one by "
            f"to_csv('{file.stem}.csv', index=False)"
        )
    text = _text(file)
    hint = _EXCELS_HINT.match(text)
    if hint is not None:
        delimiter, text = delimiter or hint[1], "\n" + text[hint.end() :]  # the others keep their numbers
    lines = _cut_alike(file, text) if delimiter is None else _cut(file, text, delimiter)
    if not lines:
        raise UserError(f"{file}: empty, expected a header and a line for each image")
    for number, cells in lines[1:]:
        if len(cells) != len(lines[0].cells):
            expected = len(lines[0].cells)
            raise UserError(f"{file}: line {number} has {len(cells)} cells, expected {expected} as in the header")
    return lines


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: not a readable CSV file ({error.strerror})") from error
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}: line {line} is no UTF-8 text: save the table as CSV in UTF-8") from error
    if "\0" in text:
        raise UserError(f"{file}: no text in UTF-8: save the table as CSV in UTF-8")
    return text


def _cut_alike(file: Path, text: str) -> list[Line]:
    """Return the lines as the delimiter cuts them that cuts all alike, into the most cells."""
    *usual, space = DELIMITERS
    alike = {one: lines for one in usual if (lines := _alike(text, one))}
    if not alike:
        most = max(usual, key=lambda one: _first_width(text, one))
        return (_first_width(text, most) == 1 and _alike(text, space)) or _cut(file, text, most)
    widest = max(len(lines[0].cells) for lines in alike.values())
    best = [one for one, lines in alike.items() if len(lines[0].cells) == widest]
    if len(best) > 1:
        named = " and ".join(f"{DELIMITERS[one]!r}" for one in best)
        raise UserError(f"{file}: {named} delimit cells alike; say which by task.options.delimiter")
    return alike[best[0]]


def _alike(text: str, delimiter: str) -> list[Line]:
    """Return the lines where a delimiter cuts all into as many cells, and more than one; none elsewhere."""
    if _first_width(text, delimiter) == 1:  # which takes no time
        return []
    try:
        lines = _lines(text, delimiter)
    except csv.Error:
        return []
    widths = {len(line.cells) for line in lines}
    return lines if len(widths) == 1 and widths != {1} else []


def _first_width(text: str, delimiter: str) -> int:
    lines = (line for line in io.StringIO(text) if line.strip() and not line.startswith("#"))
    return len(next(lines, "").split(delimiter))


def _cut(file: Path, text: str, delimiter: str) -> list[Line]:
    try:
        return _lines(text, delimiter)
    except csv.Error as error:
        raise UserError(f"{file}: not a readable CSV file ({error})") from error


def _lines(text: str, delimiter: str) -> list[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    found: list[Line] = []
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells) and (found or not cells[0].startswith("#")):
            found.append(Line(reader.line_num, cells))
    return _without_trailing(found)


def _without_trailing(lines: list[Line]) -> list[Line]:
    """Leave out what is empty at the end of all lines, and what lines have at theirs, empty, beyond the first."""
    named = max((place for line in lines[:1] for place, cell in enumerate(line.cells, 1) if cell), default=0)
    if any(any(line.cells[named : len(lines[0].cells)]) for line in lines[1:]):
        named = len(lines[0].cells)  # a column without a name
    return [Line(number, cells if any(cells[named:]) else cells[:named]) for number, cells in lines]
