"""The keys of ``solo-invariance doctor``."""

from dataclasses import dataclass, field

from solo_invariance.config.kinds import Names


@dataclass
class DoctorConfig:
    """``solo-invariance doctor``.

    Args:
        need: What has to be there: solo-learn, lightly, faiss, scikit-learn, gpu, or plugins by their names.
    """

    need: Names = field(default_factory=list)
