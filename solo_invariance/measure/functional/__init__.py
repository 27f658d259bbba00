r"""The mathematics of invariance, as pure functions on features.

Source: Ericsson, Gouk & Hospedales (2022), "Why Do Self-Supervised Models Transfer?", section on measuring invariance.
With mean :math:`\mu` and covariance :math:`\Sigma` of a backbone's features on clean reference images, a feature
:math:`f` is whitened to :math:`z = W (f - \mu)` with :math:`W^\top W = \Sigma^{-1}`.
"""

from solo_invariance.measure.functional.chance import chance_similarity, correct_for_chance, same_image
from solo_invariance.measure.functional.equivariance import equivariance_terms
from solo_invariance.measure.functional.health import alpha_req, rankme
from solo_invariance.measure.functional.parameter_readout import parameter_readout_terms
from solo_invariance.measure.functional.retrieval import retrieval_rank
from solo_invariance.measure.functional.similarity import (
    group_distance,
    group_similarity,
    invariance_distance,
    invariance_similarity,
    width_matched_group_similarity,
    width_matched_similarity,
)
from solo_invariance.measure.functional.whitening import (
    Whitening,
    hold_out,
    hold_out_pairs,
    whiten,
    whitening_from_statistics,
    width_matched_projections,
)

__all__ = [
    "Whitening",
    "alpha_req",
    "chance_similarity",
    "correct_for_chance",
    "equivariance_terms",
    "group_distance",
    "group_similarity",
    "hold_out",
    "hold_out_pairs",
    "invariance_distance",
    "invariance_similarity",
    "parameter_readout_terms",
    "rankme",
    "retrieval_rank",
    "same_image",
    "whiten",
    "whitening_from_statistics",
    "width_matched_group_similarity",
    "width_matched_projections",
    "width_matched_similarity",
]
