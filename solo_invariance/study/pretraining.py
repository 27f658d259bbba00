"""The pre-trainings of a study, which need nothing of each other."""

from collections.abc import Sequence
from pathlib import Path

from solo_invariance.config.study import StudyConfig
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.ahead import Pretrained
from solo_invariance.hosts.embedded.pretrain import finished_run, pretrain
from solo_invariance.progress import Doing, Facts, Progress
from solo_invariance.results.files import read_json, write_json
from solo_invariance.study.plan import Plan, Pretraining
from solo_invariance.study.workers import do_jobs, processes_of

_SECONDS = "seconds.json"
_WHAT = "pre-training"
_STEPS = 1000  # of the bar, for each pre-training


def checkpoint_of(plan: Plan, one: Pretraining) -> Path | None:
    """Return the checkpoint of a pre-training that is done, here or elsewhere; None of one that is not."""
    if one in plan.checkpoints:
        return plan.checkpoints[one]
    return finished_run(plan.config_of(one, accelerator_of(plan.settings)))


def accelerator_of(settings: StudyConfig) -> str:
    """Return what ``pretrain`` calls the device."""
    kind = choose_device(settings.device).type
    return "gpu" if kind == "cuda" else kind


def seconds_of(plan: Plan) -> float:
    """Return how long the pre-trainings that were done here took in all."""
    files = [plan.out / one.job / _SECONDS for one in plan.to_train]
    return sum(float(read_json(file)["seconds"]) for file in files if file.is_file())


def run_pretrainings(plan: Plan, left: Sequence[Pretraining], progress: Progress) -> None:
    """Do pre-trainings, in as many processes as ``devices`` says.

    Args:
        plan: Of the study.
        left: Those to do, which are not done yet.
        progress: Told how far the work is.

    Raises:
        UserError: One cannot be done; the message says which.
    """
    bar = _Bar(len(left), progress)
    if left:
        do_jobs(plan, _pretrain, left, processes_of(plan.settings, len(left)), {one: bar.of(one) for one in left})


class _Bar:
    """Progress over several pre-trainings."""

    def __init__(self, jobs: int, progress: Progress) -> None:
        self._progress = progress
        self._total = _STEPS * jobs
        self._done: dict[Pretraining, int] = {}

    def of(self, one: Pretraining) -> Progress:
        """Return the progress of one."""

        def report(what: str, done: int, total: int) -> None:
            self._done[one] = _STEPS * done // max(1, total)
            detail = f"{one.job.removeprefix('pretrain/')}: {getattr(what, 'detail', '')}"
            self._progress(Doing(_WHAT, detail), sum(self._done.values()), self._total)

        return report


def _pretrain(plan: Plan, one: Pretraining, progress: Progress) -> None:
    """Do one pre-training, and keep how long it took."""
    ended: list[Pretrained] = []

    def announce(facts: Facts) -> None:
        if isinstance(facts, Pretrained):
            ended.append(facts)

    try:
        pretrain(plan.config_of(one, accelerator_of(plan.settings)), progress, announce)
    except UserError as error:
        raise UserError(f"{one.job}: {error}") from error
    file = plan.out / one.job / _SECONDS
    if ended and ended[0].seconds is not None:
        before = float(read_json(file)["seconds"]) if file.is_file() else 0.0
        write_json(file, {"seconds": before + ended[0].seconds})
