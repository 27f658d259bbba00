"""The whole story on the embedded data, from pre-training to the report."""

from pathlib import Path
from typing import NamedTuple

from solo_invariance.backbones.files.checkpoint import read_checkpoint
from solo_invariance.backbones.files.fused_checkpoint import describe_fused
from solo_invariance.config.composed import compose_command
from solo_invariance.config.demo import DemoConfig
from solo_invariance.config.measure import DataConfig
from solo_invariance.config.overrides import quoted
from solo_invariance.config.task import TaskConfig
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.families.named import family_named
from solo_invariance.fuse import fuse
from solo_invariance.hosts.embedded.ahead import DemoAhead
from solo_invariance.hosts.embedded.pretrain import pretrain
from solo_invariance.measure import MeasureSettings, measure
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.report import build_report
from solo_invariance.transfer import TransferSettings, transfer

TRANSFORMS = (
    *("rotation", "translation", "scale", "shear", "h_flip"),
    *("brightness", "contrast", "saturation", "hue", "blur", "grayscale"),
)
TASKS = ("shape", "hue", "position", "rotation")


class Demo(NamedTuple):
    """What the demo made.

    Args:
        checkpoints: By label: one a family, and their fusion.
        runs: The directories of the results.
        page: The report.
    """

    checkpoints: dict[str, Path]
    runs: list[Path]
    page: Path


def demo(
    settings: DemoConfig | None = None, progress: Progress = no_progress, announce: Announce = say_nothing
) -> Demo:
    """Pre-train a backbone a family, measure and fuse them, score all on tasks, and report.

    Each step goes on where an earlier run with the same settings stopped.

    Args:
        settings: Sizes, and where results go; the demo's by default.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``DemoAhead``.

    Raises:
        UserError: A setting is wrong, or a directory holds other results.
    """
    settings = settings or DemoConfig()
    out = Path(settings.out)
    _require_possible(settings, out / "fused.ckpt")
    announce(DemoAhead(settings, TASKS, len(TRANSFORMS)))
    checkpoints = {family: _pretrained(settings, family, progress) for family in settings.families}
    if len(checkpoints) > 1:
        fused = fuse([*checkpoints.values()], out=out / "fused.ckpt")
        checkpoints[fused.provenance.label] = out / "fused.ckpt"
    for label, path in checkpoints.items():
        _measure(settings, path, out / "measure" / label, _named(label, progress))
    for label, path in checkpoints.items():
        _transfer(settings, path, out / "transfer" / label, progress)
    runs = [out / step / label for step in ("measure", "transfer") for label in checkpoints]
    return Demo(checkpoints, runs, build_report(runs, out / "report.html"))


def _require_possible(settings: DemoConfig, fused: Path) -> None:
    """Refuse unknown families, and the place of another fusion, before the first backbone is trained."""
    for family in settings.families:
        family_named(family)
    if fused.exists():
        mode, label, _ = describe_fused(read_checkpoint(fused))
        if label != "+".join(dict.fromkeys(settings.families)):
            raise UserError(f"out={settings.out}: {fused} is another fusion, {mode} of {label}; choose another out")


def _pretrained(settings: DemoConfig, family: str, progress: Progress) -> Path:
    kind = choose_device(settings.device).type
    overrides = [
        "augmentations=invariance/family",
        f"invariance.family={quoted(family)}",
        f"name={quoted(family)}",
        f"data.num_images={settings.num_images}",
        f"max_epochs={settings.max_epochs}",
        f"seed={settings.seed}",
        f"accelerator={'gpu' if kind == 'cuda' else kind}",
        f"checkpoint.dir={quoted(str(Path(settings.out) / 'pretrain'))}",
    ]
    return pretrain(compose_command("pretrain", overrides), progress)


def _measure(settings: DemoConfig, checkpoint: Path, out: Path, progress: Progress) -> None:
    measure(
        checkpoint,
        DataConfig(name="latent_scenes"),
        TRANSFORMS,
        MeasureSettings(k=settings.k, num_images=settings.measure_images, seed=settings.seed),
        out=out,
        device=settings.device,
        progress=progress,
    )


def _transfer(settings: DemoConfig, checkpoint: Path, out: Path, progress: Progress) -> None:
    sizes = (settings.train_images, settings.test_images)
    tasks = [TaskConfig(name, num_train=sizes[0], num_test=sizes[1]) for name in TASKS]
    how = TransferSettings(seed=settings.seed)
    transfer(checkpoint, tasks, how, out=out, device=settings.device, progress=progress)


def _named(label: str, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"{label}: {what}", done, total)
