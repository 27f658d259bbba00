"""Any checkpoint or model name, made a backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm.data
from torch import nn

from solo_invariance.backbones.architecture import OWN_BUILDERS, Architecture
from solo_invariance.backbones.backbone import Backbone, InputSpec, Provenance
from solo_invariance.backbones.checkpoint import (
    FUSION_KEY,
    backbone_state,
    load_weights,
    read_args,
    read_checkpoint,
    sha256_of,
)
from solo_invariance.backbones.fused import as_backbone
from solo_invariance.backbones.fused_checkpoint import fused_from_content
from solo_invariance.backbones.layers import LayerFeatures
from solo_invariance.backbones.mean_embedding import mean_embedding
from solo_invariance.backbones.moco import moco_architecture, moco_weights
from solo_invariance.backbones.seeded_init import seeded
from solo_invariance.config.backbone import BackboneConfig, ViewsConfig
from solo_invariance.errors import UserError
from solo_invariance.known_datasets import known_dataset

MODELS = ("timm:", "torchvision:", "random:")
"""How the names of models begin that need no checkpoint."""


def load_backbone(
    source: BackboneConfig | Path | str,
    seed: int = 0,
    *,
    name: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    layer: str | Sequence[str] | None = None,
    crop_size: int | None = None,
    label: str | None = None,
    views: ViewsConfig | None = None,
) -> Backbone:
    """Return the backbone that a checkpoint, or the name of a model, stands for.

    Args:
        source: ``timm:NAME``, ``torchvision:NAME`` or ``random:NAME``; or the path of a checkpoint: a host's or a fused
            one, one of MoCo's own code, or a bare state dict. A ``BackboneConfig`` has all of these and the keys below.
        seed: Seeds the weights of ``random:NAME`` and what is drawn for ``views``; the global random state stays as it
            was.
        name: The architecture of a checkpoint without ``args.json``; it overrides that.
        kwargs: Further arguments for building the network.
        layer: A layer to take the features from, averaged over positions, or several, whose features are put side by
            side; the network's output by default.
        crop_size: Side of the input in pixels, where the checkpoint does not say it.
        label: What tables and results call it.
        views: A family and how many of its views of each image the features are averaged over; see ``mean_embedding``,
            which does the same to a backbone at hand.

    Raises:
        UserError: Neither checkpoint nor name, an unknown name, or a checkpoint that is missing, broken or foreign.

    Example:
        >>> load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=32).num_features
        64
    """
    given = {"name": name, "kwargs": kwargs, "layer": layer, "crop_size": crop_size, "label": label, "views": views}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if "layer" in changes and not isinstance(layer, str):
        changes["layer"] = list(changes["layer"])
    config = replace(source if isinstance(source, BackboneConfig) else config_of(source), **changes)
    if config.checkpoint is not None:
        backbone = _from_checkpoint(Path(config.checkpoint), config)
    elif config.name is not None:
        backbone = _from_name(config.name, config, seed)
    else:
        raise UserError("no backbone: set backbone.checkpoint=FILE or backbone.name=timm:NAME, torchvision:NAME, ...")
    if config.layer is not None:
        network = LayerFeatures(backbone.network, config.layer)
        backbone = Backbone(network, backbone.architecture, backbone.input_spec, backbone.provenance)
    if config.label is not None:
        backbone.provenance = replace(backbone.provenance, label=config.label)
    if config.views.family is None:
        return backbone
    return mean_embedding(backbone, config.views.family, config.views.num_views, seed)


def config_of(source: Path | str) -> BackboneConfig:
    """Return what names a backbone by a single word: a model's name, or the path of a checkpoint."""
    if isinstance(source, str) and source.startswith(MODELS):
        return BackboneConfig(name=source)
    return BackboneConfig(checkpoint=str(source))


def _from_name(name: str, config: BackboneConfig, seed: int) -> Backbone:
    random_init = name.startswith("random:")
    architecture_name = name.removeprefix("random:")
    if not random_init and ":" not in architecture_name:
        raise UserError(
            f"backbone.name={name} has no weights of its own: give backbone.checkpoint too, or take random:{name}, "
            f"timm:{name} or torchvision:{name}"
        )
    kwargs = {**_pretrained_kwargs(architecture_name, not random_init), **config.kwargs}
    architecture = Architecture(architecture_name, kwargs)
    with seeded(seed):
        network = _build_pretrained(architecture, name)
    input_spec = _input_of(network)
    if config.crop_size is not None:
        input_spec = replace(input_spec, crop_size=config.crop_size)
    return Backbone(network, architecture, input_spec, Provenance(label=name))


def _pretrained_kwargs(name: str, pretrained: bool) -> dict[str, Any]:
    if name.startswith("timm:"):
        return {"pretrained": pretrained}
    return {"weights": "DEFAULT" if pretrained else None} if name.startswith("torchvision:") else {}


def _build_pretrained(architecture: Architecture, name: str) -> nn.Module:
    try:
        return architecture.build()
    except OSError as error:  # hub downloads fail as URLError, ConnectionError, ...: all of them OSErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"backbone.name={name}: its weights cannot be downloaded ({reason})") from error


def _input_of(network: nn.Module) -> InputSpec:
    if not hasattr(network, "pretrained_cfg"):
        return InputSpec()
    config = timm.data.resolve_data_config(model=network)
    return InputSpec(config["input_size"][-1], tuple(config["mean"]), tuple(config["std"]))


def _from_checkpoint(path: Path, config: BackboneConfig) -> Backbone:
    content = read_checkpoint(path)
    if FUSION_KEY in content:
        return _fused(content, path)
    moco = moco_weights(content)
    weights = moco or backbone_state(content, path)
    # MoCo's checkpoints describe themselves: an args.json beside one is another run's.
    args = None if moco else _of_a_run(read_args(path))
    if moco and config.name is None:
        architecture = moco_architecture(content, config.kwargs, path)
    else:
        architecture = _architecture_of(path, args, config)
    stem = weights.get("conv1.weight")
    # The stem is read off the weights: args.json tells it only through the dataset's name.
    if architecture.name in OWN_BUILDERS and stem is not None and stem.shape[-1] == 3:
        architecture = replace(architecture, small_stem=True)
    network = architecture.without_weights().build()
    load_weights(network, weights, path)
    provenance = Provenance(label=_label_of(path, args), checkpoint=str(path), sha256=sha256_of(path))
    return Backbone(network, architecture, _input_from_args(args, config, path), provenance)


def _of_a_run(args: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a run's configuration, None where it is that of a fused checkpoint, which another one lies beside."""
    section = (args or {}).get("backbone")
    return None if isinstance(section, Mapping) and section.get("name") == "fusion" else args


def _fused(content: Mapping[str, Any], path: Path) -> Backbone:
    fused = fused_from_content(content, path)
    return as_backbone(fused, Provenance(label=fused.label, checkpoint=str(path), sha256=sha256_of(path)))


def _architecture_of(path: Path, args: Mapping[str, Any] | None, config: BackboneConfig) -> Architecture:
    if config.name is not None:
        return Architecture(config.name, {**_pretrained_kwargs(config.name, False), **config.kwargs})
    if args is None:
        raise UserError(
            f"checkpoint {path}: no args.json beside it says which backbone it holds; set backbone.name "
            f"(and backbone.kwargs, backbone.crop_size)"
        )
    section = _mapping(args.get("backbone"), path, "backbone")
    name, kwargs = section.get("name"), _mapping(section.get("kwargs") or {}, path, "backbone.kwargs")
    if not isinstance(name, str):
        raise UserError(f"{path.parent / 'args.json'}: no backbone.name in it")
    return Architecture(name, {**kwargs, **config.kwargs}, method=args.get("method"))


def _mapping(value: Any, path: Path, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{path.parent / 'args.json'}: no backbone: {key} is {value!r}, expected a mapping")
    return value


def _augmentations_of(args: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    entries = (args or {}).get("augmentations")
    return [e for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []


def _input_from_args(args: Mapping[str, Any] | None, config: BackboneConfig, path: Path) -> InputSpec:
    try:
        return input_spec_of(args or {}, config.crop_size)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path.parent / 'args.json'}: {error}; backbone.crop_size overrides") from error


def input_spec_of(args: Mapping[str, Any], crop_size: int | None = None) -> InputSpec:
    """Return the input that a run's backbone is trained on, by the run's configuration.

    Args:
        args: The configuration, plain.
        crop_size: In place of the first augmentation's.

    Raises:
        ValueError: A value is not what it should be; the message names the key.
    """
    entries = _augmentations_of(args)
    first = entries[0] if entries else {}
    data = args.get("data") or {}
    if not isinstance(data, Mapping):
        raise ValueError(f"data is {data!r}, expected a mapping")
    mean, std = known_dataset(str(data.get("dataset"))).statistics
    size = first.get("crop_size", 224) if crop_size is None else crop_size
    spec = {"crop_size": size, "mean": first.get("mean") or mean, "std": first.get("std") or std}
    try:
        return InputSpec.from_mapping(spec)
    except ValueError as error:
        raise ValueError(f"augmentations[0]: {error}") from error


def _label_of(path: Path, args: Mapping[str, Any] | None) -> str:
    chosen = [entry.get("family") or entry.get("families") for entry in _augmentations_of(args)]
    families = list(dict.fromkeys(_family_label(family) for family in chosen if family))
    if families:
        return "/".join(families)
    return str((args or {}).get("name") or path.stem.removesuffix(".pth"))


def _family_label(chosen: Any) -> str:
    """Return the name of a family, of one that is written out, or of several that are composed."""
    if isinstance(chosen, list):
        return "+".join(_family_label(family) for family in chosen)
    return str(chosen.get("name", "custom") if isinstance(chosen, Mapping) else chosen)
