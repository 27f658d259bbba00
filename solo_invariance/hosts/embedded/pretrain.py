"""Pre-training with the embedded host: data, trainer, checkpoints and resuming."""

import copy
import io
import logging
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision import datasets

from solo_invariance.backbones import InputSpec
from solo_invariance.backbones.files.checkpoint import odd_kind_of, read_checkpoint
from solo_invariance.config.composed import compose_command, plain
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.config.task_entries import watch_transfer_from
from solo_invariance.config.watch_transfer import WATCH_TRANSFER
from solo_invariance.data.cifar10 import read_cifar10
from solo_invariance.data.class_folders import read_class_folders
from solo_invariance.data.images import ImageFiles
from solo_invariance.data.listing import contents_of_folder, list_images, require_directory
from solo_invariance.data.parts import parts_of
from solo_invariance.errors import UserError, none_of, reason_of
from solo_invariance.families import Canvas
from solo_invariance.hosts.augmentations import RESOLVED, crop_pipeline_from_config, record_run
from solo_invariance.hosts.embedded.ahead import Pretrained, PretrainingAhead
from solo_invariance.hosts.embedded.best_checkpoint import BestCheckpoint
from solo_invariance.hosts.embedded.methods import Diverged, build_method, fill_in
from solo_invariance.progress import Announce, Doing, Progress, no_progress, say_nothing
from solo_invariance.results.files import directories, read_json, require_file, write_bytes, write_json
from solo_invariance.results.run_directory import locked

_RESULT_KEYS = ("accelerator", "devices", "checkpoint", "auto_resume", "objective")
_SPEED_KEYS = ("num_workers",)
_EPOCH = re.compile(r"-ep=(\d+)$")
_WORKER_DIED = "DataLoader worker"
_SECONDS_BETWEEN_LOOKS = 0.5
_TALKATIVE = (
    "lightning.fabric.utilities.registry",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.accelerators.cuda",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.trainer.connectors.signal_connector",
    "lightning.pytorch.utilities.rank_zero",
)


def pretrain(
    settings: PretrainConfig | DictConfig, progress: Progress = no_progress, announce: Announce = say_nothing
) -> Path:
    """Pre-train a backbone with the embedded host and return the path of its last checkpoint.

    A run with the same configuration that was interrupted goes on from its last checkpoint; one that was finished is
    not repeated. ``auto_resume.enabled=false`` always begins anew.

    Args:
        settings: In solo-learn's schema, see ``config/pretrain.yaml``: a ``PretrainConfig``, of which ``invariance``
            names the family where ``augmentations`` is empty, or what ``compose_command("pretrain", [...])`` gives.
        progress: Told how many steps are done.
        announce: Told what is to be done, a ``PretrainingAhead``, and in the end what was, ``Pretrained``.

    Raises:
        UserError: A key is wrong, or the data cannot be found.
    """
    cfg = settings if isinstance(settings, DictConfig) else _composed(settings)
    OmegaConf.to_object(cfg)  # checks the values
    # The crops are made before anything is written, so that a wrong family or size leaves no trace.
    pipeline, canvas = crop_pipeline_from_config(cfg)
    record_run(cfg, pipeline, canvas)
    _require_scored(cfg)
    if str(cfg.devices) not in ("1", "[0]", "auto"):
        raise UserError(f"devices={cfg.devices}: the embedded host trains on one device; use solo-learn for more")
    _hush_lightning()
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
    with _run_directory(cfg, args) as (directory, last):
        families = _families(cfg)
        if last is not None and _epoch_of(last) == cfg.max_epochs - 1:
            announce(Pretrained(last, families, cfg.max_epochs, best=_best_path(cfg, directory)))
            return last
        announce(
            PretrainingAhead(
                method=cfg.method,
                families=families,
                backbone=cfg.backbone.name,
                num_features=module.num_features,
                num_images=len(dataset),
                data=cfg.data.dataset if cfg.data.train_path is None else cfg.data.train_path,
                canvas_size=canvas.size,
                batch_size=cfg.optimizer.batch_size,
                steps=len(dataset) // cfg.optimizer.batch_size,
                epochs=cfg.max_epochs,
                epochs_done=0 if last is None else _epoch_of(last) + 1,
                accelerator=cfg.accelerator,
                directory=directory,
            )
        )
        reporter = _Reporter(cfg, progress)
        checkpoint = _train(cfg, module, dataset, directory, last, reporter)
        best = _best_path(cfg, directory)
        announce(Pretrained(checkpoint, families, cfg.max_epochs, *reporter.summary(), best=best))
        return checkpoint


def _hush_lightning() -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def require_trainable(settings: DictConfig) -> None:
    """Refuse a run whose families, network, method or optimiser cannot be made, without looking for its data.

    Args:
        settings: A run's configuration, as ``compose_command("pretrain", [...])`` gives it; it is left as it is.

    Raises:
        UserError: A key is wrong.
    """
    cfg = copy.deepcopy(settings)
    crop_pipeline_from_config(cfg)
    build_method(cfg).build_optimizer()


def finished_run(settings: DictConfig) -> Path | None:
    """Return the last checkpoint of a run that was finished before; None where something is left to do.

    Args:
        settings: A run's configuration, as ``compose_command("pretrain", [...])`` gives it; it is left as it is.

    Raises:
        UserError: A key is wrong.
    """
    cfg = copy.deepcopy(settings)
    record_run(cfg, *crop_pipeline_from_config(cfg))
    fill_in(cfg)
    directory = _begun(Path(cfg.checkpoint.dir) / cfg.method, plain(cfg))
    last = None if directory is None else _last_readable(directory)
    return last if last is not None and _epoch_of(last) == cfg.max_epochs - 1 else None


def trained_per_second(settings: DictConfig, steps: int = 4) -> tuple[float, int]:
    """Return how many images a second a run would train on here, by a few steps of it, and how many it has an epoch.

    Nothing is written. The first step, which loads and warms up, does not count.

    Args:
        settings: A run's configuration, as ``compose_command("pretrain", [...])`` gives it; it is left as it is.
        steps: How many are timed.

    Raises:
        UserError: A key is wrong, or the data cannot be found.
    """
    cfg = copy.deepcopy(settings)
    pipeline, canvas = crop_pipeline_from_config(cfg)
    record_run(cfg, pipeline, canvas)
    _hush_lightning()
    seed_everything(cfg.seed)
    module, batch = build_method(cfg), cfg.optimizer.batch_size
    whole = int(cfg.data.num_images)
    if cfg.data.dataset == "latent_scenes":  # which is rendered
        cfg.data.num_images = min(whole, (steps + 1) * batch)
    dataset = IndexedDataset(_source(cfg, canvas))
    if cfg.data.dataset != "latent_scenes":
        whole = len(dataset)
    clock = _Clock()
    trainer = Trainer(
        max_steps=steps + 1,
        accelerator=cfg.accelerator,
        devices=1,
        precision=cfg.precision,
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=batch, num_workers=cfg.data.num_workers, drop_last=True)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # of what a run says, there is nothing to keep
        warnings.filterwarnings("ignore", module="lightning")
        trainer.fit(module, loader)
    if len(clock.times) < 2:
        raise UserError(f"optimizer.batch_size={batch} is larger than half of the data, {len(dataset)} images")
    return batch * (len(clock.times) - 1) / (clock.times[-1] - clock.times[0]), whole


class _Clock(Callback):
    """Looks at the clock after every step, when the device is done with it."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        outputs["loss"].item()
        self.times.append(time.perf_counter())


def _train(
    cfg: DictConfig,
    module: LightningModule,
    dataset: Dataset[Any],
    directory: Path,
    last: Path | None,
    reporter: "_Reporter",
) -> Path:
    """Train from the last checkpoint, or from the beginning, and return the path of the new last one."""
    args = plain(cfg)
    checkpointer = HostCheckpoints(directory, args, cfg.checkpoint.frequency, cfg.checkpoint.keep_prev, last)
    best = _best_checkpoint(cfg, directory)
    callbacks = [checkpointer, reporter, *([] if best is None else [best])]
    trainer = _trainer(cfg, CSVLogger(directory, name="", version=""), callbacks)
    # Shuffles by (seed, epoch) alone, so that a resumed run sees the images in the order that it would have.
    sampler: DistributedSampler[Any] = DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True, seed=cfg.seed)
    # Lightning says which epoch it is when workers have already asked for its first batches.
    sampler.set_epoch(0 if last is None else _epoch_of(last) + 1)
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=cfg.optimizer.batch_size,
        sampler=sampler,
        num_workers=cfg.data.num_workers,
        drop_last=True,
    )
    with warnings.catch_warnings():
        # Lightning's advice on workers and logging is for bigger runs than these.
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(module, loader, ckpt_path=last)
        except SystemExit as leaving:  # what Lightning makes of Ctrl-C, and of signals that are taken for it
            raise KeyboardInterrupt from leaving
        except UserError as error:
            raise _after_divergence(error, cfg, checkpointer.last) from error
        except OSError as error:
            raise UserError(f"checkpoint.dir: {directory} cannot be written ({error.strerror or error})") from error
        except Exception as error:
            no_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
            if last is not None and not reporter.begun and not no_memory:  # Lightning trusts what it restores
                reason = reason_of(error)
                raise UserError(f"checkpoint {last}: training does not go on from it ({reason}); remove it") from error
            if _WORKER_DIED not in str(error):
                raise
            raise UserError(
                f"data.num_workers={cfg.data.num_workers}: a process that reads images was ended from outside, as the "
                f"system does where memory is short; take fewer"
            ) from error
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


class Pictures(Dataset[tuple[Any, int]]):
    """Images in memory with labels.

    Args:
        pixels: uint8 (N, 3, H, W).
        labels: Theirs.
    """

    def __init__(self, pixels: Tensor, labels: Sequence[int]) -> None:
        self.pixels = pixels
        self.labels = labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return Image.fromarray(self.pixels[index].permute(1, 2, 0).numpy()), self.labels[index]


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
        trainer.save_checkpoint(path)
        if self.last is not None and self.last != path and not self.keep_prev:
            self.last.unlink(missing_ok=True)
        self.last = path


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor of a state that is not finite; None where all are."""
    numbers = ((name, one) for name, one in state.items() if isinstance(one, Tensor) and one.is_floating_point())
    # As single precision: numbers of eight bits cannot be asked.
    return next((name for name, one in numbers if not one.float().isfinite().all()), None)


class _WholeFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getbuffer())


class _Reporter(Callback):
    """Tells how far training is, the loss that it has come to, and how fast it goes."""

    def __init__(self, cfg: DictConfig, progress: Progress) -> None:
        self._what = f"pretrain {cfg.name}"
        self._batch_size = cfg.optimizer.batch_size
        self._progress = progress
        self._losses: list[Tensor] = []
        self._loss = ""
        self._steps = 0
        self._started = self._looked = 0.0
        self.begun = False

    def summary(self) -> tuple[float, float, float]:
        """Return the mean loss of the last epoch, the seconds that training took, and images a second."""
        seconds = time.perf_counter() - self._started
        return float(torch.stack(self._losses).mean()), seconds, self._steps * self._batch_size / seconds

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begun = True
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(outputs["loss"].detach())
        self._steps += 1
        now = time.perf_counter()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS:  # a GPU waits where its numbers are looked at
            self._looked = now
            rate = self._steps * self._batch_size / (now - self._started)
            self._loss = f"epoch {trainer.current_epoch + 1}, loss {float(self._losses[-1]):.2f}, {rate:.0f} img/s"
        total = int(trainer.estimated_stepping_batches)
        self._progress(Doing(self._what, self._loss), trainer.global_step, total)


def _families(cfg: DictConfig) -> str:
    entries = crop_pipeline_from_config(cfg)[0].entries
    return ", ".join(f"{entry.num_crops} x {entry.family.name}@{entry.crop_size}" for entry in entries)


def _require_accelerator(cfg: DictConfig) -> None:
    """Raise UserError where there is no such accelerator or precision, before anything is written."""
    try:
        _trainer(cfg, None, [])
    except (ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        reason = reason_of(error)
        raise UserError(f"accelerator={cfg.accelerator}, precision={cfg.precision}: {reason}") from error


def _trainer(cfg: DictConfig, logger: CSVLogger | None, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        max_epochs=cfg.max_epochs,
        accelerator=cfg.accelerator,
        devices=1,
        precision=cfg.precision,
        logger=logger or False,
        callbacks=callbacks,
        plugins=[_WholeFiles()],
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks),  # Lightning's own stays out
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def _require_scored(cfg: DictConfig) -> None:
    """Raise UserError where tasks that a run is scored on, or their number to keep the best by, are none."""
    asked, scored = cfg.checkpoint.monitor, cfg.invariance.transfer
    if scored is None:
        return
    from solo_invariance.hosts.lightning.transfer_watcher import TransferWatcher
    from solo_invariance.hosts.lightning.watched import Watched

    config = watch_transfer_from(plain(cfg)["invariance"]["transfer"])
    names = TransferWatcher(config, Watched(WATCH_TRANSFER, InputSpec())).names
    if asked is not None and asked.startswith("transfer/") and asked not in names:
        raise UserError(f"checkpoint.monitor={asked}: nothing logs it{none_of(asked, names)}")


def _best_checkpoint(cfg: DictConfig, directory: Path) -> BestCheckpoint | None:
    if cfg.checkpoint.monitor is None:
        return None
    return BestCheckpoint(_path_of_best(cfg, directory), cfg.checkpoint.monitor, cfg.checkpoint.mode)


def _path_of_best(cfg: DictConfig, directory: Path) -> Path:
    return directory / f"{cfg.name}-{directory.name}-best.ckpt"


def _best_path(cfg: DictConfig, directory: Path) -> Path | None:
    """Return the best epoch's checkpoint, where one was asked for and is there."""
    path = _path_of_best(cfg, directory)
    return path if cfg.checkpoint.monitor is not None and path.is_file() else None


def _source(cfg: DictConfig, canvas: Canvas) -> Dataset[tuple[Any, int]]:
    name, path = cfg.data.dataset, cfg.data.train_path
    if name == "latent_scenes":
        from solo_invariance.data.latent_scenes.dataset import LatentScenes

        scenes = LatentScenes(cfg.data.num_images, size=cfg.data.size, seed=cfg.data.seed)
        _ = scenes.images  # rendered now, or every data worker would render them for itself
        return scenes
    if name == "custom":
        return FolderImages.of(Path(path), canvas.load, labelled=not cfg.data.no_labels)
    if name == "cifar10":
        return _cifar10(Path(path), canvas)
    if name == "cifar100":
        return _torchvision(datasets.CIFAR100, path, train=True)
    return _torchvision(datasets.STL10, path, split="train+unlabeled")


def _cifar10(root: Path, canvas: Canvas) -> Dataset[tuple[Any, int]]:
    try:
        found = read_cifar10(root, "train")
    except UserError as error:
        raise UserError(f"data.train_path={error}") from error
    labels = found.classes.tolist()
    if isinstance(found.images, ImageFiles):
        return FolderImages(found.images.paths, labels, canvas.load)
    return Pictures(found.images.images, labels)


def _torchvision(
    dataset: Callable[..., Dataset[tuple[Any, int]]], path: str, **kwargs: Any
) -> Dataset[tuple[Any, int]]:
    try:
        return dataset(path, **kwargs)
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(f"data.train_path={path}: {reason_of(error)}") from error


@contextmanager
def _run_directory(cfg: DictConfig, args: Mapping[str, Any]) -> Iterator[tuple[Path, Path | None]]:
    """Give the run's directory and, where the same run was begun before, its last checkpoint; others are kept out.

    A directory that has no checkpoint in the end is removed.
    """
    base = Path(cfg.checkpoint.dir) / cfg.method
    begun = _begun(base, args) if cfg.auto_resume.enabled else None
    with ExitStack() as stack:
        try:
            stack.enter_context(directories(base))
            directory = begun or _claim_directory(base, args)
        except OSError as error:
            raise UserError(f"checkpoint.dir: {base} cannot be written ({error.strerror or error})") from error
        stack.enter_context(locked(directory))
        try:
            yield directory, _last_readable(directory) if begun else None
        finally:
            if not any(map(_is_checkpoint, directory.iterdir())):
                shutil.rmtree(directory, ignore_errors=True)


def _begun(base: Path, args: Mapping[str, Any]) -> Path | None:
    """Return the directory of the same run, if it was begun before."""
    for path in sorted(base.glob("*/args.json")):
        if _comparable(_read_args(path)) == _comparable(args):
            return path.parent
    return None


def _claim_directory(base: Path, args: Mapping[str, Any]) -> Path:
    """Make a directory of the next free number, which no other process can have made, and say whose it is."""
    base.mkdir(parents=True, exist_ok=True)
    for number in count():
        directory = base / str(number)
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        try:
            write_json(directory / "args.json", args)
        except UserError:
            directory.rmdir()
            raise
        return directory
    raise AssertionError("unreachable")


def _is_checkpoint(path: Path) -> bool:
    return path.suffix == ".ckpt" and _EPOCH.search(path.stem) is not None


def _last_readable(directory: Path) -> Path | None:
    """Return the run's last checkpoint, whole and of plain tensors only, before Lightning opens it."""
    for path in sorted(filter(_is_checkpoint, directory.iterdir()), key=_epoch_of, reverse=True):
        require_file(path)  # where a folder is, none can be written
        try:
            _require_whole(path)
        except UserError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
        else:
            return path
    return None


def _require_whole(path: Path) -> None:
    """Raise UserError unless a checkpoint can be read and holds weights, all of which are finite."""
    state = read_checkpoint(path).get("state_dict")
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"checkpoint {path}: there are no weights in it")
    for name, one in state.items():
        if isinstance(one, Tensor) and (kind := odd_kind_of(one)) is not None:
            raise UserError(f"checkpoint {path}: {name} is a tensor of kind {kind}")
    if (culprit := first_not_finite(state)) is not None:
        raise UserError(f"checkpoint {path}: {culprit} is not finite")


def _read_args(path: Path) -> Mapping[str, Any]:
    try:
        return read_json(path)
    except UserError:  # a stranger's, or damaged
        return {}


def _comparable(args: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in args.items() if key not in _RESULT_KEYS}
    watched = kept.get("invariance")
    if isinstance(watched, Mapping):  # which changes nothing of the run
        kept["invariance"] = {
            key: value for key, value in watched.items() if key not in ("monitor", "transfer", RESOLVED)
        }
    data = kept.get("data")
    if isinstance(data, Mapping):
        kept["data"] = {key: value for key, value in data.items() if key not in _SPEED_KEYS}
    return kept


def _epoch_of(path: Path) -> int:
    return int(path.stem.rpartition("=")[2])
