"""The directory that a command writes its results to, and what was done there before."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from filelock import FileLock, Timeout

from solo_invariance.config.checks import require_text
from solo_invariance.errors import UserError
from solo_invariance.results.files import (
    IN_THE_MAKING,
    directories,
    fingerprint_of,
    read_json,
    require_no_folders,
    shortened,
    write_json,
)

_MANIFEST = "run.json"


@dataclass(frozen=True)
class RunDirectory:
    """A directory that belongs to one configuration.

    Args:
        path: Where results go.
        fingerprint: Of everything that the numbers depend on.
        identity: All of that, as plain data.
    """

    path: Path
    fingerprint: str
    identity: Mapping[str, Any]

    def claim(self) -> None:
        """Say whose directory it is, once; to be called before the first result is written, and not earlier."""
        if not (self.path / _MANIFEST).is_file():
            write_json(self.path / _MANIFEST, {"fingerprint": self.fingerprint, "identity": dict(self.identity)})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out while results are written; the system lets go when the process ends, however it does.

        Raises:
            UserError: Another run is at work in the directory, or has been there since, or it cannot be written to, or
                a folder is where a file goes.
        """
        with locked(self.path):
            self.require_own()
            require_no_folders(self.path)
            yield

    def require_own(self) -> None:
        """Raise UserError where the directory holds results of another configuration; it says where they differ.

        A checkpoint is known by its hash, wherever it lies.
        """
        manifest = self.path / _MANIFEST
        if not manifest.is_file():
            return
        before = read_json(manifest)
        identity = before.get("identity")
        identity = identity if isinstance(identity, dict) else {}
        is_own = before.get("fingerprint") == self.fingerprint or _is_moved(identity, self.identity)
        if not is_own:
            changes = "; ".join(_differences(identity, self.identity))
            raise UserError(
                f"out={self.path}: holds results of another run ({changes or 'another version'}); choose another out, "
                f"or remove it"
            )


@contextmanager
def locked(path: Path, name: str = "") -> Iterator[None]:
    """Keep other runs out of a directory, or from one thing in it, and leave nothing behind but what was made.

    What a run that was killed left unfinished is removed.

    Args:
        path: The directory; it need not be there, and goes again where nothing was written.
        name: What in the directory is written, the whole of it by default.

    Raises:
        UserError: Another run is at work there, or it cannot be written to.
    """
    place = path / name
    with ExitStack() as stack:
        try:
            stack.enter_context(directories(path))
            stack.enter_context(_alone(path / f".{name[:40]}{'.' if name else ''}lock"))
        except Timeout as error:
            raise UserError(f"out={place}: another run is at work there; wait for it, or choose another") from error
        except OSError as error:
            raise UserError(f"{place}: cannot be written ({_reason(path, error)})") from error
        if not name:
            for unfinished in IN_THE_MAKING.below(path):
                unfinished.unlink(missing_ok=True)
        yield


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    lock = FileLock(file, blocking=False)
    with suppress(NotImplementedError):  # no locks on this file system: it is for the user to see to
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it as it lets go
            file.unlink()
        lock.release()


def _reason(path: Path, error: OSError) -> str:
    links = [one for one in (path, *path.parents) if one.is_symlink() and not os.path.exists(one)]
    return f"{links[0]} is a link that leads nowhere" if links else str(error.strerror or error)


def open_run(out: str, identity: Mapping[str, Any]) -> RunDirectory:
    """Return a directory for a run, a free one or the one that it has; nothing is written yet.

    Args:
        out: The directory; it need not be there.
        identity: Everything that the numbers depend on, as plain data: not where they go, nor how fast they come.

    Raises:
        UserError: The directory holds results of another configuration; the message says where they differ.
    """
    require_text(out, "out")
    path = Path(out)
    if os.path.exists(path) and not os.path.isdir(path):
        raise UserError(f"out={out}: is a file, expected a directory")
    directory = RunDirectory(path, fingerprint_of(identity), identity)
    try:
        directory.require_own()
    except OSError as error:
        raise UserError(f"out={out}: cannot be read ({error.strerror or error})") from error
    return directory


def _is_moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two identities differ by the places of things alone that both know by their hash."""
    return bool(before) and fingerprint_of(_without_places(before)) == fingerprint_of(_without_places(now))


def _without_places(identity: Any) -> Any:
    """Return an identity without the paths of checkpoints whose hash it has."""
    if isinstance(identity, Mapping):
        is_known = isinstance(identity.get("sha256"), str)
        kept = {key: value for key, value in identity.items() if not (is_known and key == "checkpoint")}
        return {key: _without_places(value) for key, value in kept.items()}
    return [_without_places(one) for one in identity] if isinstance(identity, list | tuple) else identity


def _of_mappings(value: Any) -> TypeGuard[list[Mapping[Any, Any]]]:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _differences(before: Mapping[Any, Any], now: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif _of_mappings(old) and _of_mappings(new) and len(old) == len(new):
            yield from _differences(dict(enumerate(old)), dict(enumerate(new)), f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}: {shortened(old)} there, {shortened(new)} now"
