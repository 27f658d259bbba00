"""``solo-invariance doctor``: what is installed, what was found, and what to do about what is missing."""

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.text import Text

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console
from solo_invariance.config.composed import as_dict
from solo_invariance.config.doctor import DoctorConfig as Config
from solo_invariance.installation import Finding, asked_for, doctor

__all__ = ["Config", "Finding", "doctor", "run"]

_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}
_TITLES = {
    "versions": "versions",
    "machine": "machine",
    "host": "host",
    "libraries": "optional libraries",
    "networks": "backbones by name",
    "seams": "seams to solo-learn",
    "plugins": "plugins, by kind",
}
_STATE_WIDTH, _WHAT_WIDTH, _WIDEST = 9, 21, 100


def run(config: Any) -> None:
    """Print everything; exit with 1 where something that was asked for is missing or broken."""
    need = as_dict(config)["need"]
    findings = doctor()
    console.print("solo-invariance doctor", style="italic")
    for group, members in groupby(findings, key=lambda finding: finding.group):
        console.print(_TITLES[group], style="bold")
        for line in _versions(members) if group == "versions" else _lines(members):
            console.print(line, soft_wrap=True, highlight=False)
    deliver(Outcome(None, {"findings": [asdict(finding) for finding in findings]}))
    lacking = asked_for(findings, [str(name) for name in ([need] if isinstance(need, str) else need or [])])
    for missing in lacking:
        print(f"solo-invariance: error: {missing}", file=sys.stderr)
    if lacking:
        raise SystemExit(1)


def _versions(findings: Iterator[Finding]) -> Iterator[Text]:
    for line in _wrapped(", ".join(f"{one.what} {one.found}" for one in findings), indent=2):
        yield Text(f"  {line}")


def _lines(findings: Iterator[Finding]) -> Iterator[Text]:
    """A finding in as many lines as it needs: its state, what it is, what was found; then what to do."""
    indent = 2 + _STATE_WIDTH + _WHAT_WIDTH
    for finding in findings:
        first, *others = _wrapped(finding.found, indent) or [""]
        what = finding.what.ljust(_WHAT_WIDTH)
        yield Text.assemble("  ", (finding.state.ljust(_STATE_WIDTH), _COLOURS[finding.state]), what, first)
        yield from (Text(" " * indent + line) for line in others)
        if finding.advice:
            yield from (Text(" " * indent + line, "yellow") for line in _wrapped(f"-> {finding.advice}", indent))


def _wrapped(text: str, indent: int) -> list[str]:
    """Lines that fit, of whole words: a path or an address that does not fit stays whole, to be copied."""
    width = max(30, min(console.width, _WIDEST) - indent)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
