"""The seam to Lightning: a callback in every ``Trainer``, dormant unless the module's configuration names families."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from solo_invariance.errors import UserError

if TYPE_CHECKING:
    from solo_invariance.families import CropPipeline


def callbacks_factory() -> list[Callback]:
    """Return what Lightning adds to every ``Trainer``; called through an entry point."""
    return [FamiliesCallback()]


class FamiliesCallback(Callback):
    """Run augmentation families on the accelerator, inside an unmodified trainer.

    When fitting starts, the data workers' transform is replaced by a canvas (and torchvision's way of reading a file by
    one that decodes no more of it than the canvas needs); at each batch, the canvases are replaced
    by the crops that the families make of them. A module takes part by a ``cfg`` with ``augmentations`` whose entries
    have the key ``family``; any other is left alone. The families are remembered in checkpoints, and training does not
    resume with others.
    """

    def __init__(self) -> None:
        self._pipeline: CropPipeline | None = None
        self._seed = 0
        self._memory_format = torch.contiguous_format

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace the data workers' transform, before the workers start."""
        self._pipeline = None
        cfg: Any = getattr(pl_module, "cfg", None)
        if stage != "fit":
            return
        _refuse_strings(cfg)
        if not _names_families(cfg):
            return
        from torchvision.datasets.folder import default_loader

        from solo_invariance.hosts.augmentations import crop_pipeline_from_config

        self._pipeline, canvas = crop_pipeline_from_config(cfg)
        self._seed = int(cfg.get("seed", 0))
        self._memory_format = _memory_format(pl_module)
        dataset = _dataset_with_transform(trainer)
        dataset.transform = canvas
        if getattr(dataset, "loader", None) is default_loader:
            dataset.loader = canvas.load

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Replace the batch's canvases by crops, in place."""
        if self._pipeline is None:
            return
        canvases = batch[1]
        if not isinstance(canvases, torch.Tensor) or canvases.dtype != torch.uint8:
            raise RuntimeError(
                f"families expect a batch [indexes, canvases, targets] with canvases in 8 bits, got {type(canvases)}: "
                f"something replaced the dataset's transform after fitting started"
            )
        seed = (self._seed, trainer.global_rank, trainer.current_epoch, batch_idx)
        crops = self._pipeline(canvases, seed, self._memory_format)
        # Lightning has converted the canvases' batch already, so crops for half-precision weights are converted here.
        batch[1] = [trainer.precision_plugin.convert_input(crop) for crop in crops]

    def state_dict(self) -> dict[str, Any]:
        """Return the families' fingerprint; nothing, and so no trace in the checkpoint, where dormant."""
        return {} if self._pipeline is None else {"families": self._pipeline.fingerprint()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a run with other families than it began with."""
        if trainer.state.fn != "fit":
            return
        before = checkpoint.get("callbacks", {}).get(self.state_key, {}).get("families")
        now = self.state_dict().get("families")
        if before != now:
            raise UserError(
                f"this run would resume from a checkpoint of other augmentations: it was trained with "
                f"{before or 'no family'}, the configuration asks for {now or 'no family'}; choose another name or "
                f"checkpoint.dir, or auto_resume.enabled=False"
            )


def _names_families(cfg: Any) -> bool:
    """Whether a module's configuration asks for families; reads mappings and sequences only."""
    entries = cfg.get("augmentations") if isinstance(cfg, Mapping) else None
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return False
    return any(isinstance(entry, Mapping) and ("family" in entry or "families" in entry) for entry in entries)


def _memory_format(module: LightningModule) -> torch.memory_format:
    """Return the layout of the module's convolutions, which saves them converting the crops."""
    kernels = [weight for weight in module.parameters() if weight.ndim == 4 and not weight.is_contiguous()]
    last = any(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    return torch.channels_last if last else torch.contiguous_format


def _refuse_strings(cfg: Any) -> None:
    """Refuse ``+invariance=NAME`` where Hydra found no configuration of that name: it composes to the bare word."""
    chosen = cfg.get("invariance") if isinstance(cfg, Mapping) else None
    if isinstance(chosen, str):
        raise UserError(
            f"invariance={chosen}: there is no such configuration; `solo-invariance doctor` checks the search path"
        )


def _dataset_with_transform(trainer: Trainer) -> Any:
    """Return the dataset behind the loader that was handed to ``fit``.

    Lightning has no public way to it this early; ``on_train_start`` would be too late, the workers run by then. The
    attribute is the same in lightning 2.1.2 and 2.6.6.
    """
    try:
        loader: Any = trainer.fit_loop._data_source.instance
        dataset = loader.dataset
    except AttributeError as error:
        raise UserError(
            "families need a DataLoader handed to Trainer.fit; with data.format=dali there is none (use image_folder)"
        ) from error
    while not hasattr(dataset, "transform") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    if not hasattr(dataset, "transform"):
        raise UserError(f"families replace the dataset's transform, and {type(dataset).__name__} has none")
    return dataset
