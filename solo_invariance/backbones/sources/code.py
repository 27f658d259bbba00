"""Networks that somebody's code builds: a function, what it is given, and what of it is kept."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solo_invariance.backbones.copies import copy_of
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.backbones.sources.torchvision import without_classifier
from solo_invariance.config.backbone import INPUT_CHECKS
from solo_invariance.errors import UserError, reason_of

_INPUT, _TAKEN_OFF = "solo_invariance_input", "solo_invariance_classifier"
_CLASSIFIERS = ("fc", "classifier", "head", "heads")


class DescribedNetwork(NamedTuple):
    """What a plugin of the group ``solo_invariance.backbones`` returns: a network, and the input it is trained on.

    Args:
        network: Maps normalised images (N, 3, S, S) to features (N, D).
        input: S, and by which mean and standard deviation images are normalised.
    """

    network: nn.Module
    input: InputSpec


class CodeSource(Source):
    """A source whose names stand for functions. One that takes ``pretrained`` is told whether weights are wanted."""

    runs_code = True

    def function(self, name: str) -> Callable[..., Any]:
        """Return the function of a name.

        Raises:
            UserError: There is none of that name.
        """
        raise NotImplementedError

    def called(self, name: str) -> str:
        """Return what messages call a name."""
        raise NotImplementedError

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return what calls the function, and takes the network out of what it returns."""

        def build(**kwargs: Any) -> nn.Module:
            return self.network_of(self.function(name), kwargs, self.called(name))

        return build

    def network_of(self, function: Callable[..., Any], kwargs: Mapping[str, Any], called: str) -> nn.Module:
        """Return the network that a function builds, which keeps the input that it came with.

        Raises:
            UserError: The function returns something else.
        """
        made = copy_of(function) if isinstance(function, nn.Module) else made_by(function, kwargs, called)
        network, spec = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(network, nn.Module):
            raise UserError(
                f"{called} returned {_kind(made)}, expected a torch.nn.Module, or one with a description of its input"
            )
        if spec is not None:
            setattr(network, _INPUT, _as_spec(spec, called))
        return _without_classifier(network)

    def weights(self, name: str, pretrained: bool) -> dict[str, Any]:
        """Return ``pretrained`` where the function takes it."""
        return {"pretrained": pretrained} if "pretrained" in _parameters(self.function(name)) else {}

    def remarks_on(self, name: str, network: nn.Module) -> tuple[str, ...]:
        """Return that a classifier was taken off, where one was."""
        package = getattr(network, _TAKEN_OFF, None)
        called = self.called(name)
        return (f"{called}: its classifier, as {package} has it, is taken off",) if isinstance(package, str) else ()

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return the input that the function returned with the network; ImageNet's usual one where it did not."""
        spec = getattr(network, _INPUT, None)
        return spec if isinstance(spec, InputSpec) else InputSpec()

    def untrained(self, build: Callable[[], nn.Module]) -> nn.Module:
        """Return a fresh network: as the function draws it, or with all layers drawn again where it loads weights.

        That it loads weights is seen by building twice: what is drawn differs.

        Raises:
            UserError: It loads weights into layers that have no ``reset_parameters``.
        """
        network, other = build(), build()
        if not _loaded(network, other):
            return network
        for one in (network, other):
            for module in one.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
        if kept := _loaded(network, other):
            raise UserError(
                f"its weights cannot be drawn again ({kept[0]} has no layer with reset_parameters); let the function "
                f"take pretrained, and leave them as they are drawn where it is false"
            )
        return network


def _without_classifier(network: nn.Module) -> nn.Module:
    """Return a network of torchvision's or timm's own without its classifier; any other one is as its code wants it."""
    package = type(network).__module__.partition(".models.")[0]
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if package == "torchvision" and layers and layers[-1].partition(".")[0] in _CLASSIFIERS:
        network = without_classifier(network, hidden=True)
    elif package == "timm" and getattr(network, "num_classes", None):
        network.reset_classifier(0)  # type: ignore[operator]
    else:
        return network
    setattr(network, _TAKEN_OFF, package)
    return network


def made_by(function: Callable[..., Any], kwargs: Mapping[str, Any], called: str) -> Any:
    """Return what a function returns.

    Args:
        function: Somebody's.
        kwargs: That it is called with.
        called: What messages call it.

    Raises:
        UserError: It raised whatever it did.
    """
    try:
        return function(**kwargs)
    except UserError:
        raise
    except Exception as error:  # somebody's code can raise anything
        given = f" with {dict(kwargs)}" if kwargs else ""
        raise UserError(f"{called}{given} raised {type(error).__name__}: {reason_of(error)}") from error


def _loaded(network: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of weights that are the same in two networks, but are no constants as layers begin with."""
    others = other.state_dict()
    return [
        name
        for name, value in network.state_dict().items()
        if value.is_floating_point() and _varies(value) and torch.equal(value, others[name])
    ]


def _varies(value: Tensor) -> bool:
    return value.numel() > 1 and bool((value != value.flatten()[0]).any())


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return {} if isinstance(function, nn.Module) else inspect.signature(function).parameters
    except (TypeError, ValueError):  # of what is built in
        return {}


def _as_spec(spec: Any, called: str) -> InputSpec:
    if isinstance(spec, InputSpec):
        return spec
    if not isinstance(spec, Mapping) or (unknown := set(spec) - set(INPUT_CHECKS)):
        found = f"{sorted(map(str, unknown))[0]!r} in it" if isinstance(spec, Mapping) else _kind(spec)
        raise UserError(
            f"{called} returned {found} as its input, expected an InputSpec or a mapping with {', '.join(INPUT_CHECKS)}"
        )
    try:
        return InputSpec.from_mapping(spec)
    except ValueError as error:
        raise UserError(f"{called} returned an input whose {reason_of(error)}") from error


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
