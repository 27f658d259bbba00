"""Vision models of Hugging Face's transformers, ``hf:ORG/NAME`` of the hub or ``hf:PATH`` of a folder.

A folder has ``config.json``, ``preprocessor_config.json`` and weights. Code that lies in it is never run.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from solo_invariance.backbones.files.checkpoint import listed
from solo_invariance.backbones.input_spec import InputSpec, known_interpolation
from solo_invariance.backbones.sources.folder import (
    config_in,
    folder_of,
    revision_of,
    sha256_of_weights,
    weights_in,
)
from solo_invariance.backbones.sources.source import Builder, PublishedWeights, Source
from solo_invariance.config.backbone_names import is_local, require_transformers
from solo_invariance.errors import UserError, reason_of

_RESAMPLING = {Image.Resampling.NEAREST: "nearest", Image.Resampling.BILINEAR: "bilinear"}
# How to compute, what to call classes, and what would fetch or run something: no part of what a network is.
_NO_PART = {
    "_attn_implementation",
    "attn_implementation",
    "experts_implementation",
    "auto_map",
    "quantization_config",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
    "transformers_version",
    "_name_or_path",
    "_commit_hash",
}
_OF_ANOTHER_NETWORK = ("backbone", "backbone_config", "use_pretrained_backbone", "use_timm_backbone")
# What a processor may do that a backbone does, too.
_PROCESSED = (
    "crop_size",
    "do_center_crop",
    "do_flip_channel_order",
    "do_normalize",
    "do_rescale",
    "do_resize",
    "image_mean",
    "image_std",
    "include_top",
    "resample",
    "rescale_factor",
    "rescale_offset",
    "size",
)
# Parts of a model that are no part of the network of its images.
_HEADS = {
    "classifier",
    "cls_classifier",
    "decoder",
    "distillation_classifier",
    "head",
    "lm_head",
    "logit_bias",
    "logit_scale",
    "mlm_head",
    "text_embed_dim",
    "text_model",
    "text_projection",
    "visual_projection",
}
_CLASS_TOKENS = ("cls_token", "class_embedding")
_FURTHER_TOKENS = ("distillation_token", "register_tokens")


class Transformers(Source):
    """The networks that ``transformers.AutoModel`` builds of images; of CLIP's and its like, the vision towers."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return what builds the network of a configuration, which ``kwargs`` has as ``config``.

        Raises:
            UserError: transformers is not installed.
        """
        _library()

        def build(
            config: Mapping[str, Any] | None = None,
            processor: Mapping[str, Any] | None = None,
            pooler: bool = True,
            **changes: Any,
        ) -> nn.Module:
            if config is None:
                _, settled = self.settled(name, {})
                config, processor = settled["config"], settled["processor"]
            with _quiet():
                parsed = _parsed({**config, **changes}, name)
                network = _network_class(parsed, name)(parsed)
            _prepare(network, processor, pooler)
            return network

        return build

    def settled(self, name: str, kwargs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the arguments with the folder's configuration, and what its image processor does."""
        if "config" in kwargs:
            return name, kwargs
        _library()
        folder = folder_of(name, f"backbone.name=hf:{name}")
        changes = {key: value for key, value in kwargs.items() if key not in ("processor", "pooler")}
        config = _without_no_part({**config_in(folder, f"backbone.name=hf:{name}"), **changes})
        with _quiet():
            tower = _parsed(config, name)
            _network_class(tower, name)
            processor = _processor_in(folder)
        pooler = kwargs.get("pooler", True)
        return name, {"config": config, "processor": processor, "pooler": pooler}

    def published(self, name: str, kwargs: Mapping[str, Any]) -> PublishedWeights | None:
        """Return a folder's weights, by the names that transformers gives them today.

        Raises:
            UserError: Some of the network's are missing or of another shape, or some are left over that are of no head.
        """
        folder, path = weights_in(name, f"backbone.name=hf:{name}")
        parsed = _parsed(kwargs["config"], name)
        safetensors = ".safetensors" in path.name
        try:
            with _quiet():
                network, report = _network_class(parsed, name).from_pretrained(
                    folder, config=parsed, output_loading_info=True, use_safetensors=safetensors, weights_only=True
                )
        except Exception as error:  # a stranger's bytes can make it raise anything
            raise UserError(
                f"hf:{name}: {path} does not hold the weights of {kwargs['config']['model_type']} ({reason_of(error)})"
            ) from error
        missing = sorted(map(str, report["missing_keys"]))
        if missing == sorted(key for key in network.state_dict() if key.startswith("pooler.")):
            missing, unpublished = [], missing
        else:
            unpublished = []
        left_over = sorted(key for key in map(str, report["unexpected_keys"]) if not _is_head(key))
        mismatched = sorted(str(key[0]) if isinstance(key, tuple) else str(key) for key in report["mismatched_keys"])
        problems = [
            listed("missing", missing),
            listed("left over", left_over),
            listed("of another shape", mismatched),
        ]
        if any(problems):
            raise UserError(
                f"backbone.name=hf:{name}: {path} does not fit the network: {'; '.join(filter(None, problems))}"
            )
        pooler = bool(kwargs.get("pooler", True)) and not unpublished
        _prepare(network, kwargs.get("processor"), pooler)
        revision = revision_of(folder)
        remarks = [f"hf:{name}: commit {revision}"] if revision else []
        if unpublished:
            remarks.append(f"hf:{name}: its pooler was not published")
        if kwargs.get("processor") is None:
            remarks.append(
                f"hf:{name}: no preprocessor_config.json says how its images are normalised: ImageNet's mean and std "
                f"are taken; backbone.mean and backbone.std say otherwise"
            )
        return PublishedWeights(
            path,
            sha256_of_weights(path),
            revision,
            {**kwargs, "pooler": pooler},
            network.state_dict(),
            tuple(remarks),
        )

    def asks_for(self, name: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return that a folder or a hub would be read, where there is no configuration among the arguments."""
        return None if "config" in kwargs else f"read {'a folder' if is_local(name) else 'from a hub'}"

    def remarks_on(self, name: str, network: nn.Module) -> tuple[str, ...]:
        """Return which of its outputs a network gives as features."""
        given, by = getattr(network, "features_are", "features"), f"transformers {_library().__version__}"
        return (f"hf:{name}: gives {given} ({by}), where backbone.pool and backbone.layer choose nothing else",)

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return the input that the image processor gives the network.

        What it cuts off around a crop is left out: transforms need what lies there.
        """
        if "config" not in kwargs:
            kwargs = self.settled(name, kwargs)[1]
        return _input_of(kwargs.get("processor"), _parsed(kwargs["config"], name).to_dict(), name)


class _Features:
    """What is added to a class of transformers': it maps images to features, and tells its tokens."""

    flips_channels = False
    features_are = ""

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, S, S)."""
        outputs = self._outputs(images)
        pooled = outputs.get("pooler_output")
        if pooled is not None:
            return pooled.flatten(1)
        last: Tensor = outputs["last_hidden_state"]
        if last.ndim == 4:
            return last.mean((2, 3))
        if self.has_class_token and not getattr(self.config, "use_mean_pooling", False):  # type: ignore[attr-defined]
            return last[:, 0]
        return last[:, self.num_prefix_tokens :].mean(1)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last tokens (N, T, C) of images, or the last maps (N, C, H, W)."""
        last: Tensor = self._outputs(images)["last_hidden_state"]
        return last

    @property
    def has_class_token(self) -> bool:
        """Whether the first token stands for the image."""
        return self._count(_CLASS_TOKENS) > 0

    @property
    def num_prefix_tokens(self) -> int:
        """How many tokens stand before those of the patches."""
        return self._count(_CLASS_TOKENS + _FURTHER_TOKENS)

    def _count(self, names: tuple[str, ...]) -> int:
        parameters = self.named_parameters()  # type: ignore[attr-defined]
        tokens = (value for name, value in parameters if name.startswith("embeddings.") and name.endswith(names))
        return sum(1 if value.ndim < 3 else value.shape[1] for value in tokens)

    def _outputs(self, images: Tensor) -> Any:
        taken = inspect.signature(super().forward).parameters  # type: ignore[misc]
        more: dict[str, Any] = {}
        side = getattr(self.config, "image_size", None)  # type: ignore[attr-defined]
        if "interpolate_pos_encoding" in taken and side is not None and _pair(side) != tuple(images.shape[-2:]):
            more["interpolate_pos_encoding"] = True
        if "noise" in taken:  # by which MAE draws what it masks: nothing is masked, and nothing is shuffled
            patch = _pair(self.config.patch_size)  # type: ignore[attr-defined]
            count = (images.shape[-2] // patch[0]) * (images.shape[-1] // patch[1])
            more["noise"] = torch.arange(count, device=images.device).expand(len(images), -1).float()
        images = images.flip(1) if self.flips_channels else images
        return super().forward(images, **more)  # type: ignore[misc]


def _prepare(network: Any, processor: Mapping[str, Any] | None, pooler: bool) -> None:
    """Make a network of transformers' one of features, and find out which these are."""
    # Only now: transformers knows by its own class what published names are today's.
    base: type[nn.Module] = type(network)
    network.__class__ = _features_class(base)  # type: ignore[arg-type]
    network.eval().float()
    network.flips_channels = bool((processor or {}).get("do_flip_channel_order"))
    if not pooler and isinstance(getattr(network, "pooler", None), nn.Module):
        network.pooler = None  # its weights are none that were trained
    side = _input_of(processor, network.config.to_dict(), "").crop_size
    with torch.no_grad():
        outputs = network._outputs(torch.zeros(1, 3, side, side))
    if outputs.get("pooler_output") is not None:
        network.features_are = "its pooled output"
    elif outputs["last_hidden_state"].ndim == 4:
        network.features_are = "the mean of its last maps"
    elif network.has_class_token and not getattr(network.config, "use_mean_pooling", False):
        network.features_are = "its class token"
    else:
        network.features_are = "the mean of its patches' tokens"


def _library() -> Any:
    require_transformers()
    return import_module("transformers")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what transformers would print: what matters of it is said as an error."""
    logging = import_module("transformers.utils.logging")
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _parsed(config: Mapping[str, Any], name: str) -> Any:
    """Return the configuration of the network of images, as an object of transformers'.

    Raises:
        UserError: transformers has no such network, or it is not one of images alone.
    """
    transformers = _library()
    plain = _without_no_part(config)
    kind = plain.pop("model_type", None)
    if kind is None and "architecture" in plain:
        raise UserError(
            f"backbone.name=hf:{name}: its config.json is timm's; write backbone.name=timm:"
            f"{'local-dir' if is_local(name) else 'hf-hub'}:{name}"
        )
    known = transformers.CONFIG_MAPPING
    if not isinstance(kind, str) or kind not in known:
        raise UserError(
            f"backbone.name=hf:{name}: its config.json says model_type {kind!r}, which transformers "
            f"{transformers.__version__} does not have; code that comes with a model is not run"
        )
    if kind.startswith("timm_") or any(plain.get(key) for key in _OF_ANOTHER_NETWORK):
        raise UserError(f"backbone.name=hf:{name}: a {kind} is built around another network; name that one")
    try:
        parsed = known[kind](**plain)
        tower = getattr(parsed, "vision_config", parsed)
        if hasattr(tower, "mask_ratio"):
            tower.mask_ratio = 0.0
    except Exception as error:  # a stranger's values can make it raise anything
        raise UserError(
            f"backbone.name=hf:{name}: its config.json is none of a {kind}'s ({reason_of(error)})"
        ) from error
    return tower


@lru_cache(maxsize=64)
def _features_class(base: type[nn.Module]) -> Any:
    return type(base.__name__, (_Features, base), {"__module__": __name__})


def _network_class(parsed: Any, name: str) -> Any:
    transformers = _library()
    try:
        found = transformers.AutoModel._model_mapping[type(parsed)]
    except KeyError as error:
        raise UserError(
            f"backbone.name=hf:{name}: transformers has no network of a {parsed.model_type} alone"
        ) from error
    base = found[0] if isinstance(found, tuple) else found
    if base.main_input_name != "pixel_values" or getattr(parsed, "num_channels", 3) != 3:
        raise UserError(f"backbone.name=hf:{name}: a {parsed.model_type} is no network of colour images")
    return base


def _is_head(name: str) -> bool:
    return name.partition(".")[0] in _HEADS or name.rpartition(".")[2] in ("position_ids", "num_batches_tracked")


def _without_no_part(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_no_part(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in _NO_PART
    }


def _processor_in(folder: Path) -> dict[str, Any] | None:
    """Return what a folder's image processor does, its class's own defaults included; None where there is none."""
    if not any((folder / file).is_file() for file in ("preprocessor_config.json", "processor_config.json")):
        return None
    try:
        processor = _library().AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # whatever transformers finds wrong with it
        raise UserError(
            f"{folder / 'preprocessor_config.json'}: is none of an image processor ({reason_of(error)})"
        ) from error
    # As JSON has it: numbers, texts and lists, as fused checkpoints keep them.
    values = json.loads(json.dumps(processor.to_dict(), default=vars))
    return {key: values[key] for key in _PROCESSED if values.get(key) is not None}


def _input_of(processor: Mapping[str, Any] | None, config: Mapping[str, Any], name: str) -> InputSpec:
    """Return the input that a processor gives a network: it resizes, rescales to other units, then normalises."""
    side = _pair(config.get("image_size") or InputSpec.crop_size)[0]
    if processor is None:
        return InputSpec(side)
    if processor.get("do_center_crop") and processor.get("crop_size"):
        side = _side(processor["crop_size"], name)
    elif processor.get("do_resize") and processor.get("size"):
        side = _side(processor["size"], name)
    # Of a pixel p in [0, 1] it makes (255 p f - offset - mean) / std.
    factor = 255 * processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale") else 255.0
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    mean, std = [0.0] * 3, [1.0] * 3
    if processor.get("do_normalize") and processor.get("image_mean") is not None:
        mean, std = _three(processor["image_mean"]), _three(processor["image_std"])
        if processor.get("include_top"):  # EfficientNet's divides once more
            mean, std = mean, [one * one for one in std]
    if processor.get("do_flip_channel_order"):
        mean, std = mean[::-1], std[::-1]
    return InputSpec(
        side,
        tuple((one + offset) / factor for one in mean),
        tuple(one / factor for one in std),
        _RESAMPLING.get(processor.get("resample", Image.Resampling.BILINEAR), known_interpolation("bicubic")),
    )


def _side(size: Any, name: str) -> int:
    if isinstance(size, Mapping):
        sides = [size[key] for key in ("height", "width", "shortest_edge") if size.get(key)]
    else:
        sides = list(_pair(size))
    if not sides or len({*sides}) > 1:
        raise UserError(f"backbone.name=hf:{name}: its images are no squares ({size}); set backbone.crop_size")
    return int(sides[0])


def _pair(size: Any) -> tuple[int, int]:
    return (int(size), int(size)) if isinstance(size, int | float) else (int(size[0]), int(size[1]))


def _three(values: Any) -> list[float]:
    return [float(values)] * 3 if isinstance(values, int | float) else [float(one) for one in values]
