"""A study's verdicts for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from solo_invariance.report.verdicts import RULE, VERDICTS, bounds, probability, sentence, signed, unit_shown
from solo_invariance.results.study import JudgedClaim, StudyResult, Verdict

_STYLES: Mapping[Verdict, str] = {"holds": "bold green", "does not hold": "bold red", "undecided": "bold yellow"}


def print_study(study: StudyResult, console: Console) -> None:
    """Print how many claims have each verdict, every claim with its effect, and what else is to be known of them."""
    parts = ((text, _STYLES[verdict] if verdict else "") for text, verdict in sentence(study))
    console.print(Text.assemble(f"Study {study.name}. ", *parts))
    console.print(verdicts_table(study))
    for why in dict.fromkeys(claim.why for claim in study.claims if claim.why):
        names = [claim.name for claim in study.claims if claim.why == why]
        console.print(Text(f"{'All' if len(names) == len(study.claims) else ', '.join(names)}: {why}", "yellow"))
    console.print(Text(RULE, "dim"))


def verdicts_table(study: StudyResult) -> Table:
    """A table with a row for each claim: its verdict, and its effect with the intervals over seeds and test images."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", overflow="fold")
    table.add_column(Text("effect [over seeds]\n       [over test images]"), no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("Holm p", justify="right", no_wrap=True)
    findings = [claim.finding for claim in study.claims]
    for index, claim in enumerate(study.claims):
        is_first = index == 0 or findings[index - 1] != claim.finding
        table.add_row(
            Text(claim.finding if is_first else "", "bold"),
            Text(f"{VERDICTS[claim.verdict]} {claim.verdict}", _STYLES[claim.verdict]),
            Text.assemble(claim.name, (f" {unit_shown(claim.unit)}", "dim")),
            _effect(claim),
            str(claim.num_seeds),
            probability(claim.p_holm),
            end_section=index + 1 < len(findings) and findings[index + 1] != claim.finding,
        )
    return table


def _effect(claim: JudgedClaim) -> Text:
    """The effect with its interval over seeds, and below it that over test images."""
    effect = signed(claim.effect, claim.unit)
    images = bounds(claim.images_ci95, claim.unit)
    below = f"\n{' ' * len(effect)} {images}" if images else ""
    return Text.assemble((effect, "bold"), f" {bounds(claim.ci95, claim.unit)}".rstrip(), (below, "dim"))
