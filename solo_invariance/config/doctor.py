"""The keys of ``solo-invariance doctor``."""

from dataclasses import dataclass


@dataclass
class DoctorConfig:
    """``solo-invariance doctor``."""
