"""Result files: written whole or not at all, and carrying what is needed to understand them later."""

import hashlib
import io
import json
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from solo_invariance.errors import UserError

SCHEMA = 1
_DISTRIBUTIONS = ("solo-invariance", "torch", "torchvision", "lightning", "torchmetrics", "kornia", "timm", "numpy")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: beside it first, then renamed. Parent directories are made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically; a NaN or infinity is an error, since JSON has none.

    Raises:
        UserError: The file cannot be written, or a number is not finite.
    """
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise UserError(f"{path}: cannot be written as JSON ({error})") from error
    write_bytes(path, f"{text}\n".encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as npz, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, wanted: Callable[[str], bool] = lambda name: True, hint: str = "") -> dict[str, np.ndarray]:
    """Read the arrays of an npz file, all or those whose name is wanted.

    Raises:
        UserError: The file is missing or broken; the message names it and gives the hint.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays if wanted(name)}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}){hint}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping.

    Raises:
        UserError: The file cannot be read, or holds no valid JSON; the message names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Check the file and its permissions.") from error
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}). Write the result again or remove it.") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise UserError(f"{path}: the document must be a mapping, not a {found}. Write the result again or remove it.")
    return content


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
