"""Read a result file without knowing which kind it is."""

from pathlib import Path

from solo_invariance.results.advice import AdviseResult
from solo_invariance.results.comparison import InvarianceComparison, TransferComparison
from solo_invariance.results.document import require_kind
from solo_invariance.results.files import read_json
from solo_invariance.results.fusion import FusionResult
from solo_invariance.results.invariance import InvarianceResult
from solo_invariance.results.shaping import DialCurve, ShapingResult
from solo_invariance.results.study import StudyResult
from solo_invariance.results.transfer import TransferResult

AnyResult = (
    InvarianceResult
    | TransferResult
    | InvarianceComparison
    | TransferComparison
    | FusionResult
    | ShapingResult
    | DialCurve
    | StudyResult
    | AdviseResult
)

_KINDS: tuple[type[AnyResult], ...] = (
    InvarianceResult,
    TransferResult,
    InvarianceComparison,
    TransferComparison,
    FusionResult,
    ShapingResult,
    DialCurve,
    StudyResult,
    AdviseResult,
)


def read_result(path: Path | str) -> AnyResult:
    """Read and check one result file of any kind, which the file itself says.

    Raises:
        UserError: It cannot be read, is of no known kind or of another schema, or a value is missing, of the wrong type
            or not finite; the message names the file and the key.
    """
    file = Path(path)
    content = read_json(file)
    kinds = {kind.kind: kind for kind in _KINDS}
    require_kind(content, file, list(kinds))
    return kinds[content["kind"]].from_content(content, file)
