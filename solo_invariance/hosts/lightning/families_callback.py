"""Augmentation families inside an unmodified trainer."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer

from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.datasets import training_dataset, validation_datasets
from solo_invariance.hosts.lightning.per_trainer import PerTrainerCallback, acts

if TYPE_CHECKING:
    from solo_invariance.families import Canvas, CropPipeline
    from solo_invariance.hosts.lightning.sensitive_training import SensitiveTraining

# Of the families' state in checkpoints, also where a subclass acts.
_STATE_KEY = "FamiliesCallback"
_SENSITIVE = "sensitive"
_PARAMETERS = "invariance_parameters"


@dataclass
class _Run:
    """What one Trainer's fitting works with, and what its dataset was before."""

    pipeline: "CropPipeline"
    canvas: "Canvas"
    seed: int
    memory_format: torch.memory_format
    dataset: Any
    before: dict[str, Any]
    module: LightningModule
    sensitive: "SensitiveTraining | None" = None


class FamiliesCallback(PerTrainerCallback[_Run]):
    """Run augmentation families on the accelerator, inside an unmodified trainer.

    When fitting starts, the data workers' transform is replaced by a canvas (and torchvision's way of reading a file by
    one that decodes no more of it than the canvas needs); at each batch, the canvases are replaced by the crops that
    the families make of them. After fitting, the dataset is as it was. What they do is said in one line
    when fitting starts, and written to the configuration and to checkpoints. What was drawn for the crops of a batch is
    ``pl_module.invariance_parameters``, a mapping for each crop from an operation's name to its drawn CPU tensors.
    With ``invariance.sensitive``, a second loss keeps features sensitive to operations. A module takes part by ``cfg``
    with ``augmentations`` whose entries have the key ``family``; any other is left alone. The families are remembered
    in checkpoints, and training does not resume with others. Of several such callbacks in a trainer, the first acts.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace the data workers' transform, before the workers start.

        Raises:
            UserError: The configuration's families are wrong, or the trainer's data cannot be given to them.
        """
        if stage != "fit":
            return
        self._end(trainer)
        if not acts(FamiliesCallback, self, trainer):
            return
        if (refusals := sys.modules.get("solo_invariance.hosts.refusals")) is not None:
            refusals.composed()
        cfg: Any = getattr(pl_module, "cfg", None)
        if not _names_families(cfg):
            _refuse_unused(cfg)
            return
        from torchvision.datasets.folder import default_loader

        from solo_invariance.hosts.augmentations import (
            crop_pipeline_from_config,
            origin_of_size,
            record_run,
            summarise_run,
        )
        from solo_invariance.hosts.refusals import say
        from solo_invariance.hosts.sensitive import sensitive_from_config

        cfg = _as_config(cfg)
        origin = origin_of_size(cfg)
        pipeline, canvas = crop_pipeline_from_config(cfg)
        sensitive = sensitive_from_config(cfg)
        record_run(cfg, pipeline, canvas)
        dataset = _dataset_with_transform(trainer)
        if any(dataset is other for other in validation_datasets(trainer)):
            raise UserError(
                "families replace the transform of the training images, and validation reads the same dataset; give it "
                "a dataset of its own"
            )
        before = {name: getattr(dataset, name) for name in ("transform", "loader") if hasattr(dataset, name)}
        run = _Run(pipeline, canvas, _seed(cfg), _memory_format(pl_module), dataset, before, pl_module)
        if sensitive is not None:
            from solo_invariance.hosts.lightning.sensitive_training import SensitiveTraining

            run.sensitive = SensitiveTraining(pl_module, sensitive, pipeline, run.seed)
        self._runs[trainer] = run
        dataset.transform = canvas
        if before.get("loader") is default_loader:
            dataset.loader = canvas.load
        if trainer.is_global_zero:
            kept = "" if sensitive is None else sensitive.summary()
            say("; ".join(filter(None, (summarise_run(pipeline, canvas), kept, origin))))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the dataset its own transform back."""
        self._end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the dataset its own transform back: Lightning tears nothing down after an error.

        Raises:
            SystemExit: The error is a wrong input, and one of solo-learn's scripts is running.
        """
        self._end(trainer)
        if isinstance(exception, UserError) and acts(FamiliesCallback, self, trainer):
            from solo_invariance.hosts.refusals import leave_solo_learn

            leave_solo_learn(exception)

    def _end(self, trainer: Trainer) -> None:
        run = self._runs.pop(trainer, None)
        if run is not None:
            vars(run.dataset).update(run.before)
            vars(run.module).pop(_PARAMETERS, None)
            if run.sensitive is not None:
                run.sensitive.end()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Replace the batch's canvases by crops, in place."""
        run = self._runs.get(trainer)
        if run is None:
            return
        from solo_invariance.families import CanvasImage, sizes_of

        canvases = batch[1] if isinstance(batch, list) and len(batch) > 1 else None
        if not isinstance(canvases, CanvasImage) or canvases.pixels.shape[1:] != (3, run.canvas.size, run.canvas.size):
            got = type(batch) if canvases is None else type(canvases)
            raise RuntimeError(
                f"families expect a batch [indexes, canvases, targets] with canvases of {run.canvas.size} pixels, "
                f"got {got}: the dataset does not use its transform, or another took its place after fitting started"
            )
        seed = (run.seed, trainer.global_rank, trainer.current_epoch, batch_idx)
        sizes = sizes_of(canvases.extent)
        drawn = run.pipeline.draw(len(canvases.pixels), seed, sizes)
        crops = run.pipeline.apply(canvases.pixels, drawn, run.memory_format, sizes)
        vars(pl_module)[_PARAMETERS] = run.pipeline.by_name(drawn)
        # Lightning has converted the canvases' batch already, so crops for half-precision weights are converted here.
        batch[1] = [trainer.precision_plugin.convert_input(crop) for crop in crops]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the families' fingerprint; nothing, and so no trace in the checkpoint, where dormant."""
        if not acts(FamiliesCallback, self, trainer):
            return
        if trainer.state.fn != "fit" and trainer.global_step == 0:  # nothing was trained
            return
        state = _state(pl_module)
        if state:
            checkpoint.setdefault("callbacks", {})[_STATE_KEY] = state
            if _SENSITIVE in state:
                from solo_invariance.hosts.lightning.sensitive_training import write_head

                write_head(pl_module, checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a run with other families than it began with.

        Raises:
            UserError: The checkpoint's families, or their absence, are not the configuration's.
        """
        if trainer.state.fn != "fit" or not acts(FamiliesCallback, self, trainer):
            return
        before, now = checkpoint.get("callbacks", {}).get(_STATE_KEY, {}), _state(pl_module)
        if _compared(before) != _compared(now):
            raise UserError(
                f"this run would resume from a checkpoint of other augmentations: it was trained with "
                f"{_described(before)}, the configuration asks for {_described(now)}; choose another name or "
                f"checkpoint.dir, or auto_resume.enabled=False"
            )
        if _SENSITIVE in now:
            from solo_invariance.hosts.lightning.sensitive_training import read_head

            read_head(pl_module, checkpoint)


def _state(module: LightningModule) -> dict[str, Any]:
    """Return the families that a module's configuration names, as fingerprint and in full; nothing where it names none.

    It comes from the module and not from the run: the run is over when somebody saves a checkpoint after ``fit``, and
    took place in other processes where the strategy spawns them.
    """
    cfg: Any = getattr(module, "cfg", None)
    if not _names_families(cfg):
        return {}
    from solo_invariance.hosts.augmentations import RESOLVED, crop_pipeline_from_config, describe_run, shown_by
    from solo_invariance.hosts.sensitive import sensitive_from_config

    pipeline, canvas = crop_pipeline_from_config(_as_config(cfg))
    sensitive = sensitive_from_config(_as_config(cfg))
    return {
        **({} if sensitive is None else {_SENSITIVE: sensitive.content()}),
        "families": pipeline.fingerprint(),
        "canvas": shown_by(canvas),
        "canvas_size": canvas.size,
        RESOLVED: describe_run(pipeline, canvas),
    }


def _compared(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a resumed run shares: the fingerprint has the numbers, which older checkpoints do not write out."""
    return {key: state[key] for key in ("families", "canvas", "canvas_size", _SENSITIVE) if key in state}


def _as_config(cfg: Any) -> Any:
    from omegaconf import OmegaConf

    return cfg if OmegaConf.is_config(cfg) else OmegaConf.create(cfg)


def _described(state: Mapping[str, Any]) -> str:
    if not state:
        return "no family"
    # Before it was written down, canvases showed the centre.
    kept = state.get(_SENSITIVE)
    words = "" if kept is None else f", sensitive to {', '.join(kept['operations'])} (weight {kept['weight']:g})"
    shown = f"{state.get('canvas', 'centre')}) of {state.get('canvas_size', '?')} px"
    return f"{state['families']} on canvases ({shown}{words}"


def _seed(cfg: Any) -> int:
    seed = cfg.get("seed")
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise UserError(f"seed={seed}: expected a whole number of at least 0")
    return seed or 0


def _unresolved(cfg: Any) -> Mapping[Any, Any]:
    """A module's configuration as it is written, whatever it refers to; nothing where it is no mapping."""
    if type(cfg).__name__ == "DictConfig":
        from omegaconf import OmegaConf

        cfg = OmegaConf.to_container(cfg, resolve=False)
    return cfg if isinstance(cfg, Mapping) else {}


def _names_families(cfg: Any) -> bool:
    """Whether a module's configuration asks for families."""
    entries = _unresolved(cfg).get("augmentations")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return False
    return any(isinstance(entry, Mapping) and ("family" in entry or "families" in entry) for entry in entries)


def _refuse_unused(cfg: Any) -> None:
    """Refuse keys of ours in a run of a host's that names no family.

    That is ``+invariance=NAME`` where Hydra found no configuration of that name (it composes to the bare word), or
    ``+invariance.KEY`` without ``augmentations=invariance/NAME``. Other programs may have an ``invariance`` too, and
    ``augmentations``, but not with the host's entries.
    """
    if type(cfg).__name__ != "DictConfig":
        return
    entries = _unresolved(cfg).get("augmentations")
    if not isinstance(entries, list) or not entries:
        return
    if not all(isinstance(entry, Mapping) and "crop_size" in entry for entry in entries):
        return
    chosen = _unresolved(cfg).get("invariance")
    if isinstance(chosen, str | list):
        raise UserError(
            f"invariance={chosen}: there is no such configuration; `solo-invariance doctor` checks the search path"
        )
    ours = [
        key for key in ("family", "views", "operations", "sensitive") if isinstance(chosen, Mapping) and chosen.get(key)
    ]
    if ours:
        raise UserError(f"invariance.{ours[0]} is set, but no family is chosen: add augmentations=invariance/NAME")


def _memory_format(module: LightningModule) -> torch.memory_format:
    """Return the layout of the module's convolutions, which saves them converting the crops."""
    kernels = [weight for weight in module.parameters() if weight.ndim == 4 and not weight.is_contiguous()]
    last = any(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    return torch.channels_last if last else torch.contiguous_format


def _dataset_with_transform(trainer: Trainer) -> Any:
    dataset = training_dataset(trainer)
    if dataset is None:
        raise UserError(
            "families need a DataLoader handed to Trainer.fit; with data.format=dali there is none (use image_folder)"
        )
    if not hasattr(dataset, "transform"):
        raise UserError(f"families replace the dataset's transform, and {type(dataset).__name__} has none")
    return dataset
