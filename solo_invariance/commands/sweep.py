"""The jobs of ``--multirun``: where each writes, and what it tells whoever started it. Imports nothing heavy."""

import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock

from solo_invariance.commands.outcome import write_record
from solo_invariance.config.export import is_program
from solo_invariance.config.objective import SEEKING, ObjectiveError, names_of_objective, values_of
from solo_invariance.errors import UserError, did_you_mean

# Where a command's results go; those of the second kind are files.
_FOLDERS = {
    **{"measure": "out", "transfer": "out", "advise": "out", "export": "out", "study": "out"},
    "pretrain": "checkpoint.dir",
}
_FILES = {"families": "out", "fuse": "out", "report": "out", "shape": "out"}
# Parts of one whole, which go to one place.
_PARTS = {"study": "only"}
_PLAIN = re.compile(r"[A-Za-z0-9_.=+]([\w.=+-]*[A-Za-z0-9_.=+])?", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]+")
_LONGEST = 60
_KEPT = 40
_HASH = 8
_OPTIMUM = "optimization_results.yaml"  # as Hydra's sweepers call it
_DIRECTIONS = ("minimize", "maximize")
_INTERPOLATION = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Sweep:
    """Several jobs of one command line; every job has a copy, wherever it runs.

    Args:
        command: Its name.
        fixed: The keys that are the same in all jobs.
        records: A folder, where jobs tell what they have made.
        here: Where the command was typed, from which relative paths go, wherever a launcher's workers were begun.
    """

    command: str
    fixed: frozenset[str]
    records: Path
    here: Path

    @property
    def _key(self) -> str | None:
        return _FOLDERS.get(self.command) or _FILES.get(self.command)

    def swept(self, overrides: Sequence[str]) -> dict[str, str]:
        """Return the values of this job's swept keys, of the overrides that it was started with."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parsed = OverridesParser.create().parse_overrides([*overrides])
        values = {one.key_or_group: str(one.value()) for one in parsed if not one.is_delete()}
        return {key: value for key, value in values.items() if key not in self.fixed}

    def give_a_place(self, config: Any, swept: Mapping[str, str]) -> str | None:
        """Let a job write to a place of its own, a folder for each swept key, unless its place differs anyway.

        Returns:
            The folder that all jobs have their places in; None where that is not said so.
        """
        from omegaconf import OmegaConf, open_dict

        key, swept = self._key, {name: value for name, value in swept.items() if name != _PARTS.get(self.command)}
        if key is None or not swept or key in swept or _differs_anyway(_unresolved(config, key)):
            return None
        out = OmegaConf.select(config, key)
        if out is None:
            return None
        place = Path(out)
        folders = [folder_of(name, value) for name, value in swept.items()]
        if self.command in _FILES or is_program(out):
            root = place.with_suffix("")
            place = root.joinpath(*folders, place.name)
        else:
            root = place
            place = root.joinpath(*folders)
        with open_dict(config):
            OmegaConf.update(config, key, str(place))
        return str(root)

    @contextmanager
    def at_home(self, about: Any) -> Iterator[None]:
        """Work where the command was typed, unless Hydra was asked for a folder for each job (``hydra.job.chdir``)."""
        before = Path.cwd()
        if not about.job.chdir and self.here.is_dir():
            os.chdir(self.here)
        try:
            yield
        finally:
            os.chdir(before)

    @contextmanager
    def alone(self, swept: Mapping[str, str]) -> Iterator[None]:
        """Wait for another job of the same values, as a sweeper may ask for one twice: what that has done is kept."""
        name = hashlib.sha256(repr(sorted(swept.items())).encode()).hexdigest()[:_HASH]
        with FileLock(self.records / f"{name}.lock"):
            yield

    def record_of(self, number: int) -> Path:
        """Return the file of a job."""
        return self.records / f"{number}.json"

    def record_failure(self, number: int, swept: Mapping[str, str], message: str) -> None:
        """Tell that a job failed."""
        write_record(self.record_of(number), {"swept": dict(swept), "error": message})

    def made_by(self, number: int) -> dict[str, Any]:
        """Return what a job has made."""
        from solo_invariance.results.files import read_json

        path = self.record_of(number)
        return dict(read_json(path)) if path.is_file() else {"path": None, "document": {}, "rows": [], "numbers": {}}

    def record_job(self, number: int, swept: Mapping[str, str], **about: Any) -> None:
        """Tell what a job was, beside what it has made."""
        write_record(self.record_of(number), {"swept": dict(swept), **self.made_by(number), **about})

    def found(self) -> dict[int, dict[str, Any]]:
        """Return what the jobs have told, by their numbers."""
        from solo_invariance.results.files import read_json

        paths = sorted(self.records.glob("[0-9]*.json"), key=lambda path: int(path.stem))
        return {int(path.stem): dict(read_json(path)) for path in paths}


@contextmanager
def sweep_of(command: str, arguments: Sequence[str]) -> Iterator[Sweep | None]:
    """Give the sweep that arguments in Hydra's grammar ask for, and remove its records in the end; None for one job.

    Raises:
        UserError: A sweeper is asked for, and no sweep.
    """
    if "--multirun" not in arguments:
        for argument in arguments:
            if argument.startswith("hydra/sweeper=") and argument.partition("=")[2] in SEEKING:
                raise UserError(f"{argument}: looks for the best of several jobs, which -m asks for; this would be one")
        yield None
        return
    records, kept = _folder(), False
    try:
        yield Sweep(command, frozenset(_fixed(arguments)), records, Path.cwd())
    except BaseException:  # of a launcher, whose jobs may still be at work, or have died: its logs say of what
        kept = any(one.is_dir() and any(one.iterdir()) for one in records.glob(".*"))
        if kept:
            print(f"solo-invariance: what the launcher has logged: {records}", file=sys.stderr)
        raise
    finally:
        if not kept:
            shutil.rmtree(records, ignore_errors=True)


def launches(arguments: Sequence[str]) -> bool:
    """Return whether arguments in Hydra's grammar choose a launcher without saying what is to be launched."""
    chosen = [one.partition("=")[2] for one in arguments if one.partition("=")[0] == "hydra/launcher"]
    return "--multirun" not in arguments and bool(chosen) and chosen[-1] != "basic"


def usual_of_hydra(arguments: Sequence[str], sweep: Sweep) -> list[str]:
    """Return a sweep's arguments with what of Hydra is usual here, where it was not chosen.

    Hydra's own folder, in which launchers have their logs, is among the records, which go in the end. A trial of Optuna
    that fails stops no other.
    """
    from solo_invariance.config.overrides import quoted

    usual = {"hydra.sweep.dir": quoted(str(sweep.records))}
    if "hydra/sweeper=optuna" in arguments:
        _require_sought(arguments)
        _require_storage(arguments)
        with suppress(ImportError):  # which Hydra says in its own words
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.CRITICAL)  # a job that fails says why
        usual["hydra.sweeper.max_failure_rate"] = "1.0"
    chosen = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    return [*arguments, *(f"{key}={value}" for key, value in usual.items() if key not in chosen)]


def _require_sought(arguments: Sequence[str]) -> None:
    """Refuse directions and numbers of trials that Optuna would end at, which Hydra hands on as they are."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "hydra.sweeper.direction":
            for one in re.split(r"[\[\],\s]+", value.strip("[] ")):
                if one.strip("'\"") not in _DIRECTIONS:
                    hint = did_you_mean(one, _DIRECTIONS)
                    raise UserError(f"{argument}: expected minimize or maximize, one for each objective{hint}")
        elif key in ("hydra.sweeper.n_trials", "hydra.sweeper.n_jobs") and not re.fullmatch(r"0*[1-9]\d*", value):
            raise UserError(f"{argument}: expected a whole number of at least 1")


def _require_storage(arguments: Sequence[str]) -> None:
    """Refuse a study in a database where Optuna, of the old version that Hydra's sweeper needs, cannot keep one."""
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        if key == "hydra.sweeper.storage" and value not in ("null", "") and not value.strip("'\"").startswith("redis"):
            with suppress(PackageNotFoundError):
                found = {name: version(name) for name in ("optuna", "sqlalchemy")}
                if found["optuna"].startswith("2.") and not found["sqlalchemy"].startswith("1."):
                    raise UserError(
                        f"{argument}: Optuna {found['optuna']}, which Hydra's sweeper needs, keeps no study with "
                        f"SQLAlchemy {found['sqlalchemy']}: pip install 'sqlalchemy<2' 'alembic<1.16'; or leave it "
                        f"out: with hydra.sweeper.sampler.seed=1 the same sweep finds again what is done"
                    )


def keep_optimum(sweep: Sweep, found: Mapping[int, Mapping[str, Any]]) -> Path | None:
    """Bring what a sweeper has written of the best values to where the results are; return where it is."""
    written = sweep.records / _OPTIMUM
    if not written.is_file():
        return None
    roots = [record["root"] for record in found.values() if record.get("root")]
    paths = [record["path"] for record in found.values() if record.get("path")]
    if not roots and not paths:
        return None
    root = Path(roots[0] if roots else os.path.commonpath(paths))
    root = root.parent if root.is_file() else root
    root.mkdir(parents=True, exist_ok=True)
    plain = re.sub(r"^([\s-]*)\+{1,2}", r"\1", written.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (root / _OPTIMUM).write_text(plain, encoding="utf-8")  # keys as they are typed
    return root / _OPTIMUM


def objective_of(config: Any, numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers of a job that a sweeper may optimise, by name; none where no objective was chosen.

    Args:
        config: The job's.
        numbers: All that its result has.

    Raises:
        UserError: There is none of that name, or it is not finite.
    """
    chosen = _objective(config)
    return dict(zip(names_of_objective(chosen), values_of(chosen, numbers), strict=True))


def require_an_objective(command: str, config: Any, about: Any) -> None:
    """Refuse a sweep that seeks the best values of nothing, before anything is computed.

    Args:
        command: Its name.
        config: The job's.
        about: Hydra's configuration of it.

    Raises:
        ObjectiveError: The sweeper needs an objective, or as many as it has directions.
    """
    sweeper, names = about.runtime.choices.get("hydra/sweeper"), names_of_objective(_objective(config))
    if sweeper not in SEEKING:
        return
    if not names:
        raise ObjectiveError(
            f"objective is missing: hydra/sweeper={sweeper} needs a number of each job, objective=NAME; "
            f"`solo-invariance {command} --help objective` names some"
        )
    directions = directions_of(about)
    if directions and len(directions) != len(names):
        raise ObjectiveError(
            f"objective=[{','.join(names)}] and hydra.sweeper.direction=[{','.join(directions)}]: {len(names)} and "
            f"{len(directions)}, expected a direction for each objective"
        )


def directions_of(about: Any) -> list[str]:
    """Return in which direction a sweeper goes for each objective: ``minimize`` or ``maximize``; none if unknown."""
    found = about.sweeper.get("direction")
    listed = [] if found is None else [found] if isinstance(found, str | Enum) else [*found]
    return [one.name if isinstance(one, Enum) else str(one) for one in listed]


def runs_in_parallel() -> bool:
    """Return, within a job, whether a launcher may run several at once, whose output would mix."""
    from hydra.core.hydra_config import HydraConfig

    about = HydraConfig.get()
    return not str(about.launcher.get("_target_", "")).endswith(".BasicLauncher")


def _objective(config: Any) -> Any:
    from omegaconf import OmegaConf

    chosen = config.get("objective")
    return OmegaConf.to_container(chosen) if OmegaConf.is_config(chosen) else chosen


def job_in_words(swept: Mapping[str, str]) -> str:
    """Return what tells a job from others."""
    return " ".join(f"{key}={value}" for key, value in swept.items()) or "the only one"


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
