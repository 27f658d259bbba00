"""Result files: written whole or not at all, and carrying what is needed to understand them later."""

import errno
import hashlib
import io
import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from solo_invariance.errors import UserError

SCHEMA = 1
_KEPT = 40  # characters, of which each may take four of the 255 bytes that a name may have
_MOST_DIGITS = 20  # of 64 bits
_DEEPEST = 100
_SHOWN = 60
_KINDS = "biufU"  # of arrays: numbers and text
_SUMS = "sums"
REMEDY = "Write the result again or remove it."
_DISTRIBUTIONS = ("solo-invariance", "torch", "torchvision", "lightning", "torchmetrics", "kornia", "timm", "numpy")


class InTheMaking(NamedTuple):
    """What files are called before they are whole: beside their places, for the system's renaming."""

    begin: str = "."
    end: str = ".part"

    def beside(self, path: Path) -> Path:
        """Return a new name beside a file's; of a name that is as long as names may be, too."""
        return path.with_name(f"{self.begin}{path.name[:_KEPT]}.{secrets.token_hex(4)}{self.end}")

    def below(self, directory: Path) -> Iterator[Path]:
        """Yield what was left in the making below a directory."""
        yield from directory.rglob(f"{self.begin}*{self.end}")


IN_THE_MAKING = InTheMaking()


@contextmanager
def directories(path: Path) -> Iterator[None]:
    """Make a directory, and those that it is in; those of them that are empty in the end, and were made here, go again.

    Raises:
        OSError: It cannot be made.
    """
    missing = [*takewhile(lambda one: not os.path.lexists(one), (path, *path.parents))]
    if any(one.name == ".." for one in missing):  # of a directory that would go again, and the path with it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(missing[-1]))
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for directory in missing:
            with suppress(OSError):  # it is not empty, or was not made
                directory.rmdir()


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all: beside its place first, then renamed. Parent directories are made.

    Raises:
        UserError: It cannot be written; nothing is left of it.
    """
    try:
        with directories(path.parent):
            unfinished = IN_THE_MAKING.beside(path)
            try:
                with unfinished.open("xb") as file:
                    file.write(content)
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_json(path: Path, content: Mapping[str, Any], width: int = 0) -> None:
    """Write JSON atomically; a NaN or infinity is an error, since JSON has none.

    Args:
        path: The file.
        content: Plain data.
        width: Characters of a line: what fits stands on one, where it is one value a line otherwise.

    Raises:
        UserError: The file cannot be written, or a number is not finite.
    """
    try:
        text = _in_lines(content, width) if width else json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise UserError(f"{path}: cannot be written as JSON ({error})") from error
    write_bytes(path, f"{text}\n".encode())


def _in_lines(content: Any, width: int, behind: str = "", indent: str = "") -> str:
    """Return JSON of which mappings and lists are in lines of their own where they do not fit into one.

    Args:
        content: Plain data.
        width: Characters of a line.
        behind: What stands before it on its line.
        indent: Of its line.
    """
    flat = json.dumps(content, allow_nan=False)
    if len(indent) + len(behind) + len(flat) < width or not content or not isinstance(content, Mapping | list | tuple):
        return behind + flat
    ends = "{}" if isinstance(content, Mapping) else "[]"
    inner = f"{indent}  "
    if isinstance(content, Mapping):
        lines = [_in_lines(value, width, f"{json.dumps(str(key))}: ", inner) for key, value in content.items()]
    else:
        lines = [_in_lines(value, width, "", inner) for value in content]
    inside = ",\n".join(f"{inner}{line}" for line in lines)
    return f"{behind}{ends[0]}\n{inside}\n{indent}{ends[1]}"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, summed: bool = False) -> None:
    """Write named arrays as npz, atomically.

    Args:
        path: The file.
        arrays: By name.
        summed: Whether to write their check sums, too.

    Raises:
        UserError: It cannot be written; nothing is left of it.
    """
    sums = {_SUMS: np.asarray([_sum(name, array) for name, array in arrays.items()])} if summed else {}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays, **sums)  # type: ignore[arg-type]
    write_bytes(path, buffer.getbuffer())


def read_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True, hint: str = "", *, summed: bool = False
) -> dict[str, np.ndarray]:
    """Read the arrays of an npz file, all or those whose name is wanted.

    Args:
        path: The file.
        wanted: Whether to read the array of a name.
        hint: What to do about a file that is wrong.
        summed: Whether it was written with check sums; then arrays are what was written.

    Raises:
        UserError: The file is missing or broken; the message names it and gives the hint.
    """
    require_file(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = [name for name in arrays if wanted(name) or (summed and name == _SUMS)]
            found = {name: _native(arrays[name]) for name in names}
    except OSError as error:
        reason = error.strerror if error.filename else "truncated or damaged"
        raise UserError(f"{path}: cannot be read ({reason}){hint}") from error
    except Exception as error:  # a stranger's bytes can make the reader raise anything
        raise UserError(f"{path}: cannot be read, truncated or no file of arrays{hint}") from error
    if strangers := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
        raise UserError(f"{path}: {strangers[0]!r} in it is no array{hint}")
    if strangers := [name for name, value in found.items() if value.dtype.kind not in _KINDS]:
        raise UserError(f"{path}: {strangers[0]!r} in it holds neither numbers nor text{hint}")
    if not summed:
        return found
    sums = {*map(str, found.pop(_SUMS, np.empty(0, str)).ravel())}
    changed = [name for name, array in found.items() if _sum(name, array) not in sums]
    missing = filter(wanted, sorted({one.rpartition(" ")[0] for one in sums} - {*found}))
    if wrong := [*changed, *missing]:
        raise UserError(f"{path}: {wrong[0]!r} in it is not what was written{hint}")
    return found


def _sum(name: str, array: np.ndarray) -> str:
    return f"{name} {hashlib.sha256(f'{array.dtype} {array.shape} '.encode() + array.tobytes()).hexdigest()[:16]}"


def read_json(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a JSON mapping; all JSON that the package reads is read here.

    Args:
        path: The file, in UTF-8 with or without a mark of the byte order.
        remedy: What to do about a file that is none.

    Raises:
        UserError: The file cannot be read, or holds no valid JSON, or more of it than files of ours have: keys that are
            there twice, numbers of hundreds of digits, or mappings in a hundred others; the message names it.
    """
    require_file(path)
    try:
        content = json.loads(
            path.read_text(encoding="utf-8-sig"), parse_int=_whole_number, object_pairs_hook=_mapping_of
        )
        _require_shallow(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Check the file and its permissions.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not valid JSON (not UTF-8 text, from byte {error.start} on). {remedy}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is not valid here, it is nested too deeply. {remedy}") from error
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}). {remedy}") from error
    if not isinstance(content, dict):
        found = "null" if content is None else type(content).__name__
        raise UserError(f"{path}: the document must be a mapping, not a {found}. {remedy}")
    return content


def _native(array: Any) -> Any:
    """Return text as text, which may have been written as bytes, and numbers in this machine's order of bytes."""
    if not isinstance(array, np.ndarray):
        return array
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def as_text(content: Any) -> Any:
    """Return plain data in which names of files that are no text in UTF-8 have such bytes written out."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, Mapping):
        return {as_text(key): as_text(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [*map(as_text, content)]
    return content


def require_file(path: Path) -> None:
    """Raise UserError for what is there and no file, such as a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is {'a directory' if path.is_dir() else 'no file'}")


def require_no_folders(directory: Path) -> None:
    """Raise UserError where a folder has the name of a file that a run would write to a directory, in the end."""
    if directory.is_dir():
        for entry in sorted(directory.iterdir()):
            if entry.suffix in (".json", ".npz", ".html"):
                require_file(entry)


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _mapping_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} is there twice")
    return content


def _require_shallow(content: Any) -> None:
    level = [content]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise RecursionError


def shortened(value: Any) -> str:
    """Return a value as a message shows it: the begin, where it is long."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """Return a hash of plain data, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def require_finite(value: float, what: str) -> float:
    """Return a number, or raise UserError where it is NaN or infinite."""
    if not math.isfinite(value):
        raise UserError(f"{what} is {value}: the backbone's features overflow or are constant")
    return value
