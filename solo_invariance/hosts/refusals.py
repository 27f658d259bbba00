"""What we say inside solo-learn's scripts, and how we refuse: one line, and exit code 2."""

import atexit
import difflib
import os
import re
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Any

from solo_invariance.errors import UserError

_SOLO_LEARN = "solo.methods.base"
_OUR_AUGMENTATIONS = re.compile(r"\+*augmentations=invariance/([^/,]+)$")
_WITHOUT_OUR_GROUP = re.compile(r"(\+*augmentations=)(\w+)$")
_WITHOUT_PLUS = re.compile(r"(invariance(?:\.\w+)*=.*)$", re.DOTALL)


def say(message: str) -> None:
    """Write one line about a run of somebody else's script; to stderr, since what goes to stdout is the script's."""
    print(f"solo-invariance: {message}", file=sys.stderr, flush=True)


def leave_solo_learn(error: UserError) -> None:
    """End a run of one of solo-learn's scripts for a wrong input: one line and exit code 2, instead of a traceback.

    Does nothing in other programs, in sweeps, whose other runs go on, and with Hydra's ``HYDRA_FULL_ERROR=1``, which
    asks for the traceback: the error takes its course there.

    Args:
        error: Ours. One that was raised in a data worker comes with that worker's traceback, which is left out.

    Raises:
        SystemExit: The run ends here.
    """
    if not _in_solo_learns_job():
        return
    rank = os.environ.get("LOCAL_RANK", "0")
    message = str(error).strip().splitlines()[-1].rpartition("UserError: ")[2]
    say(f"error: {message}" if rank == "0" else f"error (process {rank}): {message}")
    raise SystemExit(2) from error


def _in_solo_learns_job() -> bool:
    if _SOLO_LEARN not in sys.modules or os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0"):
        return False
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode != RunMode.MULTIRUN


def refuse_dali(cfg: Any) -> None:
    """Refuse ``data.format=dali`` in a run of families.

    Args:
        cfg: The run's configuration.

    Raises:
        UserError: It asks for that.
    """
    from omegaconf import OmegaConf

    if OmegaConf.select(cfg, "data.format") == "dali":
        raise UserError(
            "data.format=dali bypasses the dataset that families work on; use data.format=image_folder or h5"
        )


def explain_at_exit(arguments: Sequence[str]) -> None:
    """Say in one line of ours, below Hydra's, what is wrong with our keys, should nothing be composed of them.

    Args:
        arguments: Of the command line.
    """
    composed()
    line = explanation(arguments)
    if line is not None:
        atexit.register(say, f"error: {line}")


def composed() -> None:
    """Take back what would be said at exit: the configuration was composed, so that its keys are right."""
    atexit.unregister(say)


def explanation(arguments: Sequence[str]) -> str | None:
    """Return what is wrong with the keys of ours on a command line of solo-learn's, if it does not compose.

    Example:
        >>> explanation(["invariance.family=ventral"])
        'invariance.family=ventral: a key that the recipe does not have takes a plus, +invariance.family=ventral'
    """
    watches = [argument for argument in arguments if argument.startswith("+invariance=")]
    if len(watches) > 1:
        names = ",".join(argument.partition("=")[2].strip("[]") for argument in watches)
        return f"{' '.join(watches)}: two choices are one list, '+invariance=[{names}]'"
    for argument in arguments:
        chosen = _OUR_AUGMENTATIONS.match(argument)
        if chosen and chosen[1] not in _choices():
            return f"{argument}: {_suggestion(chosen[1])}"
        plain = _WITHOUT_OUR_GROUP.match(argument)
        if plain and plain[2] in _choices():
            return f"{argument}: ours is {plain[1]}invariance/{plain[2]}"
        if _WITHOUT_PLUS.match(argument) and not watches:
            return f"{argument}: a key that the recipe does not have takes a plus, +{argument}"
    return None


def _choices() -> list[str]:
    folder = resources.files("solo_invariance.plugin_configs") / "augmentations" / "invariance"
    return sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))


def _suggestion(name: str) -> str:
    from solo_invariance.plugins import discover

    if name in {plugin.name for plugin in discover("families")}:
        return f"a family of another package is augmentations=invariance/family +invariance.family={name}"
    close = difflib.get_close_matches(name, _choices(), n=1)
    hint = f"did you mean 'invariance/{close[0]}'? " if close else ""
    return f"there is no such choice of ours; {hint}known: {', '.join(_choices())}"
