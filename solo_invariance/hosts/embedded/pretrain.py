"""Pre-training with the embedded host: data, trainer, checkpoints and resuming."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision import datasets

from solo_invariance.backbones.checkpoint import read_checkpoint
from solo_invariance.config.composed import compose_command, plain
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.data.class_folders import read_class_folders
from solo_invariance.data.listing import contents_of_folder, list_images, require_directory
from solo_invariance.data.parts import parts_of
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas
from solo_invariance.hosts.augmentations import crop_pipeline_from_config
from solo_invariance.hosts.embedded.methods import Diverged, build_method
from solo_invariance.progress import Progress, no_progress
from solo_invariance.results.files import write_json

_RESULT_KEYS = ("accelerator", "devices", "checkpoint", "auto_resume")
_SPEED_KEYS = ("num_workers",)
_TALKATIVE = (
    "lightning.fabric.utilities.registry",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.accelerators.cuda",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.utilities.rank_zero",
)


def pretrain(settings: PretrainConfig | DictConfig, progress: Progress = no_progress) -> Path:
    """Pre-train a backbone with the embedded host and return the path of its last checkpoint.

    A run with the same configuration that was interrupted goes on from its last checkpoint; one that was finished is
    not repeated. ``auto_resume.enabled=false`` always begins anew.

    Args:
        settings: In solo-learn's schema, see ``config/pretrain.yaml``: a ``PretrainConfig``, of which ``invariance``
            names the family where ``augmentations`` is empty, or what ``compose_command("pretrain", [...])`` gives.
        progress: Told how many steps are done.

    Raises:
        UserError: A key is wrong, or the data cannot be found.
    """
    cfg = settings if isinstance(settings, DictConfig) else _composed(settings)
    OmegaConf.to_object(cfg)  # checks the values
    # The crops are made before anything is written, so that a wrong family or size leaves no trace.
    _, canvas = crop_pipeline_from_config(cfg)
    if str(cfg.devices) not in ("1", "[0]", "auto"):
        raise UserError(f"devices={cfg.devices}: the embedded host trains on one device; use solo-learn for more")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    _require_accelerator(cfg)
    seed_everything(cfg.seed)
    if cfg.optimizer.batch_size < 2:
        raise UserError(
            f"optimizer.batch_size={cfg.optimizer.batch_size}: expected at least 2, since batches are normalised and "
            f"images are told from the others of their batch"
        )
    module = build_method(cfg)
    module.build_optimizer()  # before anything is written
    dataset = IndexedDataset(_source(cfg, canvas))
    if len(dataset) < cfg.optimizer.batch_size:
        raise UserError(
            f"optimizer.batch_size={cfg.optimizer.batch_size} is larger than the data, {len(dataset)} images"
        )
    args = plain(cfg)
    before = set(_runs(cfg))
    directory, last = _run_directory(cfg, args)
    if last is not None and _epoch_of(last) == cfg.max_epochs - 1:
        return last
    checkpointer = HostCheckpoints(directory, args, cfg.checkpoint.frequency, cfg.checkpoint.keep_prev, last)
    trainer = _trainer(cfg, CSVLogger(directory, name="", version=""), [checkpointer, _Reporter(cfg.name, progress)])
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=cfg.optimizer.batch_size,
        # Shuffles by (seed, epoch) alone, so that a resumed run sees the images in the order that it would have.
        sampler=DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True, seed=cfg.seed),
        num_workers=cfg.data.num_workers,
        drop_last=True,
    )
    with warnings.catch_warnings():
        # Lightning's advice on workers and logging is for bigger runs than these.
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(module, loader, ckpt_path=last)
        except SystemExit as leaving:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from leaving
        except UserError as error:
            if checkpointer.last is None and directory not in before:
                _remove_unused(directory)  # nothing but what this run began
            raise _after_divergence(error, cfg, checkpointer.last) from error
    if checkpointer.last is None:
        raise RuntimeError("training ended without a checkpoint")
    return checkpointer.last


def _composed(settings: PretrainConfig) -> DictConfig:
    """Return a configuration as if it were composed, with the crops of the chosen family where none are written out."""
    cfg = compose_command("pretrain", ["augmentations=invariance/family"])
    chosen = OmegaConf.structured(settings)
    if not settings.augmentations:
        chosen.augmentations = cfg.augmentations
    merged = OmegaConf.merge(cfg, chosen)
    assert isinstance(merged, DictConfig)
    return merged


def _after_divergence(error: UserError, cfg: DictConfig, last: Path | None) -> UserError:
    """Return an error of training; where that diverged, with what is left and what to try."""
    if not isinstance(error, Diverged):
        return _from_worker(error)
    left = "no checkpoint was written" if last is None else f"the last checkpoint is of the time before: {last}"
    rate = cfg.optimizer.lr
    return UserError(f"training diverged: {error}; {left}; try a smaller optimizer.lr (now {rate:g}), or more warm-up")


def _remove_unused(directory: Path) -> None:
    """Remove a run's directory without a checkpoint, and those above it that are empty then."""
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):  # another run is in it
        directory.parent.rmdir()
        directory.parent.parent.rmdir()


def _from_worker(error: UserError) -> UserError:
    """Return an error as it was raised, without the traceback that a data worker wraps it in."""
    return UserError(str(error).strip().splitlines()[-1].rpartition("UserError: ")[2])


class IndexedDataset(Dataset[tuple[int, Any, int]]):
    """Images with their indexes, as solo-learn's datasets give them: (index, transformed image, label).

    Args:
        source: Gives (image, label) pairs, without a transform of its own.
    """

    def __init__(self, source: Dataset[tuple[Any, int]]) -> None:
        self.source = source
        self.transform: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        image, label = self.source[index]
        return index, image if self.transform is None else self.transform(image), label


class FolderImages(Dataset[tuple[Any, int]]):
    """Image files with labels.

    Args:
        paths: N files.
        labels: Theirs, -1 where there is none.
        loader: Reads a file.
    """

    def __init__(self, paths: Sequence[Path], labels: Sequence[int], loader: Callable[[str], Any]) -> None:
        self.paths = paths
        self.labels = labels
        self.loader = loader

    @classmethod
    def of(cls, root: Path, loader: Callable[[str], Any], labelled: bool = True) -> "FolderImages":
        """Return the images below a folder, with the folders in it for their classes, if there are any.

        Args:
            root: The folder.
            loader: Reads a file.
            labelled: Whether the folders are classes; the images of all have the label -1 otherwise.

        Raises:
            UserError: There are no images, or some beside folders of classes, or the folders are parts of a dataset,
                of which the test is not to be trained on.
        """
        require_directory(root, "images")
        if not labelled or not contents_of_folder(root).folders:
            paths = list_images(root)
            return cls(paths, [-1] * len(paths), loader)
        parts = parts_of(root)
        if parts is not None:
            raise UserError(
                f"data.train_path={root}: holds the parts of a dataset; name the one to train on, "
                f"data.train_path={parts.train[0]}"
            )
        found = read_class_folders(root)
        return cls(found.paths, found.classes.tolist(), loader)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.loader(str(self.paths[index])), self.labels[index]


class HostCheckpoints(Callback):
    """Write checkpoints where and as solo-learn writes them: ``DIR/METHOD/VERSION/NAME-VERSION-ep=E.ckpt``, args.json.

    Args:
        directory: ``DIR/METHOD/VERSION``.
        args: The run's configuration, plain.
        frequency: Epochs between checkpoints; the last epoch's is always written.
        keep_prev: Keep earlier ones.
        last: The checkpoint that the run resumes from.
    """

    def __init__(
        self, directory: Path, args: Mapping[str, Any], frequency: int, keep_prev: bool, last: Path | None
    ) -> None:
        self.directory = directory
        self.args = args
        self.frequency = frequency
        self.keep_prev = keep_prev
        self.last = last

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint, then drop the one before.

        Raises:
            Diverged: A weight, or a statistic of batch normalisation, is not finite.
        """
        epoch = trainer.current_epoch
        culprit = first_not_finite(pl_module.state_dict())
        if culprit is not None:
            raise Diverged(f"{culprit} is not finite after epoch {epoch}")
        if epoch % self.frequency != 0 and epoch != self.args["max_epochs"] - 1:
            return
        path = self.directory / f"{self.args['name']}-{self.directory.name}-ep={epoch}.ckpt"
        unfinished = path.with_suffix(".unfinished")
        trainer.save_checkpoint(unfinished)
        unfinished.replace(path)
        if self.last is not None and self.last != path and not self.keep_prev:
            self.last.unlink(missing_ok=True)
        self.last = path


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor of a state that is not finite; None where all are."""
    numbers = ((name, one) for name, one in state.items() if isinstance(one, Tensor) and one.is_floating_point())
    return next((name for name, one in numbers if not one.isfinite().all()), None)


class _Reporter(Callback):
    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._progress(f"pretrain {self._name}", trainer.global_step, int(trainer.estimated_stepping_batches))


def _require_accelerator(cfg: DictConfig) -> None:
    """Raise UserError where there is no such accelerator or precision, before anything is written."""
    try:
        _trainer(cfg, None, [])
    except (ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"accelerator={cfg.accelerator}, precision={cfg.precision}: {reason}") from error


def _trainer(cfg: DictConfig, logger: CSVLogger | None, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        max_epochs=cfg.max_epochs,
        accelerator=cfg.accelerator,
        devices=1,
        precision=cfg.precision,
        logger=logger or False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def _source(cfg: DictConfig, canvas: Canvas) -> Dataset[tuple[Any, int]]:
    name, path = cfg.data.dataset, cfg.data.train_path
    if name == "latent_scenes":
        from solo_invariance.data.latent_scenes.dataset import LatentScenes

        scenes = LatentScenes(cfg.data.num_images, size=cfg.data.size, seed=cfg.data.seed)
        _ = scenes.images  # rendered now, or every data worker would render them for itself
        return scenes
    if path is None:
        raise UserError(f"data.train_path is missing: data.dataset={name} is read from a folder")
    if name == "custom":
        return FolderImages.of(Path(path), canvas.load, labelled=not cfg.data.no_labels)
    if name in ("cifar10", "cifar100"):
        return _torchvision(getattr(datasets, name.upper()), path, train=True)
    if name == "stl10":
        return _torchvision(datasets.STL10, path, split="train+unlabeled")
    raise UserError(f"data.dataset={name}: choose from latent_scenes, custom, cifar10, cifar100, stl10")


def _torchvision(
    dataset: Callable[..., Dataset[tuple[Any, int]]], path: str, **kwargs: Any
) -> Dataset[tuple[Any, int]]:
    try:
        return dataset(path, **kwargs)
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(f"data.train_path={path}: {str(error).splitlines()[0]}") from error


def _run_directory(cfg: DictConfig, args: Mapping[str, Any]) -> tuple[Path, Path | None]:
    """Return the run's directory and, where the same run was begun before, its last checkpoint."""
    if cfg.auto_resume.enabled:
        for directory in _runs(cfg):
            if _comparable(_read_args(directory / "args.json")) == _comparable(args):
                return directory, _last_readable(directory)
    return _claim_directory(Path(cfg.checkpoint.dir) / cfg.method, args), None


def _runs(cfg: DictConfig) -> list[Path]:
    """Return the directories of the method's runs."""
    return [path.parent for path in sorted((Path(cfg.checkpoint.dir) / cfg.method).glob("*/args.json"))]


def _claim_directory(base: Path, args: Mapping[str, Any]) -> Path:
    """Make a directory of the next free number, which no other process can have made, and say whose it is."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        for number in count():
            directory = base / str(number)
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            write_json(directory / "args.json", args)
            return directory
    except OSError as error:
        raise UserError(f"checkpoint.dir: {base} cannot be written ({error.strerror})") from error
    raise AssertionError("unreachable")


def _last_readable(directory: Path) -> Path | None:
    """Return the run's last checkpoint, whole and of plain tensors only, before Lightning opens it."""
    for path in sorted(directory.glob("*-ep=*.ckpt"), key=_epoch_of, reverse=True):
        try:
            culprit = first_not_finite(read_checkpoint(path).get("state_dict", {}))
        except UserError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
            continue
        if culprit is None:
            return path
        warnings.warn(f"passed over: checkpoint {path}: {culprit} is not finite", stacklevel=2)
    return None


def _read_args(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _comparable(args: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in args.items() if key not in _RESULT_KEYS}
    watched = kept.get("invariance")
    if isinstance(watched, Mapping):  # which changes nothing of the run
        kept["invariance"] = {key: value for key, value in watched.items() if key != "monitor"}
    data = kept.get("data")
    if isinstance(data, Mapping):
        kept["data"] = {key: value for key, value in data.items() if key not in _SPEED_KEYS}
    return kept


def _epoch_of(path: Path) -> int:
    return int(path.stem.rpartition("=")[2])
