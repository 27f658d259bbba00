"""``solo-invariance demo``: the whole story on the embedded data."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from solo_invariance.commands import fuse, measure, transfer
from solo_invariance.commands import pretrain as pretrain_command
from solo_invariance.commands.overrides import quote
from solo_invariance.commands.terminal import console, progress_bars
from solo_invariance.config.composed import as_object
from solo_invariance.config.demo import DemoConfig as Config
from solo_invariance.config.fuse import FuseConfig
from solo_invariance.device import choose_device
from solo_invariance.progress import Progress

__all__ = ["Config", "run"]

_SPATIAL = "rotation,translation,scale,shear,h_flip"
_APPEARANCE = "brightness,contrast,saturation,hue,blur,grayscale"
TASKS = ("shape", "hue", "position", "rotation")


def run(config: Any) -> None:
    """Pre-train, measure, fuse, transfer and report; each step goes on where an earlier run of it stopped."""
    from solo_invariance.report import build_report, collect_results, print_tables

    settings = as_object(config, Config)
    out = Path(settings.out)
    with progress_bars() as progress:
        with _timed("pre-training"):
            checkpoints = {family: _pretrain(settings, family, out, progress) for family in settings.families}
        if len(checkpoints) > 1:
            fused = out / "fused.ckpt"
            label = fuse.fuse(
                FuseConfig(members=[str(path) for path in checkpoints.values()], out=str(fused))
            ).provenance.label
            checkpoints[label] = fused
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

    config = _compose(
        "pretrain",
        pretrain_command.Config,
        "augmentations=invariance/family",
        f"invariance.family={family}",
        f"name={family}",
        f"data.num_images={settings.num_images}",
        f"max_epochs={settings.max_epochs}",
        f"seed={settings.seed}",
        f"accelerator={_accelerator(settings.device)}",
        f"checkpoint.dir={out / 'pretrain'}",
    )
    return pretrain(config, progress)


def _measure(settings: Config, label: str, path: Path, out: Path, progress: Progress) -> None:
    config = _compose(
        "measure",
        measure.Config,
        f"backbone.checkpoint={path}",
        "data.name=latent_scenes",
        f"transforms=[{_SPATIAL},{_APPEARANCE}]",
        f"k={settings.k}",
        f"num_images={settings.measure_images}",
        f"seed={settings.seed}",
        f"device={settings.device}",
        f"out={out / 'measure' / label}",
    )

    def named(what: str, done: int, total: int) -> None:
        progress(f"{label}: {what}", done, total)

    measure.measure(config, named)


def _transfer(settings: Config, label: str, path: Path, out: Path, progress: Progress) -> None:
    config = _compose(
        "transfer",
        transfer.Config,
        f"backbone.checkpoint={path}",
        f"tasks=[{','.join(TASKS)}]",
        f"task.num_train={settings.train_images}",
        f"task.num_test={settings.test_images}",
        f"seed={settings.seed}",
        f"device={settings.device}",
        f"out={out / 'transfer' / label}",
    )
    transfer.transfer(config, progress)


def _compose(command: str, schema: type, *overrides: str) -> Any:
    """Compose a command's configuration as the command line would, so that the demo runs what a user would run."""
    ConfigStore.instance().store(name=f"schema_{command}", node=schema)
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(config_module="solo_invariance.config", version_base="1.3"):
            return compose(command, overrides=[quote(override) for override in overrides])
    finally:
        GlobalHydra.instance().hydra = running


def _accelerator(device: str) -> str:
    kind = choose_device(device).type
    return "gpu" if kind == "cuda" else kind


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    threads = "" if torch.cuda.is_available() else f", {torch.get_num_threads()} CPU threads"
    console.print(f"{what}: {time.perf_counter() - started:.0f} s{threads}", style="dim")
