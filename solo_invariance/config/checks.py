"""Checks that configurations share."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from solo_invariance.config.kinds import is_list, is_open
from solo_invariance.errors import UserError
from solo_invariance.known_datasets import is_cifar10_file

LARGEST_SIDE = 4096
"""Of what a network sees of an image, in pixels; more is a mistake in typing, or more memory than there is."""

# As torch.device has them, and auto; whether one is there, torch knows.
_DEVICES = ("auto", "cpu", "cuda", "hpu", "ipu", "maia", "mps", "mtia", "vulkan", "xla", "xpu")
_MOST_WORKERS = 1024
_LARGEST = 2**31 - 1
_LARGEST_SEED = 2**32 - 1


class Checked:
    """The base of configurations: texts are not empty, numbers are finite and no larger than can be meant.

    Attributes:
        section: What the names of the keys begin with.
    """

    section: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Raise UserError, which names the key, where a value is none."""
        for field in fields(self):  # type: ignore[arg-type]
            key, value = f"{self.section}{field.name}", getattr(self, field.name)
            _require_shape(key, value, field.type)
            _check(key, value, field.name == "seed")


def _require_shape(key: str, value: Any, kind: Any) -> None:
    """Refuse what an interpolation stands for, where that is no mapping or no list and the key is one."""
    if is_open(kind) and not isinstance(value, dict):
        raise UserError(f"{key}={value}: expected keys and values, {{name: value}}")
    if is_dataclass(kind) and not isinstance(value, kind):  # type: ignore[arg-type]
        raise UserError(f"{key}={value}: is a section, set its keys, such as {key}.{fields(kind)[0].name}")
    if is_list(kind) and isinstance(value, str | int | float):
        raise UserError(f"{key}={value}: expected a list, '{key}=[{value}]'")


def _check(key: str, value: Any, is_seed: bool) -> None:
    if isinstance(value, list):
        for item in value:
            _check(key, item, is_seed)
    require_text(value, key)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value}: expected a finite number")
    if is_seed and not 0 <= value <= _LARGEST_SEED:
        raise UserError(f"{key}={value}: expected a whole number from 0 to {_LARGEST_SEED}")
    if isinstance(value, int) and not is_seed and abs(value) > _LARGEST:
        raise UserError(f"{key}={value}: expected at most {_LARGEST}")


def require_text(value: Any, key: str) -> None:
    """Raise UserError for an empty text: an empty path would be read as the directory that one is in.

    Args:
        value: Anything; what is no text is fine.
        key: What to call it.
    """
    if isinstance(value, str) and not value.strip():
        raise UserError(f"{key} is empty (a shell variable that is not set?): name something, or leave it out")


def require_texts(**values: Any) -> None:
    """Raise UserError for the first of some arguments that is an empty text.

    Args:
        values: By what to call them.
    """
    for key, value in values.items():
        require_text(value, key)


def require_positive(config: object, *keys: str, prefix: str = "") -> None:
    """Raise UserError unless each key that is set is at least 1."""
    require_at_least(1, config, *keys, prefix=prefix)


def require_at_least(least: int, config: object, *keys: str, prefix: str = "") -> None:
    """Raise UserError unless each key that is set is at least ``least``."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and value < least:
            raise UserError(f"{prefix}{key}={value}: expected at least {least}")


def require_sides(config: object, *keys: str, least: int = 1, prefix: str = "") -> None:
    """Raise UserError unless each key that is set can be the side of an image, in pixels."""
    require_at_least(least, config, *keys, prefix=prefix)
    _require_at_most(LARGEST_SIDE, config, keys, prefix, " pixels")


def require_workers(config: object, prefix: str = "") -> None:
    """Raise UserError unless there can be ``num_workers``, threads or processes that read images."""
    require_at_least(0, config, "num_workers", prefix=prefix)
    _require_at_most(_MOST_WORKERS, config, ["num_workers"], prefix)


def _require_at_most(most: int, config: object, keys: Iterable[str], prefix: str, unit: str = "") -> None:
    for key in keys:
        value = getattr(config, key)
        if value is not None and value > most:
            raise UserError(f"{prefix}{key}={value}: expected at most {most}{unit}")


def require_device(name: str) -> None:
    """Raise UserError where ``device`` names no kind of device, or one that holds no numbers."""
    kind = name.partition(":")[0]
    if kind == "meta":
        raise UserError("device=meta: holds no numbers; take auto, cpu or cuda")
    if kind not in _DEVICES:
        raise UserError(f"device={name}: not available here (no kind of device); auto takes what there is")


def require_checkpoint(path: Path) -> None:
    """Raise UserError where there is no file of weights, by how it begins; OSError where it cannot be looked at."""
    if not path.is_file():
        raise UserError(f"checkpoint {path}: {'is a directory' if path.is_dir() else 'no such file'}")
    with path.open("rb") as file:
        beginning = file.read(9)
    # An archive, a pickle of any protocol, or the length of a header of safetensors and that.
    if not beginning.startswith((b"PK", b"\x80", b"(", b"]", b"}", b"c")) and beginning[8:] != b"{":
        raise UserError(f"checkpoint {path}: cannot be read (truncated or not a checkpoint)")


def require_runs(runs: Sequence[Path | str]) -> None:
    """Raise UserError where no directory of results is named, or one of them is none.

    Args:
        runs: Directories that ``measure`` or ``transfer`` wrote to, or whatever has such below it.
    """
    if not runs:
        raise UserError("runs: expected at least one directory with results of `measure` or `transfer`, found none.")
    for run in runs:
        require_text(run, "runs")
        if not os.path.isdir(run):
            raise UserError(f"{run}: is not a directory. Name a directory that `measure` or `transfer` wrote to.")


def require_images(path: Path | str) -> None:
    """Raise UserError where there is neither a folder nor one of CIFAR-10's files, or it cannot be looked at."""
    if not (is_cifar10_file(os.path.basename(path)) and os.path.isfile(path)):
        require_directory(path, "images")


def require_directory(root: Path | str, what: str) -> None:
    """Raise UserError where there is no folder, or it cannot be looked at.

    Args:
        root: It.
        what: What it should be a folder of, for the message.
    """
    if os.path.isdir(root):
        return
    try:
        os.stat(root)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UserError(f"{root}: no such folder of {what}") from None
    except OSError as error:
        raise UserError(f"{root}: folder cannot be read ({error.strerror})") from error
    raise UserError(f"{root}: is a file, expected a folder of {what}")
