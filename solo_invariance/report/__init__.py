"""Results of measuring and transfer as tables in the terminal and as one page."""

from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.page import build_report
from solo_invariance.report.tables import print_tables

__all__ = ["Results", "build_report", "collect_results", "print_tables"]
