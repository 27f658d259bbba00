"""Results of measuring and transfer as one page: ``report(runs, out, export)``, see ``report.page.build_report``."""

from solo_invariance.callable_package import make_callable
from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.page import build_report, command_of, write_report

__all__ = ["Results", "build_report", "collect_results", "command_of", "write_report"]

make_callable(__name__, "solo_invariance.report.page:build_report")
