"""How a probe is fitted and scored, whichever it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.protocols import LogisticSolver, ProtocolName

ProbeKind = Literal["ridge", "logistic", "kernel_ridge", "knn", "few_shot"]


@dataclass(frozen=True)
class ProbeSettings:
    """How to probe one backbone's features on one task.

    Args:
        probe: What is trained on the features.
        solver: Of logistic regression: the official code's, which stops early, or one that converges.
        kind: Of the task's targets: ``classification``, ``multilabel`` or ``regression``.
        metric: The score's name.
        protocol: ``paper`` keeps its quirks, ``clean`` repairs them; see ``solo_invariance.protocols``.
        folds: Of the cross-validation that chooses the penalty.
        num_members: Of a fusion; each further one shifts the grid of penalties.
        scaled: Whether the scale of features means something: linear probes then centre them only.
        open_widths: Of the members of a fusion, where each one's weight is chosen by cross-validation, by ridge
            regression; nearest neighbours and episodes take all members alike.
        knn: How nearest neighbours vote, for ``probe="knn"``.
        few_shot: What an episode is, for ``probe="few_shot"``.
        seed: Of the folds, of the episodes and of the bootstrap.
    """

    probe: ProbeKind
    kind: str
    metric: str
    protocol: ProtocolName = "clean"
    solver: LogisticSolver = "converged"
    folds: int = 5
    num_members: int = 1
    scaled: bool = False
    open_widths: Sequence[int] | None = None
    knn: KNNConfig = field(default_factory=KNNConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    seed: int = 0

    @property
    def score_name(self) -> str:
        """What results call the score: that of episodes says what an episode is."""
        if self.probe != "few_shot":
            return self.metric
        return f"{self.few_shot.ways}_way_{self.few_shot.shots}_shot_accuracy"

    @property
    def same_to_compare(self) -> dict[str, Any]:
        """What results of two backbones must have in common for a paired comparison, by its key there."""
        episodes = {"seed": self.seed, "details": vars(self.few_shot)} if self.probe == "few_shot" else {}
        return {"metric": self.score_name, **episodes}
