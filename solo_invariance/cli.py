"""The command line: parse, one public call, print."""

import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from functools import partial
from typing import Any, TextIO

from solo_invariance import __version__
from solo_invariance.command_process import run_as_process
from solo_invariance.commands.alive import say_alive
from solo_invariance.commands.completion import COMPLETE, complete, script_of
from solo_invariance.commands.help_page import help_page, overview, topics_asked
from solo_invariance.commands.outcome import Unmet, aside, output_mode, output_of, print_json, recorded_to
from solo_invariance.commands.sweep import (
    Sweep,
    directions_of,
    job_in_words,
    keep_optimum,
    launches,
    objective_of,
    require_an_objective,
    runs_in_parallel,
    sweep_of,
    usual_of_hydra,
)
from solo_invariance.config.kinds import schema_of
from solo_invariance.config.objective import ObjectiveError
from solo_invariance.config.reference import COMMANDS
from solo_invariance.errors import UserError, did_you_mean

_NO_MEMORY = re.compile("can't allocate memory|out of memory")  # as torch says it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code: 0, 1 where a study's ``expect`` is not met, or 2 for bad input.

    Without arguments, it is what this process is for: it takes the process's arguments and leaves, never to return.
    """
    if arguments is None:
        run_as_process(main)
    try:
        os.getcwd()
    except OSError:
        return _fail("the current directory is gone: cd to one that is there")
    try:
        with output_of([*arguments]) as others:
            return _command(others)
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on")
        return 130


def _command(arguments: list[str]) -> int:
    first, *others = arguments or ["help"]
    if first in ("-V", "--version", "version"):
        print(f"solo-invariance {__version__}")
        return 0
    try:
        if first == "completion":
            print(script_of(others), end="")
            return 0
        if first == COMPLETE:
            print("\n".join(complete(others)))
            return 0
        if first not in COMMANDS and (topics := topics_asked([first, *others])) is not None:
            print(help_page(_known(topics[0]), topics[1:]) if topics else overview())
        elif (topics := topics_asked(others)) is not None:
            print(help_page(_known(first), topics))
        else:
            return _run(_known(first, others), others)
    except UserError as error:
        return _fail(str(error))
    return 0


def _known(command: str, others: Sequence[str] = ()) -> str:
    """Return a command that there is.

    Raises:
        UserError: There is none of that name.
    """
    if command in COMMANDS:
        return command
    after = next((one for one in others if one in COMMANDS), None)
    if after is not None and (command.startswith("-") or "=" in command):
        raise UserError(f"{command}: comes after the command, solo-invariance {after} {command}")
    raise UserError(f"unknown command {command!r}{did_you_mean(command, COMMANDS)}; one of: {', '.join(COMMANDS)}")


def _run(command: str, arguments: list[str]) -> int:
    from hydra.core.config_store import ConfigStore

    from solo_invariance.config.older import demo_in_todays_words, in_todays_words
    from solo_invariance.config.overrides import hydra_arguments, split_off_flags, written_out
    from solo_invariance.config.own_files import check_own_files
    from solo_invariance.config.typed import require_meant, require_no_dashes

    check_own_files()
    # What Pillow thinks of a picture's metadata, and Hydra of a file's: what cannot be read is an error, and named.
    for module_name in (r"PIL\.", r"hydra\."):
        warnings.filterwarnings("ignore", module=module_name)
    schema = schema_of(command)
    try:
        arguments = in_todays_words(demo_in_todays_words(arguments) if command == "demo" else arguments)
        require_no_dashes(command, arguments)
        flags, overrides = split_off_flags(arguments)
        has_own_files = bool({"config-dir", "config-path", "config-name"} & {*flags})
        require_meant(command, overrides, not has_own_files and not any("hydra.searchpath" in one for one in overrides))
        command, arguments = written_out(command, arguments)
        ConfigStore.instance().store(name=f"schema_{command}", node=schema)
        in_full = hydra_arguments(arguments, schema)
        if command == "study" and launches(in_full):
            return _spread(command, in_full)
        return _hydra(command, partial(_work, command), in_full)
    except Exception as error:
        line = _in_one_line(error, command)
        if line is None:
            raise
        return _fail(line)


def _spread(command: str, arguments: list[str]) -> int:
    """Let a launcher do a study's pre-trainings, each as a job of its own, and then do the rest here."""
    from solo_invariance.config.overrides import quoted

    jobs: list[str] = []
    code = _hydra(command, partial(_collect_jobs, jobs), arguments)
    if code == 0 and jobs:
        code = _hydra(
            command, partial(_work, command), ["--multirun", *arguments, f"only={','.join(map(quoted, jobs))}"]
        )
    return code or _hydra(command, partial(_work, command), arguments)


def _collect_jobs(jobs: list[str], config: Any) -> None:
    """Collect what is left to pre-train of what a configuration asks for."""
    from solo_invariance.config.possible import require_possible

    require_possible("study", config)
    with redirect_stderr(sys.__stderr__ or sys.stderr):
        from solo_invariance.commands.study import jobs_left
    jobs.extend(jobs_left(config))


def _work(command: str, config: Any) -> None:
    """Do what a composed configuration says: what can be refused without loading anything is refused first."""
    from solo_invariance.config.possible import require_possible

    require_possible(command, config)
    say_alive(command)
    # Libraries that set up logging as they are imported get the stream itself, which stays.
    with redirect_stderr(sys.__stderr__ or sys.stderr):
        module = importlib.import_module(f"solo_invariance.commands.{command}")
    module.run(config)


def _in_one_line(error: Exception, command: str) -> str | None:
    """Return what to say of an error; None for one that is nobody's input and no refusal of the machine's."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        from solo_invariance.config.explained import explain_config_error

        return explain_config_error(error, command)
    if isinstance(error, BrokenPipeError) or not isinstance(error, OSError | MemoryError | RuntimeError):
        return None
    return _of_the_machine(error)


class _Hopeless(BaseException):
    """A refusal that every other job of a sweep would meet, too: not for a launcher to collect."""


class _Job:
    """What Hydra runs, once or as several jobs: here, or wherever a launcher takes it.

    A job that is refused raises an ordinary exception, which a launcher brings back, so that others go on.

    Args:
        command: Its name.
        run: What it does.
        sweep: That it is a job of, if it is one of several.

    Attributes:
        refused: What was refused here, and said.
        begun: Whether it has run here.
        unmet: Whether its result, which is there, is not as it was expected.
    """

    def __init__(self, command: str, run: Callable[[Any], None], sweep: Sweep | None = None) -> None:
        self.command = command
        self.run = run
        self.sweep = sweep
        self.refused: list[UserError] = []
        self.begun = False
        self.unmet = False

    def __call__(self, config: Any) -> float | list[float] | None:
        self.begun = True
        try:
            if self.sweep is not None:
                return self._run_one_of(self.sweep, config)
            self.run(config)
            return None
        except Unmet as unmet:
            self.unmet = True
            _say(f"solo-invariance: {unmet}")
            return None
        except Exception as error:
            line = _in_one_line(error, self.command)
            if line is None:
                raise
            if isinstance(error, ObjectiveError) and self.sweep is not None and not runs_in_parallel():
                raise _Hopeless(line) from error
            refused = error if isinstance(error, UserError) else UserError(line)
            if self.sweep is None:
                _fail(line)
            elif not runs_in_parallel():  # else it is said in the end, once
                _say(f"solo-invariance: error: {line}")
            self.refused.append(refused)
            if refused is error:
                raise
            raise refused from error

    def _run_one_of(self, sweep: Sweep, config: Any) -> float | list[float] | None:
        """Run one job of several, in a place of its own, and tell what it has made or why it could not.

        Returns:
            What a sweeper optimises, a number or one for each objective.
        """
        from hydra.core.hydra_config import HydraConfig

        about = HydraConfig.get()
        number, swept = int(about.job.num), sweep.swept(about.overrides.task)
        root = sweep.give_a_place(config, swept)
        try:
            require_an_objective(self.command, config, about)
            with (
                sweep.at_home(about),
                sweep.alone(swept),
                recorded_to(sweep.record_of(number)),
                aside(runs_in_parallel()),
            ):
                self.run(config)
            objective = objective_of(config, sweep.made_by(number)["numbers"])
        except Exception as error:
            sweep.record_failure(number, swept, _in_one_line(error, self.command) or f"{type(error).__name__}: {error}")
            raise
        sweep.record_job(number, swept, root=root, objective=objective, directions=directions_of(about))
        if runs_in_parallel() and not output_mode():
            _say(f"job {number} is done: {job_in_words(swept)}")
        values = [*objective.values()]
        return values[0] if len(values) == 1 else values or None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "refused": []}


def _hydra(command: str, run: Callable[[Any], None], arguments: list[str]) -> int:
    """Let Hydra compose the configuration and call ``run``, once or, with --multirun, for each job."""
    with sweep_of(command, arguments) as sweep:
        job = _Job(command, run, sweep)
        if sweep is None:
            return _compose_and_run(job, arguments, arguments)
        try:
            _compose_and_run(job, arguments, usual_of_hydra(arguments, sweep))
        except _Hopeless as hopeless:
            return _fail(str(hopeless))
        except Exception as error:
            _require_told(job, error, sweep.found())
        found = sweep.found()  # nothing, where a flag asks for something else: --cfg, --info
        return _say_sweep(sweep, found, {str(error) for error in job.refused}) if found else 0


def _require_told(job: _Job, error: Exception, found: dict[int, dict[str, Any]]) -> None:
    """Pass over an error that a sweep ends with where its jobs have said why: there is a table of them all.

    Args:
        job: As it was given to Hydra.
        error: Of the first job that failed elsewhere, as its launcher brings it back; or of the sweeper, where no trial
            has succeeded; or of the launcher, where a job has died.
        found: What the jobs have told.

    Raises:
        UserError: A job has died without a word, or the launcher cannot begin them.
        Exception: The error itself, where it is nobody's input.
    """
    told = [record["error"] for record in found.values() if "error" in record]
    no_trial = isinstance(error, ValueError) and bool(found) and len(told) == len(found)
    if _in_one_line(error, job.command) is not None:
        if not found:
            raise error
    elif f"{type(error).__name__}: {error}" in told or (job.begun and not no_trial):
        raise error
    elif not no_trial:
        first = next(iter(str(error).splitlines()), "")
        kept = f"; what is done ({len(found) - len(told)}) is kept, and the same sweep goes on"
        raise UserError(f"the launcher gave up ({type(error).__name__}: {first}){kept}") from error


def _say_sweep(sweep: Sweep, found: dict[int, dict[str, Any]], said: set[str]) -> int:
    """Print what the jobs have made, and which have failed; return the exit code.

    Args:
        sweep: That they are jobs of.
        found: What each has told, by its number.
        said: Why some failed, where that was said when they did.
    """
    from solo_invariance.commands.sweep_table import say_sweep

    say_sweep(found, keep_optimum(sweep, found))
    failed = [record for record in found.values() if "error" in record]
    for record in failed:
        if record["error"] not in said:
            _say(f"solo-invariance: error: {job_in_words(record['swept'])}: {record['error']}")
    if failed:
        listed = "; ".join(job_in_words(record["swept"]) for record in failed)
        _say(f"solo-invariance: {len(failed)} of {len(found)} jobs failed: {listed}")
    return 2 if failed else 0


def _compose_and_run(job: _Job, typed: list[str], arguments: list[str]) -> int:
    """Let Hydra do that; errors name the arguments as they were typed."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    command = job.command
    sys.argv = [f"solo-invariance {command}", *arguments]
    # Hydra then raises errors instead of printing them and leaving with exit code 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        with _without_hydras_line():
            hydra.main(version_base="1.3", config_path="pkg://solo_invariance.config", config_name=command)(job)()
    except UserError as error:
        if not any(error is said for said in job.refused):
            raise
        return 2
    except (AssertionError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        if job.begun or isinstance(error, HydraException | OmegaConfBaseException):
            raise
        # What Hydra does not check: a group's choice that is a number, a file that is among its own defaults.
        reason = ", which is nested too deeply or names itself" if isinstance(error, RecursionError) else ""
        own = [argument for argument in typed if argument.lstrip("+~").startswith("hydra")]  # the others are checked
        raise UserError(f"{' '.join(own or typed)}: Hydra cannot use this{reason}") from error
    return 2 if job.refused else int(job.unmet)


class _Stderr:
    """Standard error, but for the line by which Hydra announces an error that we explain."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _without_hydras_line() -> Iterator[None]:
    with redirect_stderr(_Stderr(sys.stderr)):
        yield


def _of_the_machine(error: OSError | MemoryError | RuntimeError) -> str | None:
    """Return one line for what the machine refuses: no space, no permission, no memory. None for other errors."""
    if isinstance(error.__context__, MemoryError):  # while torch was writing, which then says where it had come to
        error = error.__context__
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        what = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
        return f"not enough memory{what}: take smaller images, or fewer at a time (batch_size, num_workers)"
    if isinstance(error, RecursionError):
        return "something is nested too deeply"
    if not isinstance(error, OSError):
        return None
    file = error.filename if error.filename2 is None else error.filename2
    where = "" if file is None else f"{os.fsdecode(file) if isinstance(file, str | bytes) else file}: "
    return f"{where}{error.strerror or error}"


def _fail(message: str) -> int:
    _say(f"solo-invariance: error: {message}")
    if output_mode() == "json" and os.environ.get("RANK", "0") == "0":  # torchrun starts the command several times
        print_json({"error": message})
    return 2


def _say(message: str) -> None:
    """Print one line to standard error, with what cannot be printed written out."""
    line = re.sub(r"\S{300,}", lambda word: f"{word[0][:150]}...{word[0][-40:]}", " ".join(message.split()))
    with suppress(OSError):  # nobody is there to read it: the exit code says it
        print("".join(one if one.isprintable() else ascii(one)[1:-1] for one in line), file=sys.stderr)


if __name__ == "__main__":
    main()
