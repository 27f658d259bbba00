"""The line by which a command says that it is at work while it loads what takes seconds. Imports nothing heavy."""

import os
import sys

from solo_invariance.commands.outcome import output_mode


def say_alive(command: str) -> None:
    """Say that a command is at work, where there is something to wait for; of several processes, the first does."""
    is_loaded, is_first = "torch" in sys.modules, os.environ.get("RANK", "0") == "0"
    if not output_mode() and not is_loaded and is_first:
        print(f"solo-invariance {command}: loading ...", file=sys.stderr, flush=True)
