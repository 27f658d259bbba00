"""The jobs of ``--multirun``: where each writes, and what it tells whoever started it. Imports nothing heavy."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solo_invariance.commands.outcome import write_record
from solo_invariance.config.export import is_program

# Where a command's results go; those of the second kind are files.
_FOLDERS = {"demo": "out", "measure": "out", "transfer": "out", "pretrain": "checkpoint.dir", "export": "out"}
_FILES = {"families": "out", "fuse": "out", "report": "out"}
_PLAIN = re.compile(r"[A-Za-z0-9_.=+]([\w.=+-]*[A-Za-z0-9_.=+])?", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]+")
_LONGEST = 60
_KEPT = 40
_HASH = 8
_INTERPOLATION = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Sweep:
    """Several jobs of one command line; every job has a copy, wherever it runs.

    Args:
        command: Its name.
        fixed: The keys that are the same in all jobs.
        records: A folder, where jobs tell what they have made.
    """

    command: str
    fixed: frozenset[str]
    records: Path

    @property
    def _key(self) -> str | None:
        return _FOLDERS.get(self.command) or _FILES.get(self.command)

    def swept(self, overrides: Sequence[str]) -> dict[str, str]:
        """Return the values of this job's swept keys, of the overrides that it was started with."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parsed = OverridesParser.create().parse_overrides([*overrides])
        values = {one.key_or_group: str(one.value()) for one in parsed if not one.is_delete()}
        return {key: value for key, value in values.items() if key not in self.fixed}

    def give_a_place(self, config: Any, swept: Mapping[str, str]) -> None:
        """Let a job write to a place of its own, a folder for each swept key, unless its place differs anyway."""
        from omegaconf import OmegaConf, open_dict

        key = self._key
        if key is None or not swept or key in swept or _differs_anyway(_unresolved(config, key)):
            return
        out = OmegaConf.select(config, key)
        if out is None:
            return
        place = Path(out)
        folders = [folder_of(name, value) for name, value in swept.items()]
        if self.command in _FILES or is_program(out):
            place = place.with_suffix("").joinpath(*folders, place.name)
        else:
            place = place.joinpath(*folders)
        with open_dict(config):
            OmegaConf.update(config, key, str(place))

    def record_of(self, number: int) -> Path:
        """Return the file of a job."""
        return self.records / f"{number}.json"

    def record_failure(self, number: int, swept: Mapping[str, str], message: str) -> None:
        """Tell that a job failed."""
        write_record(self.record_of(number), {"swept": dict(swept), "error": message})

    def record_job(self, number: int, swept: Mapping[str, str]) -> None:
        """Tell what a job was, beside what it has made."""
        from solo_invariance.results.files import read_json

        path = self.record_of(number)
        made = read_json(path) if path.is_file() else {"path": None, "document": {}, "rows": []}
        write_record(path, {"swept": dict(swept), **made})

    def found(self) -> dict[int, dict[str, Any]]:
        """Return what the jobs have told, by their numbers."""
        from solo_invariance.results.files import read_json

        paths = sorted(self.records.glob("[0-9]*.json"), key=lambda path: int(path.stem))
        return {int(path.stem): dict(read_json(path)) for path in paths}


@contextmanager
def sweep_of(command: str, arguments: Sequence[str]) -> Iterator[Sweep | None]:
    """Give the sweep that arguments in Hydra's grammar ask for, and remove its records in the end; None for one job."""
    if "--multirun" not in arguments:
        yield None
        return
    records = _folder()
    try:
        yield Sweep(command, frozenset(_fixed(arguments)), records)
    finally:
        shutil.rmtree(records, ignore_errors=True)


def without_traces(arguments: Sequence[str], sweep: Sweep) -> list[str]:
    """Return a sweep's arguments with Hydra's own folder among the records, which go in the end.

    Where a launcher was chosen, or the folder, it stays: the logs of jobs are in it.
    """
    from solo_invariance.config.overrides import quoted

    if any(re.match(r"\+{0,2}hydra[./](sweep|launcher|sweeper)", argument) for argument in arguments):
        return [*arguments]
    return [*arguments, f"hydra.sweep.dir={quoted(str(sweep.records))}"]


def folder_of(key: str, value: str) -> str:
    """Return the name of a folder for a value of a key: the value as it is, as far as names of folders go.

    It depends on nothing else, so that the same job finds it again; and other values have other names: what is changed
    or shortened ends with a hash.

    Example:
        >>> folder_of("k", "16"), folder_of("backbone.checkpoint", "ck/a.ckpt")
        ('k=16', 'backbone.checkpoint=ck--a.ckpt')
        >>> folder_of("transforms", "['hue', 'rotation']")
        'transforms=hue-rotation-810a7e9e'
    """
    parts = value.split("/")
    if all(_PLAIN.fullmatch(part) and "--" not in part and part.strip(".") for part in parts) and len(value) < _LONGEST:
        return f"{key}={'--'.join(parts)}"
    digest = hashlib.sha256(value.encode()).hexdigest()[:_HASH]
    readable = _UNSAFE.sub("-", value.rstrip("/").rpartition("/")[2] or value).strip("-.")[-_KEPT:].lstrip("-.")
    return f"{key}={readable}-{digest}" if readable else f"{key}={digest}"


def _fixed(arguments: Sequence[str]) -> Iterator[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = [argument for argument in arguments if not argument.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    last = {one.key_or_group: one for one in parsed}  # which holds, where a key is there twice
    for key, one in last.items():
        if not one.is_sweep_override():
            yield key


def _folder() -> Path:
    """Make a folder for records: here, where jobs on other machines see it, too, or else where there is room."""
    try:
        return Path(tempfile.mkdtemp(prefix=".sweep-", dir=os.getcwd()))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="sweep-"))


def _unresolved(config: Any, key: str) -> str:
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(config, resolve=False)
    for part in key.split("."):
        content = content[part]
    return str(content)


def _differs_anyway(place: str) -> bool:
    """Whether a place has interpolations, of more than the environment, which is the same for all jobs."""
    return any(not inside.startswith("oc.env:") for inside in _INTERPOLATION.findall(place))
