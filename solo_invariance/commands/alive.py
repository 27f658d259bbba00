"""The line by which a command says that it is at work while it loads what takes seconds. Imports nothing heavy."""

import os
import sys


class _Alive:
    """What is said, and whether.

    Attributes:
        quiet: Whether nothing is: set by whoever is asked to be quiet.
    """

    quiet = False

    def say(self, command: str) -> None:
        """Say that a command is at work, where there is something to wait for; of several processes, the first does."""
        is_loaded, is_first = "torch" in sys.modules, os.environ.get("RANK", "0") == "0"
        if not self.quiet and not is_loaded and is_first:
            print(f"solo-invariance {command}: loading ...", file=sys.stderr, flush=True)


alive = _Alive()
