"""timm's networks, ``timm:NAME``."""

import sys
from collections.abc import Mapping
from typing import Any

import timm
import timm.data
from torch import Tensor, nn

from solo_invariance.backbones.input_spec import InputSpec, known_interpolation
from solo_invariance.backbones.sources.positions import size_in_file
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.errors import UserError


class Networks(Source):
    """What holds of the networks that timm builds, whoever asks it to."""

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return timm's input: by the model's name, with its tag, and of the size that it is built for.

        What timm's evaluation cuts off around the crop is left out: transforms need what lies there.
        """
        if not hasattr(network, "pretrained_cfg"):
            return InputSpec()
        config = timm.data.resolve_data_config(model=network)
        fixed = self.size_argument(kwargs, network)
        return InputSpec(
            config["input_size"][-1] if fixed is None else fixed[1],
            tuple(config["mean"]),
            tuple(config["std"]),
            known_interpolation(config["interpolation"]),
        )

    def as_in_file(
        self,
        name: str,
        kwargs: Mapping[str, Any],
        network: nn.Module,
        shapes: Mapping[str, tuple[int, ...]],
        sha256: str,
    ) -> dict[str, Any]:
        """Return them with the size of images that the file's positions are for."""
        fixed = self.size_argument(kwargs, network)
        if fixed is None:
            return dict(kwargs)
        argument, size = fixed
        own = {name: tuple(value.shape) for name, value in network.named_parameters()}
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
        in_file = size_in_file(size, patch if isinstance(patch, int | None) else patch[0], own, shapes)
        return {**kwargs, **({argument: in_file} if in_file != size else {})}

    def size_argument(self, kwargs: Mapping[str, Any], network: nn.Module) -> tuple[str, int] | None:
        """Return timm's argument, of a network that takes images of one size."""
        if getattr(network, "dynamic_img_size", False):
            return None
        config = getattr(network, "pretrained_cfg", {})
        built_for = getattr(getattr(network, "patch_embed", None), "img_size", None)
        if not config.get("fixed_input_size") and (built_for is None or config):
            return None
        size = kwargs.get("img_size") or built_for or config["input_size"]
        return "img_size", int(size if isinstance(size, int) else size[-1])

    def interpolated(self, network: nn.Module, other: nn.Module) -> Mapping[str, Tensor]:
        """Return them as timm itself fits a model's weights to another size."""
        state = network.state_dict()
        for kind in type(network).__mro__:
            if kind.__module__.startswith("timm."):
                convert = getattr(sys.modules[kind.__module__], "checkpoint_filter_fn", None)
                return state if convert is None else convert(state, other)
        return state


class Timm(Networks):
    """The networks that ``timm.create_model`` builds."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return timm's builder of a name, which may have a tag of weights, ``resnet18.a1_in1k``.

        Raises:
            UserError: timm has no such model; or, of the builder, it is asked for other than three channels.
        """
        if not timm.is_model(name.split(".")[0]):
            raise UserError(f"backbone 'timm:{name}': timm has no such model; timm.list_models() lists them")

        def build(**kwargs: Any) -> nn.Module:
            if (channels := kwargs.get("in_chans", 3)) != 3:
                raise UserError(f"backbone.kwargs.in_chans={channels}: images have three channels, red, green and blue")
            return timm.create_model(name, **{"num_classes": 0, **kwargs})

        return build

    def weights(self, pretrained: bool) -> dict[str, Any]:
        """Return timm's own argument."""
        return {"pretrained": pretrained}
