"""``solo-invariance demo``: the whole story on the embedded data."""

import time
from typing import Any

import torch

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.report_tables import print_tables
from solo_invariance.commands.terminal import console, print_facts, progress_bars
from solo_invariance.config.composed import as_object
from solo_invariance.config.demo import DemoConfig as Config

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Pre-train, measure, fuse, transfer and report; print the tables and say where the page is."""
    from solo_invariance.hosts.embedded.demo import demo
    from solo_invariance.report import collect_results

    started = time.perf_counter()
    with progress_bars() as progress:
        made = demo(as_object(config, Config), progress, print_facts)
    print_tables(collect_results(made.runs), console)
    threads = "" if torch.cuda.is_available() else f", {torch.get_num_threads()} CPU threads"
    console.print(f"{time.perf_counter() - started:.0f} s{threads}", style="dim")
    console.print(f"report: {made.page.resolve()}", soft_wrap=True)
    document = {
        "report": str(made.page),
        "checkpoints": {label: str(path) for label, path in made.checkpoints.items()},
        "runs": [str(run) for run in made.runs],
    }
    deliver(Outcome(str(made.page), document))
