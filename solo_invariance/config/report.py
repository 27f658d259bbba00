"""The keys of ``solo-invariance report``."""

from dataclasses import dataclass, field

from solo_invariance.config.checks import Checked
from solo_invariance.config.kinds import FilePath


@dataclass
class ReportConfig(Checked):
    """``solo-invariance report``."""

    runs: list[FilePath] = field(default_factory=lambda: ["runs"])
    out: FilePath = "report.html"
    export: FilePath | None = None
    baseline: str | None = None
    layers: bool = False
