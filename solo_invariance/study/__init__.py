"""The paper's findings with seeds, controls and verdicts."""

from solo_invariance.callable_package import make_callable
from solo_invariance.config.claims import Claim
from solo_invariance.study.instances import Instance, Runs
from solo_invariance.study.judging import judge
from solo_invariance.study.table import Table

__all__ = ["Claim", "Instance", "Runs", "Table", "judge"]

make_callable(__name__, "solo_invariance.study.run:study")
