"""A second loss inside an unmodified module: features are kept sensitive to operations of its families."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from solo_invariance.backbones.architecture import num_features_of
from solo_invariance.errors import UserError, reason_of
from solo_invariance.families import CropPipeline, SensitivityLoss
from solo_invariance.families.operations.operation import Parameters
from solo_invariance.hosts.lightning.flat_features import FlatFeatures
from solo_invariance.hosts.sensitive import Sensitive, sensitivity_loss

HEAD = "invariance_head"
"""The name of the loss's networks in the module, and in checkpoints beside its weights."""

_WHERE = "invariance.sensitive: "
_REPLACED = ("training_step", "configure_optimizers")


class Head(nn.Module):
    """The loss's networks as a part of the module that trains them, of which its ``state_dict`` says nothing.

    The module's weights so are those of a run without it, and are read by whoever reads those.

    Args:
        loss: The networks.
    """

    def __init__(self, loss: SensitivityLoss) -> None:
        super().__init__()
        self.loss = loss
        self.register_load_state_dict_post_hook(_is_elsewhere)

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return nothing, or what was given."""
        return {} if destination is None else destination


def _is_elsewhere(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [key for key in keys.missing_keys if f"{HEAD}.loss." not in key]


class SensitiveTraining:
    """What makes a module train by the second loss, too, until ``end``.

    Its ``training_step`` and ``configure_optimizers`` are wrapped on the instance. Features are those that the step
    computes of the large crops anyway; of a crop that the step does not give to the backbone, they are computed.

    Args:
        module: Has a ``backbone`` and automatic optimisation.
        sensitive: To what features are kept sensitive.
        pipeline: The run's crops.
        seed: Of the run.

    Raises:
        UserError: The module is no such one, or the crops do not fit.
    """

    def __init__(self, module: LightningModule, sensitive: Sensitive, pipeline: CropPipeline, seed: int) -> None:
        backbone = getattr(module, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise UserError(f"{_WHERE}{type(module).__name__} has no backbone")
        if not module.automatic_optimization:
            raise UserError(f"{_WHERE}{type(module).__name__} takes its optimiser's steps by itself")
        self._module = module
        self._weight = sensitive.weight
        self._backbone = FlatFeatures(backbone, None, _WHERE)
        self._large = len(pipeline.large)
        there = getattr(module, HEAD, None)  # where the module is fitted again
        if not isinstance(there, Head) or [*there.loss.networks] != [*sensitive.operations]:
            width = num_features_of(self._backbone, pipeline.entries[0].crop_size, "the module's")
            module.add_module(HEAD, Head(sensitivity_loss(sensitive, pipeline, width, seed)))
        self._before = {name: vars(module)[name] for name in _REPLACED if name in vars(module)}
        self._step, self._optimisers = module.training_step, module.configure_optimizers
        for name in _REPLACED:
            vars(module)[name] = _standing_for(getattr(module, name), getattr(self, name))

    @property
    def head(self) -> Head:
        """The loss's networks."""
        head = getattr(self._module, HEAD)
        assert isinstance(head, Head)
        return head

    def end(self) -> None:
        """Give the module its own methods back; its head stays."""
        for name in _REPLACED:
            vars(self._module).pop(name, None)
        vars(self._module).update(self._before)

    def training_step(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the module's own step does, with the weighted loss added."""
        seen: list[tuple[Tensor, Any]] = []

        def see(backbone: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            if arguments:
                seen.append((arguments[0], output))

        handle = self._backbone.network.register_forward_hook(see)
        try:
            result = self._step(batch, *args, **kwargs)
        finally:
            handle.remove()
        if result is None:
            return None
        crops: Sequence[Tensor] = batch[1][: self._large]
        features = [self._features(crop, seen) for crop in crops]
        drawn: Sequence[Mapping[str, Parameters]] = vars(self._module)["invariance_parameters"][: self._large]
        losses = self.head.loss(features, drawn)
        logged = {f"invariance/sensitive/{name}": loss.detach() for name, loss in losses.items()}
        self._module.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True)
        added = self._weight * torch.stack([*losses.values()]).sum()
        if isinstance(result, Mapping):
            return {**result, "loss": result["loss"] + added}
        return result + added

    def configure_optimizers(self) -> Any:
        """Return the module's own optimisers, the backbone's of which trains the head, too.

        Its parameters go to groups that are there already: schedulers, which know the number of groups, stay as they
        are.

        Raises:
            UserError: None trains the backbone.
        """
        configured = self._optimisers()
        known = {id(one): one.ndim > 1 for one in self._backbone.network.parameters()}
        groups = [group for optimiser in _optimisers_in(configured) for group in optimiser.param_groups]
        there = {id(one) for group in groups for one in group["params"]}
        homes: dict[bool, dict[str, Any]] = {}
        for group in groups:
            for one in group["params"]:
                if id(one) in known:
                    homes.setdefault(known[id(one)], group)  # biases may have another weight decay
        if not homes:
            raise UserError(f"{_WHERE}no optimiser trains the backbone")
        for parameter in self.head.parameters():
            if id(parameter) not in there:
                homes.get(parameter.ndim > 1, next(iter(homes.values())))["params"].append(parameter)
        return configured

    def _features(self, crop: Tensor, seen: Sequence[tuple[Tensor, Any]]) -> Tensor:
        for images, output in seen:
            if isinstance(images, Tensor) and images.shape == crop.shape and images.data_ptr() == crop.data_ptr():
                return self._backbone.as_features(output)
        features: Tensor = self._backbone(crop)
        return features


def _standing_for(method: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Return another method with the name and the arguments of one, by which Lightning knows what it is."""

    @functools.wraps(method)
    def standing(*args: Any, **kwargs: Any) -> Any:
        return other(*args, **kwargs)

    return standing


def write_head(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Write the head's weights beside a module's; nothing where it was trained in other processes and is not there."""
    head = getattr(module, HEAD, None)
    if isinstance(head, Head):
        checkpoint[HEAD] = head.loss.state_dict()


def read_head(module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Take the head's weights back.

    Raises:
        UserError: They are not there, or are of other features.
    """
    try:
        getattr(module, HEAD).loss.load_state_dict(checkpoint.get(HEAD, {}))
    except RuntimeError as error:
        raise UserError(f"{_WHERE}the checkpoint has no {HEAD} that fits: {reason_of(error)}") from error


def _optimisers_in(configured: Any) -> Iterator[torch.optim.Optimizer]:
    if isinstance(configured, torch.optim.Optimizer):
        yield configured
    elif isinstance(configured, Mapping):
        yield from _optimisers_in(configured.get("optimizer"))
    elif isinstance(configured, Sequence) and not isinstance(configured, str):
        for one in configured:
            yield from _optimisers_in(one)
