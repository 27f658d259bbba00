"""Which invariances a labelled task wants: ``advise(task)``, see ``advise.run.advise``."""

from solo_invariance.advise.run import advise
from solo_invariance.advise.settings import AdviseSettings
from solo_invariance.callable_package import make_callable

__all__ = ["AdviseSettings", "advise"]

make_callable(__name__, "solo_invariance.advise.run:advise")
