"""``solo-invariance doctor``: what is installed, what was found, and what to do about what is missing."""

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console
from solo_invariance.config.doctor import DoctorConfig as Config
from solo_invariance.errors import UserError
from solo_invariance.installation import Finding, doctor

__all__ = ["Config", "Finding", "doctor", "run"]

_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}


def run(config: Any) -> None:
    """Print everything; exit with 2 where something is broken."""
    findings = doctor()
    table = Table(title="solo-invariance doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.state, _COLOURS[finding.state]), finding.what, finding.found, finding.advice)
    console.print(table)
    deliver(Outcome(None, {"findings": [asdict(finding) for finding in findings]}))
    broken = [finding.what for finding in findings if finding.state == "broken"]
    if broken:
        raise UserError(f"broken: {', '.join(broken)}; see the table above")
