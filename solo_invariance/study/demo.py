"""The demo: the study that takes minutes."""

from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.results import StudyResult
from solo_invariance.study.run import preset_named, study


def demo(
    out: str = "runs/demo", progress: Progress = no_progress, announce: Announce = say_nothing
) -> StudyResult | None:
    """Run the study of the preset ``demo``: everything once, on the embedded images.

    Args:
        out: Where its results and its pages go.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``StudyAhead``.

    Raises:
        UserError: ``out`` holds other results.
    """
    return study(preset_named("demo", out), progress, announce)
