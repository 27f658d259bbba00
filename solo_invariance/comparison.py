"""Two runs on the same images, whatever they measured."""

from pathlib import Path

from solo_invariance.errors import UserError
from solo_invariance.measure.comparison import compare_runs
from solo_invariance.results import InvarianceComparison, TransferComparison
from solo_invariance.results.invariance import INVARIANCE_FILE
from solo_invariance.results.transfer import TRANSFER_FILE
from solo_invariance.transfer.comparison import compare_scores


def compare(ours: Path | str, theirs: Path | str, seed: int = 0) -> InvarianceComparison | TransferComparison:
    """Return the paired differences of two runs of ``measure``, or of ``transfer`` on one task, ours minus theirs.

    Both looked at the same images, which are drawn for both alike: a paired interval is far surer than two intervals
    side by side. It is written to ``comparison.json`` in ``ours``.

    Args:
        ours: A directory with ``invariance.json`` or ``transfer.json``.
        theirs: Another one, of the same kind.
        seed: Of the bootstrap.

    Raises:
        UserError: A directory has no result, they are of two kinds, or they looked at other images.
    """
    ours, theirs = Path(ours), Path(theirs)
    for file, compared in ((INVARIANCE_FILE, compare_runs), (TRANSFER_FILE, compare_scores)):
        if (ours / file).is_file():
            if not (theirs / file).is_file():
                raise UserError(f"{theirs}: has no {file}, which {ours} is to be compared with")
            found: InvarianceComparison | TransferComparison = compared(ours, theirs, seed)
            return found
    raise UserError(f"{ours}: holds no {INVARIANCE_FILE} and no {TRANSFER_FILE}")
