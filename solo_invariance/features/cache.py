"""Features on disk, so that nothing is computed twice."""

import errno
import io
import math
import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.results.files import write_bytes

_FOLDER = "SOLO_INVARIANCE_CACHE"
_LIMIT = "SOLO_INVARIANCE_CACHE_GB"
_DEFAULT_GB = 10.0
_GB = 10**9
# To look how full the folder is takes a while: a process does so whenever it has written this part of the limit.
_LOOKS = 16
# What is not called so in the folder is somebody else's; with the dot, it is a file in the making.
_UNIT_NAME = re.compile(r"\.?[0-9a-f]{32}\.npy(\..+)?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
_LARGEST_HEADER = 1024


class _UnitFile(NamedTuple):
    used: int
    path: Path
    size: int


class FeatureCache:
    """Features of units of images, each under a key that says all they depend on.

    A unit is a file, written whole or not at all. Those that were not used for longest make room for new ones. Several
    processes may share the folder: a unit that one has claimed, the others leave to it until it is done or dead.

    Args:
        root: The folder; it is made when something is to be written.
        max_bytes: How much it may hold; of several processes that write, each may add a sixteenth before it sees what
            the others wrote.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._claims: dict[str, FileLock] = {}
        self._spare = 0

    @classmethod
    def default(cls) -> "FeatureCache | None":
        """Return the cache that the environment names, None where it is turned off.

        ``SOLO_INVARIANCE_CACHE`` is its folder, and turns it off when empty or blank; not set, it is
        ``solo-invariance/features`` in the user's cache folder. ``SOLO_INVARIANCE_CACHE_GB`` is its limit in gigabytes
        of 10^9 bytes, by default 10.

        Raises:
            UserError: The limit is no positive number.
        """
        folder = os.environ.get(_FOLDER)
        if folder is None:
            base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
            folder = os.path.join(base, "solo-invariance", "features")
        try:
            return cls(Path(folder).expanduser().absolute(), _limit()) if folder.strip() else None
        except RuntimeError as error:
            raise UserError(f"{_FOLDER}: {folder}: there is no home directory (HOME); name another folder") from error

    def size(self) -> int:
        """Return how many bytes the cache holds."""
        return sum(unit.size for unit in self._units())

    def has(self, key: str) -> bool:
        """Return whether there is a file for a unit, whole or broken."""
        return os.path.isfile(self._path(key))

    def find(self, key: str, shape: tuple[int, int], dtype: type[np.floating] = np.float32) -> Tensor | None:
        """Return a unit's features (n, D); None where they are not there, broken, or of another shape or type."""
        path = self._path(key)
        try:
            with open(path, "rb", opener=_open_plain) as file:
                # Looked at before it is read: the folder may be others', too, and the file anything.
                status, size = os.fstat(file.fileno()), math.prod(shape) * np.dtype(dtype).itemsize
                if not stat.S_ISREG(status.st_mode) or not size < status.st_size <= size + _LARGEST_HEADER:
                    return None
                array = np.lib.format.read_array(file, allow_pickle=False)
        except Exception:  # a stranger's bytes can make the reader raise anything
            return None
        if array.shape != shape or array.dtype != dtype or not np.isfinite(array).all():
            return None
        with suppress(OSError):  # the folder may be another user's
            os.utime(path)
        return torch.from_numpy(array)

    def claim(self, key: str) -> bool:
        """Return whether a unit is now for this process to compute; False where another one is at it.

        Raises:
            UserError: The cache cannot be written.
        """
        path = self._path(key)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if self._is_of_use(error):
                return True
            raise UserError(
                f"{_FOLDER}: the folder {self.root} cannot be written ({error.strerror}); "
                f"set it to another one, or to nothing to work without"
            ) from error
        try:
            lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError):  # the latter when another process is done in this very moment
            return False
        except (NotImplementedError, OSError):  # no locks on this file system, or not for us: some work is done twice
            return True
        self._claims[key] = lock
        return True

    def _is_of_use(self, error: OSError) -> bool:
        """Whether there is something to find where nothing can be written: a full disk, or others' folder."""
        return error.errno in _FULL or (error.errno in _NOT_OURS and os.access(self.root, os.R_OK | os.X_OK))

    def release(self, key: str) -> None:
        """Give up a claim."""
        if key in self._claims:
            lock = self._claims.pop(key)
            with suppress(OSError):  # before the lock is given up: later, the file may be another process's
                Path(lock.lock_file).unlink()
            lock.release()

    def keep(self, key: str, features: Tensor, in_use: Collection[str] = ()) -> bool:
        """Keep the features (n, D) of a unit that this process has claimed, if there is room.

        Args:
            key: Of the unit.
            features: On the CPU.
            in_use: Keys of units that are not to make room.

        Returns:
            Whether they are kept; not so on a full disk, which is no reason to lose them.
        """
        content = io.BytesIO()
        np.lib.format.write_array(content, features.numpy(), allow_pickle=False)
        path = self._path(key)
        if not self._make_room(content.getbuffer().nbytes, in_use):
            return False
        try:
            write_bytes(path, content.getvalue())
        except UserError:
            return False
        return True

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.npy"

    def _units(self) -> Iterator[_UnitFile]:
        # Not by Path.glob, which takes ten times as long: there may be tens of thousands.
        for folder in _entries(self.root):
            for file in _entries(folder) if len(folder.name) == 2 else ():
                if _UNIT_NAME.fullmatch(file.name):
                    with suppress(OSError):  # another process may have removed it
                        status = file.stat()
                        yield _UnitFile(status.st_mtime_ns, Path(file.path), status.st_size)

    def _make_room(self, needed: int, in_use: Collection[str]) -> bool:
        if needed > self._spare:
            free = self._free_up(max(needed, self.max_bytes // _LOOKS), needed, in_use)
            if needed > free:
                return False
            self._spare = min(free, max(needed, self.max_bytes // _LOOKS))
        self._spare -= needed
        return True

    def _free_up(self, wanted: int, needed: int, in_use: Collection[str]) -> int:
        """Return how many bytes are free, after removing what is not in use; nothing, where that would not do."""
        units = list(self._units())
        free = self.max_bytes - sum(unit.size for unit in units)
        if free >= wanted:
            return free
        kept = {self._path(key) for key in in_use}
        idle = sorted(unit for unit in units if unit.path not in kept)
        if free + sum(unit.size for unit in idle) < needed:
            return free
        for unit in idle:
            if free >= wanted:
                break
            with suppress(OSError):
                unit.path.unlink()
                free += unit.size
        return free


def _open_plain(path: str, flags: int) -> int:
    # No link to elsewhere, and no pipe that would be waited for.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # a file, or not there
        return []


class NoCache:
    """What stands in for a cache where there is none: it has nothing and keeps nothing."""

    def find(self, key: str, shape: tuple[int, int], dtype: type[np.floating] = np.float32) -> Tensor | None:
        """Return None."""
        return None

    def claim(self, key: str) -> bool:
        """Return True: there is nobody to share with."""
        return True

    def release(self, key: str) -> None:
        """Do nothing."""

    def keep(self, key: str, features: Tensor, in_use: Collection[str] = ()) -> bool:
        """Return False."""
        return False


def _limit() -> int:
    given = os.environ.get(_LIMIT, str(_DEFAULT_GB))
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = math.nan
    if not 0 < gigabytes < math.inf:
        raise UserError(f"{_LIMIT}={given}: expected a positive number of gigabytes; {_FOLDER}= turns the cache off")
    return int(gigabytes * _GB)
