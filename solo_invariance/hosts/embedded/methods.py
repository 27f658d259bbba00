"""The embedded host: MoCo v2, MoCo v2+ and SimCLR on lightly's losses and heads, for whoever has no solo-learn.

It reads solo-learn's configuration keys and writes its checkpoint layout, so that whatever reads solo-learn's runs
reads these. It is no toolkit: one device, a few methods, no online evaluation.
"""

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_invariance.backbones.architecture import Architecture, num_features_of
from solo_invariance.backbones.resnet import WideResNet
from solo_invariance.config.composed import plain
from solo_invariance.errors import UserError, install_command
from solo_invariance.families.crops import generator_of
from solo_invariance.known_datasets import known_dataset

try:
    from lightly.loss import NTXentLoss
    from lightly.models.modules.heads import MoCoProjectionHead, SimCLRProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.utils.scheduler import cosine_schedule
except ImportError as error:
    raise UserError(f"the embedded host needs lightly: {install_command('lightly')}") from error


class _Usual(NamedTuple):
    """An optimiser, and what it takes where a configuration leaves it open."""

    build: Callable[..., torch.optim.Optimizer]
    lr: float
    weight_decay: float


_OPTIMIZERS: Mapping[str, _Usual] = {
    "sgd": _Usual(torch.optim.SGD, 0.3, 1e-4),
    "adam": _Usual(torch.optim.Adam, 1e-3, 0.0),
    "adamw": _Usual(torch.optim.AdamW, 1e-3, 1e-2),
}


class Diverged(UserError):
    """Training has come to numbers that are not finite, and goes no further."""


# oneDNN works on blocks of as many channels: of 16 with AVX-512, of 8 with AVX2.
_BLOCK = 16


def _memory_format(network: nn.Module) -> torch.memory_format:
    """Return the layout that a network is trained in: channels last, as in solo-learn, since it is the faster one.

    Not where a strided 1x1 convolution, such as a ResNet's shortcuts have, reads fewer channels than a block has: on a
    CPU, oneDNN's gradient of its weights in that layout is then written beyond its buffer, so that runs hang, crash, or
    go on with wrong numbers (uxlfoundation/oneDNN #6035).
    """
    narrow = any(
        module.kernel_size == (1, 1) and max(module.stride) > 1 and module.in_channels // module.groups < _BLOCK
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    )
    return torch.contiguous_format if narrow else torch.channels_last


class EmbeddedMethod(LightningModule):
    """A backbone trained on crops of the same image; subclasses bring the heads and the loss.

    Args:
        cfg: A run's configuration in solo-learn's schema.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = cfg
        small = known_dataset(cfg.data.dataset).has_small_stem
        architecture = Architecture(cfg.backbone.name, plain(cfg.backbone.kwargs), method=cfg.method)
        network = architecture.build()
        if small and isinstance(network, WideResNet):
            network = replace(architecture, small_stem=True).build()
        self.backbone = network.to(memory_format=_memory_format(network))
        try:
            self.num_features = num_features_of(network, cfg.augmentations[0].crop_size, cfg.backbone.name)
        except UserError as error:
            raise UserError(str(error).replace("backbone.crop_size", "invariance.crop_size")) from error

    @property
    def _rate(self) -> float:
        return float(self.cfg.optimizer.lr * self.cfg.optimizer.batch_size / 256)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser, at the learning rate that the schedule goes up to.

        Raises:
            UserError: It does not take its settings.
        """
        settings = self.cfg.optimizer
        kwargs: dict[str, Any] = {"momentum": 0.9} if settings.name == "sgd" else {}
        kwargs |= {"lr": self._rate, "weight_decay": settings.weight_decay, **settings.kwargs}
        parameters = [p for p in self.parameters() if p.requires_grad]
        try:
            return _OPTIMIZERS[settings.name].build(parameters, **kwargs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"optimizer: {settings.name} does not take these settings: {error}") from error

    def loss(self, crops: list[Tensor]) -> Tensor:
        """Return the method's loss for a list of crops, each (N, 3, S, S), normalised."""
        raise NotImplementedError

    def training_step(self, batch: list[Any], batch_idx: int) -> Tensor:
        """Return the loss of one batch ``[indexes, crops, targets]``.

        Raises:
            Diverged: It is not finite.
        """
        loss = self.loss(batch[1])
        if not loss.isfinite():
            raise Diverged(f"the loss is {loss.item()} in epoch {self.current_epoch}, step {self.global_step}")
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def configure_optimizers(self) -> Any:
        """Return the optimiser with solo-learn's learning rate: scaled by batch size / 256, warm-up, then cosine.

        ``scheduler.interval`` says whether it changes with every step or every epoch.
        """
        schedule, rate, optimizer = self.cfg.scheduler, self._rate, self.build_optimizer()
        if schedule.name == "none":
            return optimizer
        epochs = self.cfg.max_epochs
        steps = epochs if schedule.interval == "epoch" else int(self.trainer.estimated_stepping_batches)
        factor = warmup_cosine(
            round(schedule.warmup_epochs * steps / epochs),
            steps,
            schedule.warmup_start_lr / rate,
            schedule.min_lr / rate,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": schedule.interval}}


def warmup_cosine(warmup: int, steps: int, first: float, last: float) -> Callable[[int], float]:
    """Return the learning rate's factor by the step: linear from ``first`` to 1, then along a cosine to ``last``.

    Args:
        warmup: Steps of the linear part; 0 for none.
        steps: In all.
        first: Factor at step 0.
        last: Factor after the last step.
    """

    def factor(step: int) -> float:
        if step < warmup:
            return first + (1 - first) * step / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return last + (1 - last) * (1 + math.cos(math.pi * progress)) / 2

    return factor


class MomentumContrast(EmbeddedMethod):
    """A backbone and its moving average, which makes the keys; subclasses say which views are compared.

    Args:
        cfg: ``method_kwargs`` has ``proj_hidden_dim``, ``proj_output_dim``, ``temperature`` and ``queue_size``;
            ``momentum`` has ``base_tau`` and ``final_tau``, between which the momentum rises along a cosine.
    """

    num_queues: int

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = cfg.method_kwargs
        self.projector = MoCoProjectionHead(self.num_features, settings.proj_hidden_dim, settings.proj_output_dim)
        self.momentum_backbone = copy.deepcopy(self.backbone)
        self.momentum_projector = copy.deepcopy(self.projector)
        for module in (self.momentum_backbone, self.momentum_projector):
            deactivate_requires_grad(module)
        bank = (settings.queue_size, settings.proj_output_dim)
        self.criteria = nn.ModuleList(
            NTXentLoss(settings.temperature, memory_bank_size=bank) for _ in range(self.num_queues)
        )

    def _queries(self, crop: Tensor) -> Tensor:
        queries: Tensor = self.projector(self.backbone(crop))
        return queries

    @torch.no_grad()
    def _keys(self, crop: Tensor) -> Tensor:
        keys: Tensor = self.momentum_projector(self.momentum_backbone(crop))
        return keys

    def _update_momentum(self) -> None:
        schedule = self.cfg.momentum
        steps = int(self.trainer.estimated_stepping_batches)
        tau = cosine_schedule(self.global_step, steps, schedule.base_tau, schedule.final_tau)
        update_momentum(self.backbone, self.momentum_backbone, tau)
        update_momentum(self.projector, self.momentum_projector, tau)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the queues, which lightly leaves out of the state, so that a resumed run goes on as it was."""
        checkpoint["queues"] = [{"bank": b.bank.cpu(), "pointer": b.bank_ptr.cpu()} for b in self._banks()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the queues back."""
        for bank, queue in zip(self._banks(), checkpoint["queues"], strict=True):
            bank.bank.copy_(queue["bank"])
            bank.bank_ptr.copy_(queue["pointer"])

    def _banks(self) -> list[Any]:
        return [criterion.memory_bank for criterion in self.criteria]


class MoCoV2(MomentumContrast):
    """MoCo v2 (He et al., 2020; Chen, Fan, Girshick & He, 2020), which Ericsson et al. (2022) train with.

    The first view asks, the second answers: one direction, one queue, a fixed momentum. Batch normalisation would let
    an image and its key be matched by the statistics that they share. MoCo shuffles the keys' images between its GPUs,
    each of which normalises its own. On the one device here, a batch is normalised in as many groups as there would be
    GPUs: the queries' in the batch's order, the keys' in one drawn for every step.

    Args:
        cfg: ``method_kwargs`` has ``proj_hidden_dim``, ``proj_output_dim``, ``temperature``, ``queue_size`` and
            optionally ``bn_groups``, 8 by default, of which the batch is a multiple; ``momentum`` has one number twice.

    Raises:
        ValueError: The batch cannot be cut into the groups, or the momentum is not fixed.
    """

    num_queues = 1

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        if cfg.momentum.base_tau != cfg.momentum.final_tau:
            raise ValueError(
                "momentum.base_tau and momentum.final_tau differ, and MoCo v2's momentum is fixed: "
                "+recipe=mocov2 sets both"
            )
        self.groups = cfg.method_kwargs.get("bn_groups", 8)
        batch = cfg.optimizer.batch_size
        if not isinstance(self.groups, int) or self.groups < 1 or batch % self.groups or batch < 2 * self.groups:
            raise ValueError(
                f"bn_groups={self.groups}: does not divide optimizer.batch_size={batch} into groups of two or more"
            )

    def loss(self, crops: list[Tensor]) -> Tensor:
        """Return the contrastive loss of the first crop's queries against the second's keys and the queue."""
        self._update_momentum()
        first, second = crops
        queries = torch.cat([self._queries(part) for part in first.chunk(self.groups)])
        # Drawn for the step, so that a resumed run draws what an uninterrupted one does.
        order = torch.randperm(len(second), generator=generator_of((self.cfg.seed, self.global_step)))
        shuffled = second[order.to(second.device)]
        keys = torch.cat([self._keys(part) for part in shuffled.chunk(self.groups)])
        loss: Tensor = self.criteria[0](queries, keys[order.argsort().to(keys.device)])
        return loss


class MoCoV2Plus(MomentumContrast):
    """MoCo v2+ (Chen & He, 2021, appendix): MoCo v2 with the loss both ways round, and here a momentum that rises.

    Args:
        cfg: See ``MomentumContrast``.
    """

    num_queues = 2

    def loss(self, crops: list[Tensor]) -> Tensor:
        """Return the contrastive loss, both ways round, against a queue of keys for each."""
        self._update_momentum()
        queries = [self._queries(crop) for crop in crops]
        keys = [self._keys(crop) for crop in crops]
        pairs = ((queries[0], keys[1]), (queries[1], keys[0]))
        losses = [criterion(query, key) for criterion, (query, key) in zip(self.criteria, pairs, strict=True)]
        return torch.stack(losses).mean()


class SimCLR(EmbeddedMethod):
    """SimCLR (Chen, Kornblith, Norouzi & Hinton, 2020).

    Args:
        cfg: ``method_kwargs`` has ``proj_hidden_dim``, ``proj_output_dim`` and ``temperature``.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = cfg.method_kwargs
        self.projector = SimCLRProjectionHead(self.num_features, settings.proj_hidden_dim, settings.proj_output_dim)
        self.criterion = NTXentLoss(settings.temperature)

    def loss(self, crops: list[Tensor]) -> Tensor:
        """Return the contrastive loss against the other images of the batch."""
        first, second = (self.projector(self.backbone(crop)) for crop in crops)
        loss: Tensor = self.criterion(first, second)
        return loss


METHODS: Mapping[str, Callable[[DictConfig], EmbeddedMethod]] = {
    "mocov2": MoCoV2,
    "mocov2plus": MoCoV2Plus,
    "simclr": SimCLR,
}
# Sizes for the small networks that a CPU can train.
_HEAD = {"proj_hidden_dim": 256, "proj_output_dim": 128, "temperature": 0.2}
_USUAL_KWARGS: Mapping[str, Mapping[str, float]] = {
    "mocov2": {**_HEAD, "queue_size": 2048, "bn_groups": 8},
    "mocov2plus": {**_HEAD, "queue_size": 2048},
    "simclr": _HEAD,
}


def build_method(cfg: DictConfig) -> EmbeddedMethod:
    """Return the method that a configuration names.

    Args:
        cfg: What it leaves open of ``method_kwargs`` and ``optimizer`` is filled in, with what is usual for the method
            and the optimiser: these settings come with the names, so that none stays behind when a name changes.

    Raises:
        UserError: A value is unknown or does not fit another; the message names the key.
    """
    fill_in(cfg)
    if not cfg.method_kwargs.temperature > 0:
        raise UserError(f"method_kwargs.temperature={cfg.method_kwargs.temperature}: expected a positive number")
    allowed = inspect.signature(_OPTIMIZERS[cfg.optimizer.name].build).parameters
    for key in cfg.optimizer.kwargs:
        if key not in allowed:
            raise UserError(f"optimizer.kwargs.{key}: {cfg.optimizer.name} has no such argument")
    crops = sum(entry.num_crops for entry in cfg.augmentations)
    if crops != 2:
        raise UserError(f"augmentations: method={cfg.method} of the embedded host takes two crops, got {crops}")
    try:
        return METHODS[cfg.method](cfg)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise UserError(
            f"method={cfg.method} cannot be built with method_kwargs={cfg.method_kwargs}: {error}"
        ) from error


def fill_in(cfg: DictConfig) -> None:
    """Fill in what a configuration leaves open of ``method_kwargs`` and ``optimizer``.

    Raises:
        UserError: A key of ``method_kwargs`` is none of the method's, or its value is no number.
    """
    read = ", ".join(_USUAL_KWARGS[cfg.method])
    for key, value in cfg.method_kwargs.items():
        if key not in _USUAL_KWARGS[cfg.method]:
            raise UserError(f"method_kwargs.{key}: method={cfg.method} has no such key, it has {read}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"method_kwargs.{key}={value}: expected a number")
    usual = _OPTIMIZERS[cfg.optimizer.name]
    open_keys = {f"method_kwargs.{key}": value for key, value in _USUAL_KWARGS[cfg.method].items()}
    open_keys |= {"optimizer.lr": usual.lr, "optimizer.weight_decay": usual.weight_decay}
    for key, value in open_keys.items():
        if OmegaConf.select(cfg, key) is None:
            OmegaConf.update(cfg, key, value, force_add=True)
