"""The directory that a command writes its results to, and what was done there before."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from solo_invariance.config.checks import require_text
from solo_invariance.errors import UserError
from solo_invariance.results.files import fingerprint_of, read_json, write_json

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
        """Say whose directory it is; to be called before the first result is written, and not earlier."""
        write_json(self.path / _MANIFEST, {"fingerprint": self.fingerprint, "identity": dict(self.identity)})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out while results are written; the system lets go when the process ends, however it does.

        Raises:
            UserError: Another run is at work in the directory, or it cannot be written to.
        """
        path = self.path / ".lock"
        lock = FileLock(path, blocking=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise UserError(f"out={self.path}: another run is at work there; wait for it, or choose another") from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes it as it lets go
                path.unlink()
            lock.release()


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
    if path.exists() and not path.is_dir():
        raise UserError(f"out={out}: is a file, expected a directory")
    fingerprint = fingerprint_of(identity)
    manifest = path / _MANIFEST
    if manifest.is_file():
        before = read_json(manifest)
        if before.get("fingerprint") != fingerprint:
            changes = "; ".join(_differences(before.get("identity", {}), identity)) or "another version"
            raise UserError(f"out={out}: holds results of another run ({changes}); choose another out, or remove it")
    return RunDirectory(path, fingerprint, identity)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}: {old} there, {new} now"
