"""Where each number comes from: what the section on provenance says of a result file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from solo_invariance.report.collect import Row
from solo_invariance.report.grids import readable
from solo_invariance.results import InvarianceResult, Result, TransferResult


class Source(NamedTuple):
    """One result file, in words; ``path`` is relative to the page, and ``href`` is the same as an address."""

    content: str
    method: str
    images: str
    path: str
    href: str
    config: str
    result: Result


def sources(row: Row, directory: Path) -> list[Source]:
    """The result files of a row, as seen from the directory that the page lies in."""
    return [_source(result, directory) for result in row.files]


def _source(result: Result, directory: Path) -> Source:
    config = json.dumps(result.config, indent=2, ensure_ascii=False)
    path = _relative(result.file, directory)
    return Source(*_describe(result), path, address(result.file, directory), config, result)


def address(file: Path, directory: Path) -> str:
    """Return the address of a file as a page has it that lies in a directory."""
    return quote(os.fsencode(_relative(file, directory)))


def _relative(file: Path, directory: Path) -> str:
    return Path(os.path.relpath(file.resolve(), directory.resolve())).as_posix()


def _describe(result: Result) -> tuple[str, str, str]:
    """What a file holds, how that was measured, and on which images."""
    if isinstance(result, InvarianceResult):
        return "invariance", f"{result.protocol}, k = {result.k}", f"{result.num_images} images"
    if isinstance(result, TransferResult):
        protocol = "" if result.protocol is None else f"{result.protocol}, "
        penalty = "" if result.penalty is None else f", penalty {result.penalty:g}"
        method = f"{protocol}{readable(result.probe)} probe{penalty}, {result.folds} folds"
        targets = "" if result.targets is None else f"; {result.targets}"
        return readable(result.task), method, f"{result.num_train} train, {result.num_test} test images{targets}"
    raise TypeError(f"{type(result).__name__} is not a kind of result that the page knows")
