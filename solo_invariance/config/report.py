"""The keys of ``solo-invariance report``."""

from dataclasses import dataclass, field


@dataclass
class ReportConfig:
    """``solo-invariance report``."""

    runs: list[str] = field(default_factory=lambda: ["runs"])
    out: str = "report.html"
