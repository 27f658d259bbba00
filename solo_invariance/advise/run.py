"""Advice on which invariances a labelled task wants: the whole way from images to a ranking of families."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_invariance.advise.ahead import AdviceAhead
from solo_invariance.advise.filters import untrained_filters
from solo_invariance.advise.ranking import ranking, recommended
from solo_invariance.advise.reading import Bench, Effect, Reading
from solo_invariance.advise.settings import AdviseSettings
from solo_invariance.advise.trained import Known, Trained, by_family, correlations, known_in, told_apart
from solo_invariance.advise.views import Canvases, Change, FamilyChange, TransformChange
from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.load import config_of
from solo_invariance.bootstrap import Interval, ResampledScores
from solo_invariance.config.advise import FAMILIES, FEWEST_IMAGES, LEAST_SIDE, require_several
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import require_texts
from solo_invariance.data.images import TensorImages
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.families import Family
from solo_invariance.families.from_config import family_from_config
from solo_invariance.features import ExtractionSettings, FeatureCache, extract_features
from solo_invariance.features.ahead import in_words
from solo_invariance.measure.named import transforms_named
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.report.association import Correlation
from solo_invariance.results import AdviseResult, TransferResult
from solo_invariance.results.advice import ADVICE_FILE
from solo_invariance.results.files import SCHEMA, require_finite, versions
from solo_invariance.results.run_directory import RunDirectory, open_run
from solo_invariance.transfer import OwnTask, TransferSettings, transfer
from solo_invariance.transfer.chance import chance_level
from solo_invariance.transfer.chosen_tasks import ChosenTask, TaskChoice, chosen_tasks
from solo_invariance.transfer.record import BackboneSource, backbone_record, identity_of, task_record, weights_of
from solo_invariance.transfer.scored_task import require_sound
from solo_invariance.transfer.settings import probe_settings
from solo_invariance.transfer.task_data import TaskData

USUAL_SIDE = 64
"""Of what untrained filters see of an image, in pixels, by default."""

_USUAL = AdviseSettings()
_SURE_OF_LEARNING = 3.0  # standard errors above chance, of many tasks that people may try
_KINDS = ("spatial", "appearance")


def advise(
    task: TaskChoice = "shape",
    families: Sequence[Any] = FAMILIES,
    settings: AdviseSettings = _USUAL,
    *,
    backbone: BackboneSource | None = None,
    crop_size: int = USUAL_SIDE,
    transforms: Sequence[str] | str = "all",
    runs: Sequence[Path | str] = (),
    backbones: Sequence[BackboneConfig | Path | str] = (),
    out: Path | str | None = None,
    device: str = "auto",
    cache: bool = True,
    progress: Progress = no_progress,
    announce: Announce = say_nothing,
    config: Mapping[str, Any] | None = None,
) -> AdviseResult:
    """Return which family of augmentations a labelled task wants to be pre-trained with, of some, with its uncertainty.

    Nothing is trained but linear readers of frozen features. A family is safe for a task where its views cost next to
    nothing in two ways: the targets can still be read where views are all that is seen, in training and in the test
    (what a backbone knows that is wholly invariant, it knows from a view), and they can be read of features that are
    kept because views share them (what a linear backbone would learn of the views, in closed form); a clear gain of the
    latter outweighs the former. Of the safe families, the one that changes images most is first. Backbones that exist
    outweigh that where there are several of a family: they are scored on the task.

    Args:
        task: A task's name, or a ``TaskConfig`` with its settings; an ``OwnTask``, or a tuple of training images,
            training targets, test images and test targets in the forms that ``OwnTask.of`` takes.
        families: Which to rank: names, lists of names, which are composed, or families that are written out.
        settings: How many views and images, and what counts as no cost.
        backbone: Whose features are read, as ``transfer`` takes it: one that is invariant to little. By default,
            filters that were never trained.
        crop_size: Side of what these see of an image, in pixels; views are of that size.
        transforms: Synthetic transforms whose effects are looked at as well, names or ``all``.
        runs: Directories with results of ``measure``, ``transfer`` or ``study``, whose backbones are scored on the
            task; their invariances are set against the scores.
        backbones: Further ones to score, by checkpoint or name.
        out: A directory to write ``advice.json`` to. Advice that is there already, of the same configuration, is
            returned as it is. None writes nothing.
        device: Where to compute; ``auto`` is a GPU where there is one.
        cache: Find features of backbones in the cache, and keep them there; not those of untrained filters.
        progress: Told how far the work is.
        announce: Told what is to be done, an ``AdviceAhead``.
        config: What results say was asked for, where that is not what the arguments say: the command's configuration.

    Returns:
        ``families`` in their order, ``recommended``, and ``verdict``, which is ``undecided`` where none is first in
        95 % of resamples, and ``no advice`` where the task is not learnt.

    Raises:
        UserError: There is no such task, family, transform or backbone, a setting does not suit it, an image cannot be
            read, targets allow no score, or ``out`` holds advice of another configuration.

    Example:
        >>> images = torch.randint(256, (120, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        >>> noise = torch.arange(120) % 2
        >>> found = advise((images[:80], noise[:80], images[80:], noise[80:]), crop_size=32, transforms=[], cache=False)
        >>> found.verdict
        'no advice'
    """
    require_texts(out=out)
    chosen = _one(task)
    ranked = _families(families)
    changes = transforms_named(transforms)
    known = told_apart([*known_in(runs), *map(_known, backbones)], settings.seed)
    where = choose_device(device)
    net = _loaded(backbone, crop_size, settings.seed).to(where)
    data = _data(chosen, net, settings)
    record = {
        "task": task_record(chosen.config),
        "backbone": {"name": net.provenance.label} if backbone is None else backbone_record(backbone, net),
        "crop_size": net.input_spec.crop_size,
        "families": [family.describe() for family in ranked.values()],
        "transforms": [*changes],
        "known": [asdict(one) for one in known],
        **asdict(settings),
    }
    directory = None
    if out is not None:
        weights = None if backbone is None else weights_of(backbone, net)
        directory = open_run(str(out), identity_of(record, weights, data))
        if (directory.path / ADVICE_FILE).is_file():
            return AdviseResult.read(directory.path / ADVICE_FILE)
    kept = FeatureCache.default() if cache else None
    search = _Search(chosen, data, net, ranked, changes, known, settings, None if backbone is None else kept, progress)
    with nullcontext() if directory is None else directory.locked():
        announce(search.ahead(str(where), None if out is None else str(out)))
        result = search.result(device, cache, dict(config or record), directory)
        if directory is not None:
            directory.claim()
            result.write(directory.path / ADVICE_FILE)
    return result


def _one(task: TaskChoice) -> ChosenTask:
    chosen = chosen_tasks(task)
    if len(chosen) != 1:
        raise UserError(f"task: {len(chosen)} tasks, expected one: each wants invariances of its own")
    return chosen[0]


def _families(chosen: Sequence[Any]) -> dict[str, Family]:
    require_several(chosen)
    made = [family_from_config(one, where="families: ") for one in chosen]
    names = [family.name for family in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"families: {twice} is there twice; leave one out, or give a family written out another name")
    return dict(zip(names, made, strict=True))


def _known(source: BackboneConfig | Path | str) -> Known:
    config = source if isinstance(source, BackboneConfig) else config_of(source)
    return Known("", config)


def _loaded(source: BackboneSource | None, crop_size: int, seed: int) -> Backbone:
    if source is None:
        if crop_size < LEAST_SIDE:
            raise UserError(f"backbone.crop_size={crop_size}: untrained filters need at least {LEAST_SIDE} pixels")
        return untrained_filters(crop_size, seed)
    if isinstance(source, BackboneConfig | Path | str):
        return load_backbone(source, seed)
    return source if isinstance(source, Backbone) else Backbone.of(source)


def _data(chosen: ChosenTask, net: Backbone, settings: AdviseSettings) -> TaskData:
    data = chosen.load(net.input_spec.crop_size, "clean", settings.num_workers, settings.num_images)
    require_sound(data, probe_settings(TransferSettings(seed=settings.seed), data.task))
    for split, name in ((data.train, "training"), (data.test, "test")):
        if len(split.targets) < FEWEST_IMAGES:
            raise UserError(
                f"task.name={data.name}: {len(split.targets)} {name} images, advice needs {FEWEST_IMAGES} at least"
            )
    return data


@dataclass(frozen=True)
class _Search:
    """All that advice is made of."""

    chosen: ChosenTask
    data: TaskData
    backbone: Backbone
    families: Mapping[str, Family]
    transforms: Mapping[str, Any]
    known: Sequence[Known]
    settings: AdviseSettings
    cache: FeatureCache | None
    progress: Progress

    def ahead(self, device: str, out: str | None) -> AdviceAhead:
        """Return what is about to be done."""
        return AdviceAhead(
            task=self.data.label,
            targets=str(self.data.targets),
            backbone=in_words(self.backbone),
            families=tuple(self.families),
            num_transforms=len(self.transforms),
            num_train=len(self.data.train.images),
            num_test=len(self.data.test.images),
            k=self.settings.k,
            num_known=len(self.known),
            device=device,
            out=out,
        )

    def result(
        self, device: str, cache: bool, config: Mapping[str, Any], directory: RunDirectory | None
    ) -> AdviseResult:
        """Return the advice."""
        started = time.perf_counter()
        bench = self._bench(self._changes_of_families[next(iter(self.families))])
        learnt = self._is_learnt(bench.score)
        effects = self._effects(bench, self._changes_of_families) if learnt else {}
        of_transforms: dict[str, tuple[Bench, Effect]] = {}
        if learnt and self.transforms:
            changes = self._changes_of_transforms
            other = self._bench(next(iter(changes.values())))
            of_transforms = {name: (other, one) for name, one in self._effects(other, changes).items()}
        scores = self._scored(device, cache)
        of_families = by_family(self.known, scores)
        trained = {name: one for name, one in of_families.items() if name in self.families}
        ranked = ranking(bench if learnt else None, effects, self.chance, trained, self.settings)
        if not learnt and sum(one.counts for one in trained.values()) < 2:
            ranked = []
        best = recommended(ranked)
        verdict = "no advice" if not best else "recommended" if len(best) == 1 else "undecided"
        rho = correlations(self.known, scores)
        content = {
            "schema": SCHEMA,
            "kind": AdviseResult.kind,
            "label": self.backbone.provenance.label,
            "backbone": self.backbone.describe(),
            "task": self.data.label,
            "metric": self.metric,
            "targets": self.data.targets.as_content(),
            "num_train": len(self.data.train.images),
            "num_test": len(self.data.test.images),
            "test_images": self.data.test_fingerprint,
            "score": _estimate(bench.score),
            "chance": self.chance,
            "learnt": learnt,
            "verdict": verdict,
            "recommended": best,
            "families": [
                {
                    **one._asdict(),
                    "effect": _effect(bench, effects.get(one.name)),
                    "backbones": _trained(trained.get(one.name)),
                }
                for one in ranked
            ],
            "transforms": [
                {
                    "name": name,
                    "kind": transform.kind,
                    "effect": _effect(*of_transforms[name]) if name in of_transforms else None,
                    "association": _association(rho.get(name)),
                }
                for name, transform in self._by_kind()
                if name in of_transforms or name in rho
            ],
            "remarks": self._remarks(best, of_families, effects, learnt),
            "config": dict(config),
            "versions": versions(),
            "seed": self.settings.seed,
            "timings": {"total_seconds": time.perf_counter() - started},
        }
        return AdviseResult.from_content(content, None if directory is None else directory.path / ADVICE_FILE)

    @cached_property
    def metric(self) -> str:
        """The name of the score."""
        return probe_settings(TransferSettings(seed=self.settings.seed), self.data.task).metric

    @cached_property
    def chance(self) -> float:
        """The score of a reader that sees nothing."""
        settings = probe_settings(TransferSettings(seed=self.settings.seed, metric=self.metric), self.data.task)
        return chance_level(self.data.train.targets, self.data.test.targets, settings)

    @cached_property
    def canvases(self) -> dict[str, Canvases]:
        """The images of both splits."""
        size, workers = self.backbone.input_spec.crop_size, self.settings.num_workers
        return {split: Canvases.of(self.data.known_images(split), size, workers) for split in ("train", "test")}

    @property
    def _changes_of_families(self) -> dict[str, Change]:
        size = self.backbone.input_spec.crop_size
        return {name: FamilyChange(family, size) for name, family in self.families.items()}

    @property
    def _changes_of_transforms(self) -> dict[str, Change]:
        size = self.backbone.input_spec.crop_size
        return {name: TransformChange(transform, size) for name, transform in self._by_kind()}

    def _by_kind(self) -> list[tuple[str, Any]]:
        kinds = list(dict.fromkeys([*_KINDS, *(one.kind for one in self.transforms.values())]))
        return sorted(self.transforms.items(), key=lambda item: kinds.index(item[1].kind))

    def _bench(self, change: Change) -> Bench:
        """Return the task with features of images without a change."""
        train, test = (
            self._features(change.plain(self.canvases[split]), f"{split} images") for split in ("train", "test")
        )
        targets = self.data.train.targets, self.data.test.targets
        return Bench(Reading.of(self.data.task.kind, self.metric, *targets, self.settings.seed), train, test)

    def _effects(self, bench: Bench, changes: Mapping[str, Change]) -> dict[str, Effect]:
        effects = {}
        for done, (name, change) in enumerate(changes.items()):
            self.progress("changes", done, len(changes))
            is_nothing = isinstance(change, FamilyChange) and not change.family.operations
            count = 1 if is_nothing else self.settings.k
            drawn = change.views(self.canvases["train"], count, 2 * self.settings.seed)
            train = torch.stack([self._features(views, f"{name}, training views") for views in drawn], dim=1)
            (shown,) = change.views(self.canvases["test"], 1, 2 * self.settings.seed + 1)
            effects[name] = bench.effect(train, self._features(shown, f"{name}, test views"))
        self.progress("changes", len(changes), len(changes))
        return effects

    def _features(self, pixels: Tensor, what: str) -> Tensor:
        how = ExtractionSettings(self.settings.batch_size, num_workers=0)
        return extract_features(self.backbone, TensorImages(pixels, name=what), how, self.cache)

    def _is_learnt(self, score: ResampledScores) -> bool:
        error = float(score.samples.std())
        return float(score.score) - self.chance > _SURE_OF_LEARNING * error

    def _scored(self, device: str, cache: bool) -> list[TransferResult]:
        """Return the scores of the backbones that exist, on the same images."""
        settings, task = TransferSettings(seed=self.settings.seed, num_workers=self.settings.num_workers), self._task
        return [
            transfer(
                one.load(self.settings.seed), task, settings, device=device, cache=cache, progress=self.progress
            ).only
            for one in self.known
        ]

    @property
    def _task(self) -> TaskChoice:
        """The task with the images that were drawn, as ``transfer`` takes it."""
        if self.chosen.own is None:
            num_train, num_test = len(self.data.train.images), len(self.data.test.images)
            return replace(self.chosen.config, num_train=num_train, num_test=num_test)
        task = self.chosen.own
        return OwnTask(self.data.train, self.data.test, task.kind, task.metric, task.label)

    def _remarks(
        self, best: Sequence[str], trained: Mapping[str, Trained], effects: Mapping[str, Effect], learnt: bool
    ) -> list[str]:
        remarks = []
        if not learnt:
            remarks.append(
                f"the task is not learnt, {self.metric} at chance: features of {self.backbone.provenance.label} do not "
                f"show the targets, so the data say nothing of invariances; set backbone.name to a network that may "
                f"read them, or take more images"
            )
        if best and all(not self.families[name].operations for name in best) and effects:
            remarks.append(
                "every family with augmentations costs score: train without, or fuse backbones of several families"
            )
        others = [name for name in trained if name not in self.families]
        if others:
            remarks.append(f"scored, but of none of the families that are ranked: {', '.join(others)}")
        alone = [name for name, one in trained.items() if name in self.families and not one.counts]
        if alone:
            remarks.append(
                f"one backbone of {', '.join(alone)}: its score is shown, and does not count without a second seed"
            )
        return remarks


def _difference(one: ResampledScores, other: ResampledScores) -> dict[str, Any]:
    interval: Interval = one.minus(other)
    value = require_finite(float(one.score - other.score), "a difference of scores")
    error = float((one.samples - other.samples).std())
    return {"mean": value, "ci95": list(interval), "standard_error": error}


def _estimate(score: ResampledScores) -> dict[str, Any]:
    value = require_finite(float(score.score), "the score")
    return {"mean": value, "ci95": list(score.interval()), "standard_error": float(score.samples.std())}


def _effect(bench: Bench, effect: Effect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    return {
        "strength": effect.strength,
        "change": effect.change.as_dict(),
        "cost": _difference(bench.score, effect.seen),
        "gain": _difference(effect.kept, bench.kept),
    }


def _trained(trained: Trained | None) -> dict[str, Any] | None:
    if trained is None:
        return None
    return {"mean": trained.mean, "deviation": trained.deviation, "scores": list(trained.scores)}


def _association(correlation: Correlation | None) -> dict[str, Any] | None:
    if correlation is None:
        return None
    interval = correlation.interval
    found = {"rho": correlation.rho, "p": correlation.p, "num_backbones": correlation.num_pairs}
    return found | ({} if interval is None else {"ci95": list(interval)})
