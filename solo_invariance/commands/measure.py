"""``solo-invariance measure``: what did a backbone become invariant to?"""

from pathlib import Path
from typing import Any

import torch

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.commands.in_processes import run_shared
from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.tables import blocks_of, cell, print_comparison, print_measured_layers
from solo_invariance.commands.terminal import console, print_facts, print_remarks, progress_bars
from solo_invariance.config.composed import as_dict, as_object
from solo_invariance.config.measure import MeasureConfig as Config
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.measure import InvarianceResults, MeasureSettings, ResizeCrop
from solo_invariance.measure import measure as measure_backbone
from solo_invariance.measure.named import metrics_named, transforms_named
from solo_invariance.processes import Processes
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.report import build_report
from solo_invariance.report.columns import readable
from solo_invariance.results import InvarianceResult

__all__ = ["Config", "measure", "run"]


def run(config: Any) -> None:
    """Measure, print the tables and say where the results are."""
    run_shared(config, Config, _run)


def _run(processes: Processes, device: torch.device, config: Any) -> None:
    with progress_bars(quiet=processes.rank > 0) as progress:
        results = measure(config, progress, processes, device, print_facts)
    if processes.rank > 0:
        return
    out = Path(as_object(config, Config).out)
    against = as_object(config, Config).against
    report = build_report([out, *([] if against is None else [against])], out / "report.html")
    print_remarks(remark for result in results.values() for remark in result.backbone.remarks)
    print_measured_layers([*results.values()])
    for comparison in results.comparisons:
        print_comparison(comparison)
    console.print(f"results: {out}, figures: {report}", soft_wrap=True)
    deliver(_outcome(results, out, report))


def _outcome(results: InvarianceResults, out: Path, report: Path) -> Outcome:
    document = {
        "out": str(out),
        "report": str(report),
        "results": {layer: result.as_content() for layer, result in results.items()},
        "comparisons": [comparison.as_content() for comparison in results.comparisons],
    }
    numbers = {
        f"{layer}/{name}" if layer else name: value
        for layer, result in results.items()
        for name, value in result.numbers().items()
    }
    return Outcome(str(out), document, [_row(result) for result in results.values()], numbers)


def _row(result: InvarianceResult) -> dict[str, str]:
    """Return a result's row in the table of a sweep: the mean similarity of each kind of change, and its health."""
    row = {"label": result.label}
    for block in blocks_of(result.transforms, result.views):
        found = block.mean or next(iter(block.entries.values()))
        row[block.title] = cell(found["similarity"], 3).plain
    row |= {readable(name): cell(one, 2).plain for name, one in result.health.items()}
    return row


def measure(
    config: Any,
    progress: Progress = no_progress,
    processes: Processes | None = None,
    device: torch.device | None = None,
    announce: Announce = say_nothing,
) -> InvarianceResults:
    """Measure as a configuration says, and write ``OUT/invariance.json``.

    Args:
        config: Composed, of ``MeasureConfig``.
        progress: Told how far the work is.
        processes: Those that share the work, which all call this.
        device: This process's; the configuration's by default.
        announce: Told what is to be done.

    Returns:
        The results by layer; nothing in processes but the first.
    """
    settings: Config = as_object(config, Config)
    # Names that are not there are refused before a backbone is loaded, which may take time.
    metrics = metrics_named(settings.metrics)
    transforms = None if settings.transforms is None else transforms_named(settings.transforms)
    backbone = load_backbone(settings.backbone, settings.seed)
    return measure_backbone(
        backbone,
        settings.data,
        transforms,
        measure_settings(settings, backbone),
        reference=settings.reference,
        views=settings.views,
        metrics=metrics,
        twin=settings.twin,
        against=settings.against,
        out=settings.out,
        device=device or settings.device,
        progress=progress,
        announce=announce,
        processes=processes,
        config=as_dict(config),
    )


def measure_settings(settings: Config, backbone: Backbone) -> MeasureSettings:
    """Return how to measure, as a configuration says it; sizes that it leaves open are the backbone's."""
    sizes = ResizeCrop.of_input(backbone.input_spec, settings.crop_size)
    return MeasureSettings(
        protocol=settings.protocol.name,  # type: ignore[arg-type]
        budget=settings.budget.name,  # type: ignore[arg-type]
        k=settings.k,
        num_images=settings.num_images,
        target_se=settings.target_se,
        gallery=settings.gallery,
        matched_width=settings.matched_width,
        geometry=sizes._replace(resize=settings.resize or sizes.resize),
        batch_size=settings.batch_size,
        precision=settings.precision.name,  # type: ignore[arg-type]
        compiled=settings.compile,
        reading=ReadingPolicy(settings.num_workers, settings.on_error.name, settings.max_unreadable),  # type: ignore[arg-type]
        seed=settings.seed,
    )
