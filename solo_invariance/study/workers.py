"""Jobs of a study in processes of their own, which give the numbers that one process would."""

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from queue import Empty
from typing import Any, TypeVar

import torch

from solo_invariance.config.study import StudyConfig
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.progress import Doing, Progress
from solo_invariance.study.checkpoints import plan_of
from solo_invariance.study.plan import Plan

Job = TypeVar("Job", bound=Hashable)

Work = Callable[[Plan, Any, Progress], None]
"""Does a job of a plan; a function of a module, so that other processes find it."""

_LOOKS = 0.5
_PATIENCE = 5.0


def processes_of(settings: StudyConfig, jobs: int) -> int:
    """Return how many processes work at once: as many as ``devices`` says, or as there are GPUs or cores.

    Args:
        settings: With ``device`` and ``devices``.
        jobs: How many there are.

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


@contextmanager
def one_thread(settings: StudyConfig) -> Iterator[None]:
    """Compute in one thread for a while, on a CPU: sums over several come out differently, and so would all numbers."""
    before = torch.get_num_threads()
    try:
        if choose_device(settings.device).type == "cpu":
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def do_jobs(plan: Plan, work: Work, jobs: Sequence[Job], count: int, progress: Mapping[Job, Progress]) -> None:
    """Do jobs, in their order, here or in several processes.

    Args:
        plan: Of the study.
        work: Does one.
        jobs: All of them.
        count: Of processes.
        progress: Told how far each is, and that it is done: 1 of 1.

    Raises:
        UserError: One cannot be done; those that are at work are waited for.
    """
    if count == 1:
        with one_thread(plan.settings):
            for job in jobs:
                work(plan, job, progress[job])
                progress[job]("", 1, 1)
        return
    context = get_context("spawn")
    told, numbers = context.Queue(), context.Queue()
    for number in range(count):
        numbers.put(number)
    ended = threading.Event()
    listener = threading.Thread(target=_listen, args=(told, progress, ended), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(plan.settings, os.getpid(), numbers, told)
    )
    try:
        for done in as_completed([pool.submit(_work, work, job) for job in jobs]):
            done.result()
    except BrokenProcessPool as error:
        raise UserError(
            f"devices={count}: one of the processes ended before its work was done. Where memory is short, the system "
            f"ends them: the same call goes on, with fewer devices if that was it. In a script, the call belongs under "
            f"`if __name__ == '__main__':`, since every process reads the script again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        ended.set()
        listener.join(_PATIENCE)  # of a process that died while it told something, half of that may be there


def _listen(told: Any, progress: Mapping[Any, Progress], ended: threading.Event) -> None:
    while True:
        try:
            job, what, detail, done, total = told.get(timeout=_LOOKS)
        except Empty:
            if ended.is_set():
                return
            continue
        progress[job](Doing(what, detail), done, total)


# What a worker has been given for all of its jobs.
_plan: Any = None
_told: Any = None


def _begin(settings: StudyConfig, parent: int, numbers: Any, told: Any) -> None:
    """Begin a worker: on a GPU of its own or in one thread, and for no longer than its parent lives."""
    global _plan, _told
    _told = told
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    number = numbers.get()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if settings.device in ("auto", "cuda") and visible != "":
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)
    if choose_device(settings.device).type == "cpu":
        torch.set_num_threads(1)
    _plan = plan_of(settings)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOKS)
    os._exit(1)


def _work(work: Work, job: Any) -> None:
    def report(what: str, done: int, total: int) -> None:
        _told.put((job, str(what), getattr(what, "detail", ""), done, total))

    work(_plan, job, report)
    report("", 1, 1)
