"""``solo-invariance fuse``: make one backbone of several."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.table import Column, Table

from solo_invariance.backbones.fused import network_of
from solo_invariance.commands.checkpoint import print_checkpoint
from solo_invariance.commands.complementarity_table import print_complementarity
from solo_invariance.commands.export import print_exported
from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console, print_facts, print_remarks, print_targets, progress_bars
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.composed import as_object, literal
from solo_invariance.config.fuse import FuseConfig as Config
from solo_invariance.config.fuse import FusionReferenceConfig, in_keys_of_members
from solo_invariance.config.older import with_todays_names
from solo_invariance.errors import UserError, reason_of
from solo_invariance.features import ExtractionSettings
from solo_invariance.fuse import FuseSettings, fuse
from solo_invariance.results import FusionResult

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Fuse and say how the checkpoint is used; print the complementarity of measured backbones where asked for."""
    settings = as_object(config, Config)
    document: dict[str, Any] = {}
    if settings.measured:
        found = print_complementarity([Path(run) for run in settings.measured])
        document |= found.as_content()
        if not settings.members:
            deliver(Outcome(None, document))
            return
    with progress_bars() as progress:
        fused = fuse(
            [_member(entry) for entry in settings.members],
            settings.mode,
            reference=_reference(settings.reference),
            task=None if settings.task.name is None else settings.task,
            settings=_settings(settings),
            out=settings.out,
            export=settings.export,
            device=settings.device,
            progress=progress,
            announce=print_facts,
        )
    print_remarks(fused.describe()["remarks"])
    record = Path(settings.out).with_suffix(".json")
    score = None
    if settings.task.name is not None and settings.mode in ("auto", "weighted"):
        choice = FusionResult.read(record)
        document["choice"], score = choice.as_content(), choice.best_score
        _print_choice(choice)
        console.print(f"what was chosen: {record}", soft_wrap=True)
    if settings.export is not None:
        print_exported(fused, settings.export)
    about = f"{len(fused.members)} members, {network_of(fused).mode}, {fused.num_features} features"
    console.print(f"{fused.provenance.label}: {about}")
    print_checkpoint(settings.out)
    label, mode = fused.provenance.label, network_of(fused).mode
    document |= {
        "checkpoint": settings.out,
        "export": settings.export,
        "label": label,
        "mode": mode,
        "members": [member.provenance.label for member in fused.members],
        "num_features": fused.num_features,
    }
    row = {"fusion": label, "mode": mode, "features": str(fused.num_features), "checkpoint": settings.out}
    numbers: dict[str, float] = {"num_features": fused.num_features}
    if score is not None:
        numbers["score"] = score
        row["score"] = f"{score:.4f}"
    deliver(Outcome(settings.out, document, [row], numbers))


def _settings(settings: Config) -> FuseSettings:
    return FuseSettings(
        width=settings.width,
        options=settings.options,
        max_members=settings.max_members,
        folds=settings.folds,
        reference_images=settings.reference.num_images,
        seed=settings.seed,
        extraction=ExtractionSettings(settings.batch_size, settings.num_workers),
        cache=settings.cache,
    )


def _reference(reference: FusionReferenceConfig) -> str | Path | None:
    if reference.path is not None and reference.name is not None:
        raise UserError("reference.path and reference.name are both set: choose one")
    if reference.name not in (None, "latent_scenes"):
        raise UserError(f"reference.name={reference.name}: latent_scenes is the only one")
    return reference.name if reference.path is None else Path(reference.path)


def _member(entry: Any) -> str | BackboneConfig:
    """Return the backbone that a member is: a checkpoint, a model's name, or keys as those of ``backbone``."""
    if isinstance(entry, str):
        return entry
    try:
        keys = literal(with_todays_names("backbone", entry))
        return as_object(OmegaConf.merge(OmegaConf.structured(BackboneConfig), keys), BackboneConfig)
    except UserError as error:
        raise in_keys_of_members(error, entry) from error
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"members: {entry}: {reason_of(error)}") from error


def _print_choice(choice: FusionResult) -> None:
    if choice.targets is not None:
        print_targets(choice.task, choice.targets)
    if choice.steps is not None:
        console.print(f"forward selection on {choice.task}, {choice.folds}-fold cross-validation")
        score = Column(f"{choice.steps[0].metric} with it", justify="right")
        table = Table("member", score, Column("gain", justify="right"), "")
        for index, step in enumerate(choice.steps):
            gain = f"{step.gain:+.4f}" if index else ""
            table.add_row(step.label, f"{step.score:.4f}", gain, "added" if step.accepted else "left out")
    else:
        console.print(f"weights chosen on {choice.task}, {choice.folds}-fold cross-validation")
        table = Table("member", Column("weight", justify="right"))
        for label, weight in zip(choice.labels, choice.weights or (), strict=True):
            table.add_row(label, f"{weight:.3g}")
    console.print(table)
