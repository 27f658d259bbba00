"""The command line: parse, one public call, print."""

import difflib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from solo_invariance import __version__
from solo_invariance.errors import UserError

COMMANDS = {
    "demo": "the whole story on the embedded data, from pre-training to the report",
    "doctor": "what is installed, what was found, and what to do about what is missing",
    "families": "the augmentation families that can be named, and their operations",
    "pretrain": "pre-train with the embedded host (with solo-learn: main_pretrain.py augmentations=invariance/NAME)",
    "measure": "what a backbone became invariant to",
    "fuse": "make one backbone of several",
    "transfer": "how well a frozen backbone does on a task",
    "report": "one HTML page of all results",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code: 0, or 2 for bad input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] in ("-V", "--version", "version"):
        print(f"solo-invariance {__version__}")
        return 0
    command, *overrides = arguments
    if command not in COMMANDS:
        return _fail(f"unknown command {command!r}{_did_you_mean(command, COMMANDS)}; one of: {', '.join(COMMANDS)}")
    return _run(command, overrides)


def _run(command: str, overrides: list[str]) -> int:
    for override in overrides:
        if override.startswith(("augmentations=[", "augmentations={", "augmentations=null")):
            return _fail(
                "augmentations: choose a configuration, augmentations=invariance/NAME; a family written out goes to "
                "invariance.family={...} with augmentations=invariance/family"
            )
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from solo_invariance.config.overrides import hydra_arguments
    from solo_invariance.config.own_files import check_own_files

    check_own_files()
    # What Pillow thinks of a picture's metadata; what cannot be read is an error, and named.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        module = importlib.import_module(f"solo_invariance.commands.{command}")
        ConfigStore.instance().store(name=f"schema_{command}", node=module.Config)
        _hydra(command, module.run, hydra_arguments(overrides, module.Config))
    except UserError as error:
        return _fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        return _fail(explain_config_error(error, command))
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _hydra(command: str, run: Callable[[Any], None], overrides: list[str]) -> None:
    """Let Hydra compose the configuration and call ``run``, once or, with --multirun, for each job."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    begun = False

    def task(config: Any) -> None:
        nonlocal begun
        begun = True
        # Hydra would print a line of its own about a job that raised; SystemExit passes through it.
        try:
            run(config)
        except UserError as error:
            raise SystemExit(_fail(str(error))) from error
        except OmegaConfBaseException as error:
            raise SystemExit(_fail(explain_config_error(error, command))) from error

    sys.argv = [f"solo-invariance {command}", *overrides]
    # Hydra then raises errors instead of printing them and leaving with exit code 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        hydra.main(version_base="1.3", config_path="pkg://solo_invariance.config", config_name=command)(task)()
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        if begun or isinstance(error, HydraException | OmegaConfBaseException):
            raise
        # What Hydra does not check: a group's choice that is a number, a level of logging that is none.
        raise UserError(
            f"{' '.join(overrides)}: Hydra cannot use this ({str(error) or type(error).__name__})"
        ) from error


def explain_config_error(error: BaseException, command: str) -> str:
    """Return one line for an error of Hydra's or OmegaConf's: which key or value is wrong, and what is allowed."""
    composing = re.match(r"In '(.+)': \w+ raised while composing config", str(error))
    if composing and error.__context__ is not None:
        return f"{composing.group(1)}.yaml: {explain_config_error(error.__context__, command)}"
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    key = getattr(cause, "full_key", None)
    message = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    if key and ("not in struct" in message or "not in '" in message):
        return f"unknown key {key!r} for {command}{_did_you_mean(key, _keys_of(cause))}"
    where = f"{key}: " if key and key not in message else ""
    return f"{where}{message}"


def _keys_of(error: BaseException) -> list[str]:
    parent = getattr(error, "parent_node", None)
    prefix = str(getattr(error, "full_key", "")).rpartition(".")[0]
    return [f"{prefix}.{key}" if prefix else str(key) for key in (parent or {})]


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            f"solo-invariance {__version__}: choose, measure, fuse and transfer the invariances of backbones",
            "",
            "usage: solo-invariance COMMAND [key=value ...] [--help] [--cfg job] [--multirun]",
            "",
            *lines,
            "",
            "solo-invariance COMMAND --help lists the command's keys.",
        ]
    )


def _fail(message: str) -> int:
    print(f"solo-invariance: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
