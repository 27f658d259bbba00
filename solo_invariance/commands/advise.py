"""``solo-invariance advise``: which family of augmentations does a labelled task want to be pre-trained with?"""

from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from rich import box
from rich.table import Table
from rich.text import Text

from solo_invariance.advise import AdviseSettings, advise
from solo_invariance.advise.run import USUAL_SIDE
from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.tables import cell
from solo_invariance.commands.terminal import console, print_facts, print_remarks, print_targets, progress_bars
from solo_invariance.config.advise import AdviseConfig as Config
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.composed import as_dict, as_object, literal
from solo_invariance.results import AdviseResult, TransformAdvice
from solo_invariance.results.advice import AssociationRecord, EffectRecord, TrainedRecord

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Look at the task, print the table and what it comes to, and say where the result is."""
    settings, plain = as_object(config, Config), as_dict(config)
    with progress_bars() as progress:
        result = advise(
            settings.task,
            plain["families"],
            AdviseSettings(
                k=settings.k,
                tolerance=settings.tolerance,
                smallest=settings.smallest,
                num_images=settings.num_images,
                seed=settings.seed,
                batch_size=settings.batch_size,
                num_workers=settings.num_workers,
            ),
            backbone=settings.backbone if settings.reads_a_backbone else None,
            crop_size=settings.backbone.crop_size or USUAL_SIDE,
            transforms=plain["transforms"] or [],
            runs=settings.runs,
            backbones=[_backbone(entry) for entry in settings.backbones],
            out=settings.out,
            device=settings.device,
            cache=settings.cache,
            progress=progress,
            announce=print_facts,
            config=plain,
        )
    print_targets(result.task, result.targets)
    if result.families or result.transforms:
        console.print(_table(result), "")
    print_remarks(result.remarks)
    console.print(in_words(result), highlight=False, soft_wrap=True, style="bold")
    console.print(f"result: {result.file}", soft_wrap=True)
    row = {"task": result.task, "verdict": result.verdict, "families": ", ".join(result.recommended)}
    deliver(Outcome(settings.out, result.as_content(), [row], result.numbers()))


def _backbone(entry: Any) -> str | BackboneConfig:
    if isinstance(entry, str | BackboneConfig):
        return entry
    return as_object(OmegaConf.merge(OmegaConf.structured(BackboneConfig), literal(entry)), BackboneConfig)


def in_words(result: AdviseResult) -> str:
    """Return what the advice comes to, in one sentence."""
    best = result.recommended
    if not best:
        return f"no advice: {result.metric} {result.score.mean:.3f} is not beyond chance, {result.chance:.3f}"
    first = {one.name: one.first for one in result.families}
    if len(best) == 1:
        return f"pre-train with {best[0]}: first in {first[best[0]]:.0%} of resamples"
    shares = ", ".join(f"{name} in {first[name]:.0%}" for name in best)
    by_backbones = all(one.evidence == "backbones" for one in result.families if one.name in best)
    more = "seeds" if by_backbones else "test images"
    return f"undecided between {' and '.join(best)}: first of resamples {shares}; more {more} tell them apart"


def _table(result: AdviseResult) -> Table:
    """Return the one table: families in their order, then transforms by their kind."""
    has_backbones = any(one.backbones for one in result.families) or any(one.association for one in result.transforms)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title_justify="left")
    table.title = f"{result.task}: {result.metric} {result.score.mean:.3f}, chance {result.chance:.3f}"
    table.add_column("family", no_wrap=True)
    for heading in [
        "first",
        "strength",
        "change",
        "cost",
        "gain",
        *(["backbones", "evidence"] if has_backbones else []),
    ]:
        table.add_column(heading, justify="left" if heading == "evidence" else "right", no_wrap=True)
    for place, one in enumerate(result.families, 1):
        name = Text(f"{place} {one.name}", "bold" if one.name in result.recommended else "")
        trained = [_trained(one.backbones), one.evidence] if has_backbones else []
        table.add_row(name, f"{one.first:.0%}", *_effect(one.effect, not has_backbones), *trained)
    for line in _of_transforms(result):
        if isinstance(line, str):
            table.add_section()
            table.add_row(Text(line, "dim"))
        else:
            trained = [_rho(line.association), ""] if has_backbones else []
            table.add_row(f"  {line.name}", "", *_effect(line.effect, not has_backbones), *trained)
    return table


def _of_transforms(result: AdviseResult) -> Iterator[str | TransformAdvice]:
    kind = None
    for one in result.transforms:
        if one.kind != kind:
            kind = one.kind
            yield kind
        yield one


def _effect(effect: EffectRecord | None, with_intervals: bool) -> list[str | Text]:
    """Return the cells of an effect; without its intervals where backbones take their place: 80 columns hold one."""
    if effect is None:
        return [""] * 4
    differences = [
        cell(one, 2) if with_intervals else f"{round(one.mean, 2) + 0.0:.2f}" for one in (effect.cost, effect.gain)
    ]
    return [f"{effect.strength:.0%}", f"{effect.change.mean:.2f}", *differences]


def _trained(trained: TrainedRecord | None) -> str:
    if trained is None:
        return ""
    count = len(trained.scores)
    return f"{trained.mean:.3f} ± {trained.deviation:.3f} ({count})" if count > 1 else f"{trained.mean:.3f} (1)"


def _rho(association: AssociationRecord | None) -> str:
    return "" if association is None else f"rho {association.rho:+.2f}, p {association.p:.2f}"
