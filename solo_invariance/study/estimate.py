"""What a study will cost: short timed passes on this machine, or a stated figure, times how much there is to do."""

import shlex
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.config.composed import plain
from solo_invariance.config.measure import EMBEDDED
from solo_invariance.config.reference import as_value
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.pretrain import trained_per_second
from solo_invariance.measure import MeasureSettings, ResizeCrop, measure
from solo_invariance.progress import about
from solo_invariance.results import InvarianceResult, TransferResult
from solo_invariance.study.evaluation import is_measured, runs_of
from solo_invariance.study.instances import Instance
from solo_invariance.study.needs import missing, num_features_of_arms
from solo_invariance.study.plan import EVALUATION, Plan, Pretraining
from solo_invariance.study.pretraining import accelerator_of, checkpoint_of
from solo_invariance.study.workers import one_thread, processes_of
from solo_invariance.transfer import OwnTask, transfer
from solo_invariance.transfer.task_data import resolved_task

# Solo-learn's recipe for ImageNet that is closest to a method of the embedded host's, and what of the method it reads.
_MOCO = ("--config-path", "scripts/pretrain/imagenet", "--config-name", "mocov2plus")
_RECIPES = {"mocov2": _MOCO, "mocov2plus": _MOCO}
_METHOD_KEYS = ("proj_hidden_dim", "proj_output_dim", "queue_size", "temperature")
_TRIED = 16  # images of a short measurement
_TRIED_K = 2
_TRIED_STEPS = 2
_TRIED_PROBE = 500  # images of a short scoring, whose time goes with their number
_RENDERED = (2000, 1000)
_ANY_SIZE = 224


class JobAhead(NamedTuple):
    """A job, and what it will take.

    Attributes:
        name: As ``only`` has it.
        work: How much it is, in words.
        is_done: Whether nothing of it is left.
        seconds: Of one device; None where nothing says it.
    """

    name: str
    work: str
    is_done: bool
    seconds: float | None

    @property
    def arm(self) -> str:
        """What its seeds have in common: the name without the last part, or all of it."""
        return self.name.rpartition("/")[0] or self.name


@dataclass(frozen=True)
class DryRun:
    """What a study would do.

    Args:
        plan: All of it.
        jobs: Every one.
        processes: How many pre-train at once.
        basis: What the seconds are reckoned from, in sentences.
        commands: By which solo-learn would pre-train.
        missing: What measuring and scoring read that is not there, a sentence for each.
    """

    plan: Plan
    jobs: tuple[JobAhead, ...]
    processes: int
    basis: tuple[str, ...]
    commands: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def device_seconds(self) -> float:
        """How long one device takes for what is left and can be reckoned."""
        return sum(job.seconds or 0.0 for job in self.jobs if not job.is_done)

    @property
    def seconds(self) -> float:
        """How long that takes with the jobs side by side."""
        return self.device_seconds / self.processes

    @property
    def summary(self) -> str:
        """All of it in a line."""
        left = [job for job in self.jobs if not job.is_done]
        unknown = [job.name for job in left if job.seconds is None]
        without = f", without {', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}" if unknown else ""
        device = (
            "GPU" if self.plan.settings.study.cost.images_per_second else choose_device(self.plan.settings.device).type
        )
        hours = (
            f"{self.device_seconds / 3600:,.2g}"
            if self.device_seconds < 36_000
            else f"{self.device_seconds / 3600:,.0f}"
        )
        done = f"{len(self.jobs) - len(left)} of {len(self.jobs)} jobs done"
        if left and len(unknown) == len(left):
            return f"{done}; how long the rest takes, nothing here says"
        return (
            f"{done}; left: about {about(self.seconds)} with {self.processes} at once, {hours} {device} hours{without}"
        )


def dry_run(plan: Plan) -> DryRun:
    """Return what a study would do and how long it would take, by short timed passes of what is left.

    Args:
        plan: Of the study.

    Raises:
        UserError: A setting is wrong.
    """
    done = {one: checkpoint_of(plan, one) is not None for one in plan.pretrainings}
    left = [one for one in plan.to_train if not done[one]]
    rates, basis = _Rates(plan), list[str]()
    jobs = [_pretraining(plan, one, done[one], rates) for one in plan.to_train]
    evaluation = _evaluation(plan)
    basis += [*rates.said, *evaluation.said]
    return DryRun(
        plan,
        (*jobs, evaluation.job),
        processes_of(plan.settings, len(left) or len(plan.instances)),
        tuple(basis),
        tuple(_solo_learn(plan, left)),
        tuple(missing(plan)),
    )


class _Rates:
    """Images a second that each kind of pre-training sees, each timed once; or what the preset states."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[str, tuple[float | None, int | None]] = {}
        self.said: list[str] = []

    def of(self, one: Pretraining) -> tuple[float | None, int | None]:
        """Return the rate of a pre-training, and how many images an epoch has; None where nothing says it."""
        if one.arm not in self._known:
            self._known[one.arm] = self._found(one)
        return self._known[one.arm]

    def _found(self, one: Pretraining) -> tuple[float | None, int | None]:
        cost = self._plan.settings.study.cost
        if cost.images_per_second is not None:
            if not self._is_usual(one):  # the figure is of another network
                self._say(f"{one.arm}: not reckoned: study.cost is of the study's own network")
                return None, cost.num_images
            source = f" ({cost.source})" if cost.source else ""
            self._say(f"pre-training: {cost.images_per_second:,.0f} images a second and device{source}")
            return cost.images_per_second, cost.num_images
        accelerator = accelerator_of(self._plan.settings)
        try:
            with one_thread(self._plan.settings):
                rate, count = trained_per_second(self._plan.config_of(one, accelerator), _TRIED_STEPS)
        except UserError as error:
            self._say(f"{one.arm}: not timed: {error}")
            return None, cost.num_images
        of = "thread" if accelerator == "cpu" else "device"
        self._say(f"{one.arm}: {rate:,.0f} images a second and {of}, timed here in {_TRIED_STEPS} steps")
        return rate, count

    def _is_usual(self, one: Pretraining) -> bool:
        """Whether an arm has the network of all."""
        arm = self._plan.settings.study.arms[one.arm]
        return arm.backbone is None and not {"backbone", "recipe"} & {*arm.pretrain}

    def _say(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.append(sentence)


def _pretraining(plan: Plan, one: Pretraining, is_done: bool, rates: _Rates) -> JobAhead:
    epochs = int(plan.config_of(one).max_epochs)
    if is_done:
        return JobAhead(one.job, f"{epochs} epochs", True, None)
    rate, count = rates.of(one)
    images = "all images" if count is None else f"{count:,} images"
    seconds = None if rate is None or count is None else epochs * count / rate
    return JobAhead(one.job, f"{epochs} epochs of {images}", False, seconds)


class _EvaluationAhead(NamedTuple):
    job: JobAhead
    said: list[str]


def _evaluation(plan: Plan) -> _EvaluationAhead:
    instances = plan.instances
    places = [runs_of(plan, one) for one in instances]
    measured = [place for one in places for place in one.measured]
    scored = [place for one in places for place in (*one.scored, *one.projected)]
    missing = [one for one in measured if not (one / InvarianceResult.usual_name).is_file()]
    unscored = [one for one in scored if not (one / TransferResult.usual_name).is_file()]
    work = f"{len(measured)} measurements and {len(scored)} scores of {len(instances)} backbones"
    if not missing and not unscored:
        return _EvaluationAhead(JobAhead(EVALUATION, work, True, None), [])
    if plan.settings.study.cost.images_per_second is not None:  # of another machine than this
        return _EvaluationAhead(JobAhead(EVALUATION, work, False, None), [])
    try:
        with one_thread(plan.settings):
            seconds, said = _timed(plan, instances, len(missing) / max(1, len(measured)), len(unscored) / len(scored))
    except UserError as error:
        return _EvaluationAhead(JobAhead(EVALUATION, work, False, None), [f"{EVALUATION}: not timed: {error}"])
    return _EvaluationAhead(JobAhead(EVALUATION, work, False, seconds), said)


def _timed(plan: Plan, instances: list[Instance], unmeasured: float, unscored: float) -> tuple[float, list[str]]:
    """Return about how long the evaluation takes, of which only shares are left, and what that is reckoned from."""
    how, device = plan.settings.study.measure, choose_device(plan.settings.device)
    config = plan.config_of(plan.pretrainings[0])
    size = int(config.augmentations[0].crop_size)
    backbone = load_backbone(f"random:{config.backbone.name}", kwargs=plain(config.backbone.kwargs), crop_size=size)
    images = torch.randint(256, (2 * backbone.num_features, 3, size, size), dtype=torch.uint8)
    settings = MeasureSettings(k=_TRIED_K, num_images=_TRIED, geometry=ResizeCrop.of_crop(size))
    started = time.perf_counter()
    result = measure(backbone, images, how.transforms, settings, device=device).only
    transforms = len(result.transforms)
    a_view = (time.perf_counter() - started) / (len(images) + transforms * _TRIED * _TRIED_K)
    views = transforms * how.k * how.num_images + how.data.num_groups * how.data.num_views * len(how.views)
    views += how.reference.num_images
    members = sum(len(plan.parts(one)) for one in instances if is_measured(plan, one))
    singles = len({part for one in instances for part in plan.parts(one)})
    of_arms, of_all = num_features_of_arms(plan), plan.settings.study.width
    widths = Counter(sum(of_arms[part.arm] for part in plan.parts(one)) for one in instances)
    widths[of_all] += len(instances)  # all are scored at one width, too
    probes, said = singles * plan.settings.study.fuse_reference.num_images * a_view, list[str]()
    known: dict[tuple[str, int, int, int], float] = {}
    for task in plan.tasks:
        kind = resolved_task(task, _ANY_SIZE, plan.settings.study.transfer.protocol.value)[0].kind
        train, test = task.num_train or _RENDERED[0], task.num_test or _RENDERED[1]
        for width, count in widths.items():
            if (kind, width, train, test) not in known:
                known[kind, width, train, test] = _seconds_of_probe(kind, width, train, test, device)
            probes += count * known[kind, width, train, test]
        probes += singles * (train + test) * a_view
    said.append(
        f"{EVALUATION}: {1 / a_view:,.0f} views a second and {probes / max(1, len(instances)):.1f} s of scoring a "
        f"backbone, timed here"
    )
    return members * views * a_view * unmeasured + probes * unscored, said


def _seconds_of_probe(kind: str, width: int, train: int, test: int, device: torch.device) -> float:
    """Return how long it takes to score features of a width on a task of a kind, by one that is made up."""
    side, share = max(2, round((width / 3) ** 0.5)), max(1.0, (train + test) / _TRIED_PROBE)
    train, test = round(train / share), round(test / share)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (train + test, 3, side, side), dtype=torch.uint8, generator=generator)
    numbers = images.double().mean((2, 3))
    targets: Any = numbers if kind == "regression" else (numbers[:, 0] > numbers[:, 1]).long()
    own = OwnTask.of(images[:train], targets[:train], images[train:], targets[train:])
    pixels = Backbone.of(nn.Flatten(), crop_size=side)
    started = time.perf_counter()
    transfer(pixels, own, device=device, cache=False)
    return (time.perf_counter() - started) * share


def _solo_learn(plan: Plan, left: list[Pretraining]) -> Iterator[str]:
    """Yield a line for each arm by which solo-learn pre-trains it; none where it cannot read the data or has no recipe.

    Its own recipe for the method is what the keys of ours change; several GPUs are for it to say (``devices``).
    """
    for arm in dict.fromkeys(one.arm for one in left):
        seeds = [one.seed for one in left if one.arm == arm]
        config = plan.config_of(Pretraining(arm, seeds[0]))
        if config.data.dataset == EMBEDDED or config.method not in _RECIPES:
            continue
        family = as_value(plain(config.invariance)["family"])
        is_named = isinstance(config.invariance.family, str)
        values = {
            "augmentations": f"invariance/{family}" if is_named else "invariance/family",
            "+invariance.family": None if is_named else family,
            "name": arm.replace(" ", "-"),
            "max_epochs": config.max_epochs,
            "backbone.name": config.backbone.name,
            "data.dataset": config.data.dataset,
            "data.train_path": config.data.train_path,
            "data.format": config.data.format,
            **{f"method_kwargs.{key}": config.method_kwargs.get(key) for key in _METHOD_KEYS},
            **{f"momentum.{key}": value for key, value in config.momentum.items()},
            "optimizer.batch_size": config.optimizer.batch_size,
            "optimizer.lr": config.optimizer.lr,
            "optimizer.weight_decay": config.optimizer.weight_decay,
            "checkpoint.dir": str(plan.out / "pretrain" / arm),
        }
        keys = [f"{key}={value}" for key, value in values.items() if value is not None]
        command = shlex.join(["python", "main_pretrain.py", *_RECIPES[config.method], *keys])
        yield f"for SEED in {' '.join(map(str, seeds))}; do {command} seed=$SEED; done"
