"""Choosing which backbones to fuse: forward selection by a score, each time the one that helps most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from solo_invariance.backbones.fusion import FusionHead
from solo_invariance.fuse.heads import Projected, Standardized

Score = Callable[[Tensor], float]
"""From features (N, D) of the training images to a cross-validated score; higher is better."""


@dataclass(frozen=True)
class Step:
    """One step of the selection.

    Args:
        member: The best of the members that were left, by its index.
        score: Of the fusion with it.
        gain: Over the fusion without it; over 0 in the first step.
        accepted: Whether it was added: the last step may show that nothing helps any more.
        candidates: The score with each of the members that were left, by its index.
    """

    member: int
    score: float
    gain: float
    accepted: bool
    candidates: dict[int, float]


def forward_selection(
    features: Sequence[Tensor], score: Score, width: int | None = None, max_members: int | None = None
) -> list[Step]:
    """Add members one by one, each time the one with which the fusion scores best, as long as that raises the score.

    Greedy forward selection (Kohavi & John 1997, "Wrappers for feature subset selection", section 3). Every fusion is
    fitted to the same images, without their targets, and then scored. Of members that score the same, the first wins.

    Args:
        features: Of training images, one (N, D_i) a member.
        score: Cross-validated on the training images alone.
        width: Of the fused features, projected where the chosen members have more; None to keep all of theirs.
        max_members: How many may be chosen.

    Returns:
        The steps, in order.

    Raises:
        ValueError: The fusion cannot be fitted to the images.
    """
    steps: list[Step] = []
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < min(len(features), max_members or len(features)):
        left = [index for index in range(len(features)) if index not in chosen]
        scores = {index: score(_fused([features[i] for i in (*chosen, index)], width)) for index in left}
        member = max(left, key=lambda index: scores[index])
        accepted = not chosen or scores[member] > best
        steps.append(Step(member, scores[member], scores[member] - best, accepted, scores))
        if not accepted:
            break
        chosen.append(member)
        best = scores[member]
    return steps


def head_of_width(widths: Sequence[int], width: int | None) -> FusionHead:
    """Return the head, not yet fitted, that makes features of a width, or of all widths together, of the members'."""
    return Standardized(widths) if width is None or width >= sum(widths) else Projected(widths, width)


def _fused(features: Sequence[Tensor], width: int | None) -> Tensor:
    head = head_of_width([f.shape[1] for f in features], width)
    fused: Tensor = head.fit(features)(features)
    return fused
