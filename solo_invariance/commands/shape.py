"""``solo-invariance shape``: change what a trained backbone ignores."""

from typing import Any

from rich.table import Column, Table

from solo_invariance.commands.checkpoint import print_checkpoint
from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console, print_facts, print_remarks, progress_bars
from solo_invariance.config.composed import as_object
from solo_invariance.config.shape import ShapeConfig as Config
from solo_invariance.config.task_entries import task_from
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.measure import MeasureSettings
from solo_invariance.measure.named import transforms_named
from solo_invariance.plugins import load_plugin, names_chosen
from solo_invariance.results.shaping import ShapingResult
from solo_invariance.shape import PageSettings, ShapeSettings, shape, write_page

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Shape, and say what was reached on images that nothing was fitted to."""
    settings = as_object(config, Config)
    page = None if settings.page is None else _page_settings(settings)  # wrong keys of it are refused first
    given = settings.reference.path is not None or settings.reference.name is not None
    with progress_bars() as progress:
        shaped = shape(
            settings.backbone,
            settings.mode,
            names_chosen("transforms", settings.transforms, "transforms=[rotation,hue]"),
            reference=settings.reference if given else None,
            table=settings.column.table,
            column=settings.column.name,
            settings=_settings(settings),
            out=settings.out,
            device=settings.device,
            progress=progress,
            announce=print_facts,
        )
    backbone, result = shaped.backbone, shaped.result
    print_remarks(backbone.describe()["remarks"])
    if result.factors:
        _print_reached(result)
    console.print(f"{result.label}: {result.num_features} features")
    print_checkpoint(settings.out)
    document = {"checkpoint": settings.out, **result.as_content()}
    if page is not None and settings.page is not None:
        with progress_bars() as progress:
            written = write_page(shaped, settings.data, settings.page, page, progress=progress, announce=print_facts)
        console.print(f"page: {written}", soft_wrap=True)
        document["page"] = str(written)
    row = {"backbone": result.label, "features": str(result.num_features), "checkpoint": settings.out}
    numbers = {f"{key}.{name}": getattr(one, key) for name, one in result.factors.items() for key in _NUMBERS}
    deliver(Outcome(settings.out, document, [row], {key: value for key, value in numbers.items() if value is not None}))


def _page_settings(settings: Config) -> PageSettings:
    measured = names_chosen("transforms", settings.measured, "measured=[rotation,hue]")
    transforms_named(measured)
    tasks = [task_from(entry) for entry in settings.tasks or []]
    for task in tasks:
        load_plugin("tasks", str(task.name), "tasks")
    measuring = MeasureSettings(
        k=settings.k,
        num_images=settings.num_images,
        batch_size=settings.batch_size,
        precision=settings.precision,  # type: ignore[arg-type]
        reading=ReadingPolicy(settings.num_workers),
        seed=settings.seed,
    )
    return PageSettings(measured, measuring, tasks, settings.strengths, settings.device)


_NUMBERS = ("share_after", "readout_after", "taken_out", "changed")


def _settings(settings: Config) -> ShapeSettings:
    return ShapeSettings(
        k=settings.k,
        options=settings.options,
        held_out=settings.held_out,
        batch_size=settings.batch_size,
        precision=settings.precision,  # type: ignore[arg-type]
        reading=ReadingPolicy(settings.num_workers),
        seed=settings.seed,
    )


def _print_reached(result: ShapingResult) -> None:
    console.print(f"on {result.num_held_out} images that nothing was fitted to, before and after:")
    right = {"justify": "right"}
    table = Table(
        "factor",
        Column("share of variance", **right),  # type: ignore[arg-type]
        Column("linear read-out R²", **right),  # type: ignore[arg-type]
        Column("taken out", **right),  # type: ignore[arg-type]
        Column("features moved", **right),  # type: ignore[arg-type]
    )
    for name, one in result.factors.items():
        shares, readouts = (one.share_before, one.share_after), (one.readout_before, one.readout_after)
        table.add_row(name, _both(*shares), _both(*readouts), f"{one.taken_out:.1%}", f"{one.changed:.1%}")
    console.print(table)
    print_remarks([f"{name}: {one.missed}" for name, one in result.factors.items() if one.missed is not None])


def _both(before: float | None, after: float | None) -> str:
    return "" if before is None or after is None else f"{before:.3f} → {after:.3f}"
