"""Writing backbones for others: ``export(backbone, out)``, see ``export.run.export``."""

from solo_invariance.callable_package import make_callable
from solo_invariance.export.run import export

__all__ = ["export"]

make_callable(__name__, "solo_invariance.export.run:export")
