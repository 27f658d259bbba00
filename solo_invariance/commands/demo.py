"""``solo-invariance demo``: the whole story on the embedded data."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from solo_invariance.commands import measure, transfer
from solo_invariance.commands.terminal import console, progress_bars
from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.demo import DemoConfig as Config
from solo_invariance.device import choose_device
from solo_invariance.fuse import fuse
from solo_invariance.progress import Progress

__all__ = ["Config", "run"]

_SPATIAL = "rotation,translation,scale,shear,h_flip"
_APPEARANCE = "brightness,contrast,saturation,hue,blur,grayscale"
TASKS = ("shape", "hue", "position", "rotation")


def run(config: Any) -> None:
    """Pre-train, measure, fuse, transfer and report; each step goes on where an earlier run of it stopped."""
    from solo_invariance.commands.report_tables import print_tables
    from solo_invariance.report import build_report, collect_results

    settings = as_object(config, Config)
    out = Path(settings.out)
    with progress_bars() as progress:
        with _timed("pre-training"):
            checkpoints = {family: _pretrain(settings, family, out, progress) for family in settings.families}
        if len(checkpoints) > 1:
            fused = out / "fused.ckpt"
            backbone = fuse([str(path) for path in checkpoints.values()], out=fused)
            checkpoints[backbone.provenance.label] = fused
        with _timed("measuring"):
            for label, path in checkpoints.items():
                _measure(settings, label, path, out, progress)
        with _timed("transfer"):
            for label, path in checkpoints.items():
                _transfer(settings, label, path, out, progress)
    runs = [out / "measure" / label for label in checkpoints] + [out / "transfer" / label for label in checkpoints]
    print_tables(collect_results(runs), console)
    page = build_report(runs, out / "report.html")
    console.print(f"report: {page.resolve()}", soft_wrap=True)


def _pretrain(settings: Config, family: str, out: Path, progress: Progress) -> Path:
    from solo_invariance.hosts.embedded.pretrain import pretrain

    config = compose_command(
        "pretrain",
        [
            "augmentations=invariance/family",
            f"invariance.family={family}",
            f"name={family}",
            f"data.num_images={settings.num_images}",
            f"max_epochs={settings.max_epochs}",
            f"seed={settings.seed}",
            f"accelerator={_accelerator(settings.device)}",
            f"checkpoint.dir={out / 'pretrain'}",
        ],
    )
    return pretrain(config, progress)


def _measure(settings: Config, label: str, path: Path, out: Path, progress: Progress) -> None:
    config = compose_command(
        "measure",
        [
            f"backbone.checkpoint={path}",
            "data.name=latent_scenes",
            f"transforms=[{_SPATIAL},{_APPEARANCE}]",
            f"k={settings.k}",
            f"num_images={settings.measure_images}",
            f"seed={settings.seed}",
            f"device={settings.device}",
            f"out={out / 'measure' / label}",
        ],
    )

    def named(what: str, done: int, total: int) -> None:
        progress(f"{label}: {what}", done, total)

    measure.measure(config, named)


def _transfer(settings: Config, label: str, path: Path, out: Path, progress: Progress) -> None:
    config = compose_command(
        "transfer",
        [
            f"backbone.checkpoint={path}",
            f"tasks=[{','.join(TASKS)}]",
            f"task.num_train={settings.train_images}",
            f"task.num_test={settings.test_images}",
            f"seed={settings.seed}",
            f"device={settings.device}",
            f"out={out / 'transfer' / label}",
        ],
    )
    transfer.transfer(config, progress)


def _accelerator(device: str) -> str:
    kind = choose_device(device).type
    return "gpu" if kind == "cuda" else kind


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    threads = "" if torch.cuda.is_available() else f", {torch.get_num_threads()} CPU threads"
    console.print(f"{what}: {time.perf_counter() - started:.0f} s{threads}", style="dim")
