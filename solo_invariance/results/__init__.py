"""Result files: who writes a schema reads it.

from solo_invariance.results import InvarianceResult, read_result

result = InvarianceResult.read("out/invariance.json")
result.transforms["rotation"].similarity.mean
"""

from solo_invariance.results.advice import AdviseResult, FamilyAdvice, TransformAdvice
from solo_invariance.results.comparison import Difference, InvarianceComparison, TransferComparison
from solo_invariance.results.estimate import Estimate
from solo_invariance.results.fusion import FusionResult, FusionStep
from solo_invariance.results.invariance import InvarianceResult, ReferenceRecord, TransformResult, ViewResult
from solo_invariance.results.reading import AnyResult, read_result
from solo_invariance.results.result import BackboneRecord, Result
from solo_invariance.results.shaping import DialCurve, DialPoint, ShapedFactor, ShapingResult
from solo_invariance.results.study import JudgedClaim, StudyResult
from solo_invariance.results.transfer import TransferResult

__all__ = [
    "AdviseResult",
    "AnyResult",
    "BackboneRecord",
    "DialCurve",
    "DialPoint",
    "Difference",
    "Estimate",
    "FamilyAdvice",
    "FusionResult",
    "FusionStep",
    "InvarianceComparison",
    "InvarianceResult",
    "JudgedClaim",
    "ReferenceRecord",
    "Result",
    "ShapedFactor",
    "ShapingResult",
    "StudyResult",
    "TransferComparison",
    "TransferResult",
    "TransformAdvice",
    "TransformResult",
    "ViewResult",
    "read_result",
]
