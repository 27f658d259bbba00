import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader

from solo_invariance.backbones import Architecture
from solo_invariance.config.composed import compose_command, plain
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.hosts.embedded.methods import EmbeddedMethod, build_method

_TEMPERATURE = 0.3
_QUEUE = 7
_MOMENTUM_PARTS = (("backbone", "momentum_backbone"), ("projector", "momentum_projector"))


def _config(method: str = "mocov2plus", **changes: Any) -> DictConfig:
    usual: dict[str, Any] = {
        "method": method,
        "backbone": {"name": "resnet10", "kwargs": {"width": 0.0625}},
        "method_kwargs": {
            "proj_hidden_dim": 6,
            "proj_output_dim": 5,
            "temperature": _TEMPERATURE,
            "queue_size": _QUEUE,
        },
        "augmentations": [{"crop_size": 32, "num_crops": 2}],
        "max_epochs": 4,
    }
    if method == "simclr":
        del usual["method_kwargs"]["queue_size"]
    config = OmegaConf.merge(OmegaConf.structured(PretrainConfig), usual, changes)
    assert isinstance(config, DictConfig)
    return config


def _linear(method: str, *, step: int = 0, steps: int = 10, **changes: Any) -> EmbeddedMethod:
    """A method at a step of a run, whose networks are matrices: all of them can be multiplied by hand."""
    torch.manual_seed(1)
    made: Any = build_method(_config(method, **changes))
    for name in ("backbone", "projector", "momentum_backbone", "momentum_projector"):
        if hasattr(made, name):
            setattr(made, name, nn.Linear(4, 5 if name.endswith("projector") else 4, bias=False))
    made.trainer = SimpleNamespace(estimated_stepping_batches=steps, global_step=step)
    return made


def _crops(count: int = 3) -> list[Tensor]:
    return list(torch.randn(2, count, 4, generator=torch.Generator().manual_seed(2)))


def _numpy(module: nn.Module) -> np.ndarray:
    """The matrix of a linear network, transposed: features are ``x @ _numpy(network)``."""
    return module.weight.detach().double().numpy().T


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _cross_entropy_of_first(logits: np.ndarray) -> float:
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0]))


def _queues(seed: int = 3) -> list[dict[str, Tensor]]:
    """A queue for each direction, of unit vectors, as a checkpoint holds them."""
    vectors = torch.randn(2, _QUEUE, 5, generator=torch.Generator().manual_seed(seed))
    banks = nn.functional.normalize(vectors, dim=2)
    return [{"bank": bank.clone(), "pointer": torch.zeros(1, dtype=torch.int64)} for bank in banks]


def _kept_queues(method: EmbeddedMethod) -> list[Tensor]:
    checkpoint: dict[str, Any] = {}
    method.on_save_checkpoint(checkpoint)
    return [queue["bank"] for queue in checkpoint["queues"]]


# The layout


@pytest.mark.parametrize(("width", "last"), [(0.0625, False), (0.125, False), (0.25, True)])
def test_gradients_are_those_of_the_usual_layout_which_narrow_networks_keep(width: float, last: bool) -> None:
    # Of strided 1x1 convolutions of few channels, oneDNN's are wrong in the other layout on some CPUs, if it does not
    # crash: the first assertion fails on any CPU, the second on those.
    torch.manual_seed(0)
    trained: Any = build_method(_config(backbone={"name": "resnet10", "kwargs": {"width": width}})).backbone
    weight = trained.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == last
    usual = copy.deepcopy(trained).to(memory_format=torch.contiguous_format)
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for network in (trained, usual):
        network(images).square().sum().backward()
    for ours, theirs in zip(trained.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3 * float(theirs.grad.abs().max()))


# MoCo v2+


def _moco_in_numpy(method: Any, crops: Sequence[Tensor], queues: Sequence[Mapping[str, Tensor]]) -> float:
    """InfoNCE: a view's positive is the other view's key, its negatives are the queue; both ways round."""
    views = [crop.double().numpy() for crop in crops]
    queries = [_unit(view @ _numpy(method.backbone) @ _numpy(method.projector)) for view in views]
    keys = [_unit(view @ _numpy(method.momentum_backbone) @ _numpy(method.momentum_projector)) for view in views]
    losses = []
    for query, key, queue in zip(queries, reversed(keys), queues, strict=True):
        positive = (query * key).sum(axis=1, keepdims=True)
        negatives = query @ queue["bank"].double().numpy().T
        losses.append(_cross_entropy_of_first(np.concatenate([positive, negatives], axis=1) / _TEMPERATURE))
    return float(np.mean(losses))


def test_the_loss_of_moco_is_infonce_in_numpy() -> None:
    # With a momentum of one the momentum encoder stays another network than the backbone.
    method = _linear("mocov2plus", momentum={"base_tau": 1.0, "final_tau": 1.0})
    method.on_load_checkpoint({"queues": _queues()})
    loss = method.loss(_crops())
    assert float(loss.detach()) == pytest.approx(_moco_in_numpy(method, _crops(), _queues()), rel=1e-5)


def test_the_momentum_encoder_moves_before_its_keys_are_made() -> None:
    method = _linear("mocov2plus", momentum={"base_tau": 0.5, "final_tau": 0.5})
    method.on_load_checkpoint({"queues": _queues()})
    loss = method.loss(_crops())  # after which the momentum encoder is the one that made the keys
    assert float(loss.detach()) == pytest.approx(_moco_in_numpy(method, _crops(), _queues()), rel=1e-5)


def test_each_queue_takes_the_keys_of_the_other_view_one_after_the_other() -> None:
    method: Any = _linear("mocov2plus", momentum={"base_tau": 1.0, "final_tau": 1.0})
    method.on_load_checkpoint({"queues": _queues()})
    method.loss(_crops(3))
    crops = [crop.double().numpy() for crop in reversed(_crops(3))]
    taken = [_unit(crop @ _numpy(method.momentum_backbone) @ _numpy(method.momentum_projector)) for crop in crops]
    for queue, keys, before in zip(_kept_queues(method), taken, _queues(), strict=True):
        np.testing.assert_allclose(queue[:3].double().numpy(), keys, atol=1e-6)
        assert torch.equal(queue[3:], before["bank"][3:])
    method.loss(_crops(3))
    for queue, keys, before in zip(_kept_queues(method), taken, _queues(), strict=True):
        np.testing.assert_allclose(queue[:6].double().numpy(), np.concatenate([keys, keys]), atol=1e-6)
        assert torch.equal(queue[6:], before["bank"][6:])


@pytest.mark.parametrize(("step", "progress"), [(0, 0.0), (3, 3 / 9), (9, 1.0)])
def test_the_momentum_encoder_after_one_step_is_the_weighted_mean_of_old_and_new(step: int, progress: float) -> None:
    method = _linear("mocov2plus", step=step, steps=10, momentum={"base_tau": 0.6, "final_tau": 0.9})
    parts = [(getattr(method, new).weight, getattr(method, old).weight) for new, old in _MOMENTUM_PARTS]
    before = [(new.detach().clone(), old.detach().clone()) for new, old in parts]
    method.loss(_crops())
    tau = 0.9 - 0.3 * (1 + math.cos(math.pi * progress)) / 2
    for (new_now, old_now), (new, old) in zip(parts, before, strict=True):
        torch.testing.assert_close(old_now.detach(), tau * old + (1 - tau) * new, rtol=1e-6, atol=1e-7)
        assert torch.equal(new_now, new)


def test_the_momentum_encoder_begins_as_the_backbone_and_has_no_gradients() -> None:
    method: Any = build_method(_config())
    for new, old in _MOMENTUM_PARTS:
        state = getattr(method, old).state_dict()
        assert all(torch.equal(value, state[name]) for name, value in getattr(method, new).state_dict().items())
    method.trainer = SimpleNamespace(estimated_stepping_batches=10, global_step=0)
    method.loss(list(torch.rand(2, 2, 3, 32, 32))).backward()
    for new, old in _MOMENTUM_PARTS:
        assert all(parameter.grad is not None for parameter in getattr(method, new).parameters())
        assert all(
            parameter.grad is None and not parameter.requires_grad for parameter in getattr(method, old).parameters()
        )


# MoCo v2

_FIXED = {"base_tau": 0.999, "final_tau": 0.999}


def _mocov2(step: int = 0, *, groups: int = 1, batch: int = 4, tau: float = 1.0, **changes: Any) -> Any:
    """MoCo v2 whose networks are matrices, and whose momentum encoder is another network than the backbone."""
    method: Any = _linear(
        "mocov2",
        step=step,
        method_kwargs={"bn_groups": groups},
        optimizer={"batch_size": batch},
        momentum={"base_tau": tau, "final_tau": tau},
        **changes,
    )
    method.on_load_checkpoint({"queues": _queues()[:1]})
    return method


def test_the_loss_of_mocov2_is_infonce_one_way_round_in_numpy() -> None:
    method = _mocov2()
    first, second = _crops(4)
    query = _unit(first.double().numpy() @ _numpy(method.backbone) @ _numpy(method.projector))
    key = _unit(second.double().numpy() @ _numpy(method.momentum_backbone) @ _numpy(method.momentum_projector))
    positive = (query * key).sum(axis=1, keepdims=True)
    negatives = query @ _queues()[0]["bank"].double().numpy().T
    expected = _cross_entropy_of_first(np.concatenate([positive, negatives], axis=1) / _TEMPERATURE)
    assert float(method.loss([first, second]).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_queue_of_mocov2_takes_the_second_views_keys_in_the_batchs_order() -> None:
    method = _mocov2(groups=2)
    second = _crops(4)[1].double().numpy()
    keys = _unit(second @ _numpy(method.momentum_backbone) @ _numpy(method.momentum_projector))
    method.loss(_crops(4))
    (queue,) = _kept_queues(method)
    np.testing.assert_allclose(queue[:4].double().numpy(), keys, atol=1e-6)
    assert torch.equal(queue[4:], _queues()[0]["bank"][4:])


@pytest.mark.parametrize("step", [0, 9])
def test_the_momentum_of_mocov2_is_the_same_at_every_step(step: int) -> None:
    method = _mocov2(step, tau=0.999)
    parts = [(getattr(method, new).weight, getattr(method, old).weight) for new, old in _MOMENTUM_PARTS]
    with torch.no_grad():
        for new, _ in parts:
            new.add_(1.0)  # which the momentum encoder follows by a thousandth
    before = [old.clone() for _, old in parts]
    method.loss(_crops(4))
    for (new, old), was in zip(parts, before, strict=True):
        torch.testing.assert_close(old.detach(), 0.999 * was + 0.001 * new.detach(), rtol=1e-6, atol=1e-7)


def test_no_gradient_of_mocov2_reaches_the_keys() -> None:
    method = _mocov2()
    first, second = (crop.requires_grad_() for crop in _crops(4))
    method.loss([first, second]).backward()
    assert first.grad is not None
    assert second.grad is None
    for new, old in _MOMENTUM_PARTS:
        assert getattr(method, new).weight.grad.abs().sum() > 0
        assert getattr(method, old).weight.grad is None


class _Recorder(nn.Module):
    """Passes images on, and notes which it saw together."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[float]] = []
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images[:, 0].tolist())
        return images


def test_queries_are_normalised_in_groups_and_keys_in_shuffled_groups() -> None:
    groups = []
    for step in (0, 0, 1):
        method = _mocov2(step, groups=4, batch=8)
        method.backbone, method.momentum_backbone = _Recorder(), _Recorder()
        numbers = torch.arange(8.0)[:, None] + torch.zeros(8, 4)
        numbers[:, 1:] = torch.randn(8, 3)
        method.loss([numbers, numbers])
        assert method.backbone.seen == [[0, 1], [2, 3], [4, 5], [6, 7]]
        seen = method.momentum_backbone.seen
        assert [len(group) for group in seen] == [2, 2, 2, 2]
        assert sorted(image for group in seen for image in group) == list(range(8))
        assert seen != method.backbone.seen
        groups.append(seen)
    assert groups[0] == groups[1]  # as a resumed run must
    assert groups[0] != groups[2]


def test_the_learning_rate_of_mocov2_changes_with_the_epoch_along_a_cosine() -> None:
    config = _config(
        "mocov2",
        method_kwargs={"bn_groups": 1},
        momentum=_FIXED,
        optimizer={"lr": 0.03, "batch_size": 256},
        scheduler={"warmup_epochs": 0, "interval": "epoch"},
    )
    trainer, _, spy = _trained(config)
    expected = [0.03 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4) for _ in range(5)]
    assert spy.rates == pytest.approx(expected)
    assert trainer.optimizers[0].param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("recipe", ["mocov2_imagenet", "mocov2_imagenet_x3"])
def test_the_recipes_have_the_papers_numbers(recipe: str) -> None:
    cfg = compose_command("pretrain", [f"+recipe={recipe}"])
    wide = recipe.endswith("x3")
    kwargs = cfg.method_kwargs
    assert (kwargs.proj_output_dim, kwargs.queue_size, kwargs.temperature) == (384 if wide else 128, 65536, 0.2)
    assert (cfg.method, cfg.momentum.base_tau, cfg.momentum.final_tau) == ("mocov2", 0.999, 0.999)
    optimizer = cfg.optimizer
    assert (optimizer.name, optimizer.batch_size, optimizer.lr, optimizer.weight_decay) == ("sgd", 256, 0.03, 1e-4)
    assert (cfg.max_epochs, cfg.scheduler.warmup_epochs, cfg.scheduler.interval) == (200, 0, "epoch")
    with torch.device("meta"):
        network = Architecture(cfg.backbone.name, plain(cfg.backbone.kwargs)).build()
    assert network.inplanes == kwargs.proj_hidden_dim == (6144 if wide else 2048)
    assert cfg.augmentations[0].crop_size == 224


# SimCLR


def test_the_loss_of_simclr_is_nt_xent_in_numpy() -> None:
    method: Any = _linear("simclr")
    views = np.concatenate([crop.double().numpy() for crop in _crops(3)])
    features = _unit(views @ _numpy(method.backbone) @ _numpy(method.projector))
    losses = []
    for index, feature in enumerate(features):
        positive = (index + 3) % 6
        others = [positive, *(other for other in range(6) if other not in (index, positive))]
        losses.append(_cross_entropy_of_first((features[others] @ feature)[None] / _TEMPERATURE))
    assert float(method.loss(_crops(3)).detach()) == pytest.approx(np.mean(losses), rel=1e-5)


# In a run of twenty steps


class _Spy(Callback):
    """Notes the learning rate of each step, and the weights before and after it."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.weights: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.weights.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def _trained(config: DictConfig) -> tuple[Trainer, Any, _Spy]:
    """Train a backbone of few weights for four epochs of five steps."""
    torch.manual_seed(0)
    method: Any = build_method(config)
    for name in ("backbone", "momentum_backbone"):
        setattr(method, name, nn.Linear(4, method.num_features, bias=False))
    method.momentum_backbone.requires_grad_(False)
    batches = [(index, list(torch.randn(2, 4)), 0) for index in range(15)]
    spy = _Spy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        trainer = Trainer(
            max_epochs=4,
            accelerator="cpu",
            logger=False,
            callbacks=[spy],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(method, DataLoader(batches, batch_size=3))
    return trainer, method, spy


def test_the_learning_rate_scales_with_the_batch_warms_up_and_falls_along_a_cosine() -> None:
    config = _config(
        optimizer={"lr": 0.4, "batch_size": 64, "weight_decay": 3e-4},
        scheduler={"warmup_epochs": 1, "warmup_start_lr": 0.01, "min_lr": 0.02},
    )
    trainer, _, spy = _trained(config)
    rate = 0.4 * 64 / 256
    rising = [0.01 + (rate - 0.01) * step / 5 for step in range(5)]
    falling = [0.02 + (rate - 0.02) * (1 + math.cos(math.pi * (step - 5) / 15)) / 2 for step in range(5, 20)]
    assert spy.rates == pytest.approx(rising + falling)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["weight_decay"], group["momentum"]) == (3e-4, 0.9)


@pytest.mark.parametrize("batch_size", [64, 512])
def test_without_a_schedule_the_learning_rate_stays_that_of_the_batch(batch_size: int) -> None:
    config = _config(
        "simclr",
        optimizer={
            "name": "adamw",
            "lr": 0.01,
            "batch_size": batch_size,
            "weight_decay": 0.1,
            "kwargs": {"betas": [0.8, 0.9]},
        },
        scheduler={"name": "none"},
    )
    optimizer = build_method(config).configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert group["lr"] == pytest.approx(0.01 * batch_size / 256)
    assert (group["weight_decay"], list(group["betas"])) == (0.1, [0.8, 0.9])


def test_only_the_backbone_and_its_projector_are_optimised() -> None:
    trainer, method, _ = _trained(_config())
    optimised = {id(parameter) for group in trainer.optimizers[0].param_groups for parameter in group["params"]}
    assert optimised == {
        id(parameter) for name, _ in _MOMENTUM_PARTS for parameter in getattr(method, name).parameters()
    }


def test_in_a_run_the_momentum_encoder_follows_step_by_step() -> None:
    _, method, spy = _trained(_config(momentum={"base_tau": 0.5, "final_tau": 0.9}))
    ends = [*spy.weights[1:], {name: value.clone() for name, value in method.state_dict().items()}]
    for step, (before, after) in enumerate(zip(spy.weights, ends, strict=True)):
        tau = 0.9 - 0.4 * (1 + math.cos(math.pi * step / 19)) / 2
        for new, old in _MOMENTUM_PARTS:
            for name in (name for name in before if name.startswith(f"{old}.")):
                expected = tau * before[name] + (1 - tau) * before[name.replace(old, new)]
                torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=1e-7)
        moved = [name for name in before if name.startswith("backbone.") and not torch.equal(before[name], after[name])]
        assert moved
