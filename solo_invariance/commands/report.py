"""``solo-invariance report``: one HTML page of all results."""

from pathlib import Path
from typing import Any

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console
from solo_invariance.config.composed import as_object
from solo_invariance.config.report import ReportConfig as Config

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Print the tables, write the page and say where it is."""
    from solo_invariance.commands.report_tables import print_tables
    from solo_invariance.report import collect_results, command_of, write_report

    settings = as_object(config, Config)
    results = collect_results(settings.runs, settings.baseline, layers=settings.layers)
    command = command_of(settings.runs, settings.out, settings.export, settings.baseline, layers=settings.layers)
    # First: who reads the tables may stop, as head does.
    page = write_report(results, settings.out, settings.export, command)
    if settings.export is not None:
        console.print(f"tables and figures: {Path(settings.export).resolve()}", soft_wrap=True)
    console.print(f"report: {page.resolve()}", soft_wrap=True)
    print_tables(results, console)
    files = [{"path": str(file.file), **file.as_content()} for file in results.files]
    deliver(Outcome(str(page), {"report": str(page), "results": files}))
