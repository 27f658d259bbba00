"""The pre-trainings of a study, one after the other or several at once; each gives the same numbers either way."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from solo_invariance.config.study import StudyConfig
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.ahead import Pretrained
from solo_invariance.hosts.embedded.pretrain import finished_run, pretrain
from solo_invariance.progress import Doing, Facts, Progress, no_progress
from solo_invariance.results.files import read_json, write_json
from solo_invariance.study.checkpoints import plan_of
from solo_invariance.study.plan import Plan, Pretraining

_SECONDS = "seconds.json"
_LOOKS = 0.5
_WHAT = "pre-training"


def checkpoint_of(plan: Plan, one: Pretraining) -> Path | None:
    """Return the checkpoint of a pre-training that is done, here or elsewhere; None of one that is not."""
    if one in plan.checkpoints:
        return plan.checkpoints[one]
    return finished_run(plan.config_of(one, accelerator_of(plan.settings)))


def accelerator_of(settings: StudyConfig) -> str:
    """Return what ``pretrain`` calls the device."""
    kind = choose_device(settings.device).type
    return "gpu" if kind == "cuda" else kind


def processes_of(settings: StudyConfig, jobs: int) -> int:
    """Return how many pre-trainings run at once: as many as ``devices`` says, or as there are GPUs or cores.

    Raises:
        UserError: There are fewer GPUs than ``devices``.
    """
    device = choose_device(settings.device)
    if device.type == "cuda":
        there = torch.cuda.device_count() if device.index is None else 1
        if settings.devices is not None and settings.devices > there:
            raise UserError(f"devices={settings.devices}: there {'is 1 GPU' if there == 1 else f'are {there} GPUs'}")
    else:
        there = torch.get_num_threads() if device.type == "cpu" else 1
    return max(1, min(settings.devices or there, jobs))


def seconds_of(plan: Plan) -> float:
    """Return how long the pre-trainings that were done here took in all."""
    files = [plan.out / one.job / _SECONDS for one in plan.to_train]
    return sum(float(read_json(file)["seconds"]) for file in files if file.is_file())


def run_pretrainings(plan: Plan, chosen: Sequence[Pretraining], progress: Progress) -> None:
    """Do pre-trainings, in as many processes as ``devices`` says; those that are done are passed over.

    Args:
        plan: Of the study.
        chosen: Those to do.
        progress: Told how many images are seen, of all that are left.

    Raises:
        UserError: One cannot be done; the message says which.
    """
    left = [one for one in chosen if checkpoint_of(plan, one) is None]
    if not left:
        return
    count = processes_of(plan.settings, len(left))
    bar = _Bar(len(left), progress)
    if count == 1:
        for one in left:
            _pretrain(plan, one, bar.of(one.job))
        return
    _in_processes(plan.settings, left, count, bar)


class _Bar:
    """Progress over several pre-trainings, of each of which a thousandth is a step."""

    def __init__(self, jobs: int, progress: Progress) -> None:
        self._progress = progress
        self._total = 1000 * jobs
        self._done: dict[str, int] = {}

    def of(self, job: str) -> Progress:
        """Return the progress of one."""

        def report(what: str, done: int, total: int) -> None:
            self._done[job] = 1000 * done // max(1, total)
            detail = f"{job.removeprefix('pretrain/')}: {getattr(what, 'detail', '')}"
            self._progress(Doing(_WHAT, detail), sum(self._done.values()), self._total)

        return report


def _pretrain(plan: Plan, one: Pretraining, progress: Progress) -> None:
    """Do one pre-training, and keep how long it took."""
    ended: list[Pretrained] = []

    def announce(facts: Facts) -> None:
        if isinstance(facts, Pretrained):
            ended.append(facts)

    accelerator = accelerator_of(plan.settings)
    try:
        with one_thread() if accelerator == "cpu" else nullcontext():
            pretrain(plan.config_of(one, accelerator), progress, announce)
    except UserError as error:
        raise UserError(f"{one.job}: {error}") from error
    file = plan.out / one.job / _SECONDS
    if ended and ended[0].seconds is not None:
        before = float(read_json(file)["seconds"]) if file.is_file() else 0.0
        write_json(file, {"seconds": before + ended[0].seconds})


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread for a while: sums over several come out differently, and so would the weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_processes(settings: StudyConfig, left: Sequence[Pretraining], count: int, bar: _Bar) -> None:
    context = get_context("spawn")
    told = context.Queue()
    by_name = {one.job: bar.of(one.job) for one in left}
    listener = threading.Thread(target=_listen, args=(told, by_name), daemon=True)
    listener.start()
    numbers = context.Queue()
    for number in range(count):
        numbers.put(number)
    device = choose_device(settings.device)
    of_worker = (os.getpid(), device.type == "cuda" and device.index is None, numbers, told)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=of_worker)
    try:
        for done in as_completed([pool.submit(_work, settings, one) for one in left]):
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        told.put(None)
        listener.join()


def _listen(told: Any, by_name: Mapping[str, Callable[[str, int, int], None]]) -> None:
    while (said := told.get()) is not None:
        job, detail, done, total = said
        by_name[job](Doing(_WHAT, detail), done, total)


# What a worker has been given for all of its jobs.
_told: Any = None


def _begin(parent: int, has_gpus: bool, numbers: Any, told: Any) -> None:
    """Begin a worker: on a GPU of its own, where there are several, and for no longer than its parent lives."""
    global _told
    _told = told
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    number = numbers.get()
    if has_gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOKS)
    os._exit(1)


def _work(settings: StudyConfig, one: Pretraining) -> None:
    def report(what: str, done: int, total: int) -> None:
        _told.put((one.job, getattr(what, "detail", ""), done, total))

    _pretrain(plan_of(settings), one, report if _told is not None else no_progress)
