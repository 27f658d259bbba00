"""timm's networks, ``timm:NAME``; those of a folder, ``timm:local-dir:PATH``, or the hub, ``timm:hf-hub:ORG/NAME``."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import PretrainedCfg
from torch import Tensor, nn

from solo_invariance.backbones.input_spec import InputSpec, known_interpolation
from solo_invariance.backbones.sources.folder import config_in, folder_of, revision_of, sha256_of_weights, weights_in
from solo_invariance.backbones.sources.online import only_what_is_cached, require_reachable, why_unreachable
from solo_invariance.backbones.sources.positions import size_in_file
from solo_invariance.backbones.sources.source import Builder, PublishedWeights, Source
from solo_invariance.config.backbone_names import local_folder
from solo_invariance.errors import UserError

_FILES = ("model.safetensors", "pytorch_model.bin")


class Networks(Source):
    """What holds of the networks that timm builds, whoever asks it to."""

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return timm's input: by the model's name, with its tag, or of a folder's configuration, as it is built for.

        What timm's evaluation cuts off around the crop is left out: transforms need what lies there.
        """
        if not hasattr(network, "pretrained_cfg"):
            return InputSpec()
        own = kwargs.get("pretrained_cfg")
        config = timm.data.resolve_data_config(
            pretrained_cfg=dict(own) if isinstance(own, Mapping) else None, model=network
        )
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
        _require_model(name)

        def build(**kwargs: Any) -> nn.Module:
            if (channels := kwargs.get("in_chans", 3)) != 3:
                raise UserError(f"backbone.kwargs.in_chans={channels}: images have three channels, red, green and blue")
            with _weights_at_hand(name) if kwargs.get("pretrained") else nullcontext():
                return timm.create_model(name, **{"num_classes": 0, **kwargs})

        return build

    def weights(self, name: str, pretrained: bool) -> dict[str, Any]:
        """Return timm's own argument; the weights of a folder are loaded by this package."""
        return {"pretrained": pretrained and _folder_in(name) is None}

    def settled(self, name: str, kwargs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the architecture that a folder's ``config.json`` names, with the arguments that it has for it."""
        model = _folder_in(name)
        if model is None:
            return name, kwargs
        config = config_in(folder_of(model, f"backbone.name=timm:{name}"), f"backbone.name=timm:{name}")
        architecture = config.get("architecture")
        if not isinstance(architecture, str):
            hint = f"; transformers' are named hf:{model}" if "model_type" in config else ""
            raise UserError(f"backbone.name=timm:{name}: its config.json names no architecture of timm's{hint}")
        _require_model(architecture)
        # In older folders, all of it is what newer ones call pretrained_cfg.
        own = _mapping(config.get("pretrained_cfg", config), "pretrained_cfg", name)
        arguments = _mapping(config.get("model_args") or {}, "model_args", name)
        known = {field.name for field in fields(PretrainedCfg)} - {"url", "file", "state_dict", "hf_hub_id", "source"}
        own = {key: value for key, value in own.items() if key in known}
        kept = {key: value for key, value in arguments.items() if key != "num_classes"}
        return architecture, {**kept, "pretrained_cfg": own, **kwargs}

    def published(self, name: str, kwargs: Mapping[str, Any]) -> PublishedWeights | None:
        """Return the file of weights in a folder; None for a name of timm's own, which timm loads weights for."""
        model = _folder_in(name)
        if model is None:
            return None
        folder, path = weights_in(model, f"backbone.name=timm:{name}")
        revision = revision_of(folder)
        remarks = (f"timm:{name}: commit {revision}",) if revision else ()
        return PublishedWeights(path, sha256_of_weights(path), revision, kwargs, remarks=remarks)

    def asks_for(self, name: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return that a folder or a hub would be read."""
        return None if _folder_in(name) is None else f"read {name}"


def _require_model(name: str) -> None:
    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"backbone 'timm:{name}': timm has no such model; timm.list_models() lists them")


def _folder_in(name: str) -> str | None:
    """Return the path or the hub's name in a name that is none of timm's own."""
    scheme, colon, model = name.partition(":")
    if not colon:
        return None
    if scheme not in ("hf-hub", "hf_hub", "local-dir") or not model:
        raise UserError(f"backbone 'timm:{name}': expected timm:NAME, timm:hf-hub:ORG/NAME or timm:local-dir:PATH")
    return model if scheme != "local-dir" else local_folder(model)


def _mapping(value: Any, what: str, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"backbone.name=timm:{name}: {what} in its config.json is {value!r}, expected a mapping")
    return dict(value)


@contextmanager
def _weights_at_hand(name: str) -> Iterator[None]:
    """Let timm fetch a model's weights, or take them from where it keeps them, without waiting for who is not there.

    Raises:
        UserError: They are not kept here, and who has them cannot be reached.
    """
    own = timm.models.get_pretrained_cfg(name)
    model, url = getattr(own, "hf_hub_id", None), getattr(own, "url", None)
    if not model:
        kept = url and (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()
        if url and not kept:
            require_reachable(url, f"backbone timm:{name}: its weights")
        yield
        return
    if constants.HF_HUB_OFFLINE or why_unreachable(constants.ENDPOINT) is None:
        yield
        return
    files = (file,) if (file := getattr(own, "hf_hub_filename", None)) else _FILES
    if not any(isinstance(try_to_load_from_cache(model, one), str) for one in files):
        require_reachable(constants.ENDPOINT, f"backbone timm:{name}: its weights are not in the cache, and")
    with only_what_is_cached():
        yield
