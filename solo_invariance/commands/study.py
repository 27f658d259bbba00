"""``solo-invariance study``: whether the findings hold, with seeds, controls and verdicts."""

from typing import Any

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console, print_facts, progress_bars
from solo_invariance.config.composed import as_object
from solo_invariance.config.study import StudyConfig as Config

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Run a study, or go on with it, and print its verdicts; or print what it would do."""
    from solo_invariance.study.run import study

    settings = as_object(config, Config)
    with progress_bars() as progress:
        result = study(settings, progress, print_facts)
    if result is None:
        console.print("done")
        return
    deliver(Outcome("study.json", result.as_content()))
