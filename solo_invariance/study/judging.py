"""Verdicts of a study's claims."""

from collections.abc import Sequence

from solo_invariance.config.claims import Claim
from solo_invariance.results.study import JudgedClaim
from solo_invariance.study.table import Table


def judge(table: Table, claims: Sequence[Claim]) -> list[JudgedClaim]:
    """Return the verdict of each claim, in their order."""
    raise NotImplementedError
