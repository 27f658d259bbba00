"""Any checkpoint or model name, made a backbone."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, Provenance
from solo_invariance.backbones.chosen import with_features
from solo_invariance.backbones.files.checkpoint import FUSION_KEY, load_weights, read_args, read_checkpoint, sha256_of
from solo_invariance.backbones.files.exported import CONFIG, read_exported
from solo_invariance.backbones.files.folders import of_folder
from solo_invariance.backbones.files.fused_checkpoint import fused_from_content
from solo_invariance.backbones.files.layouts import FoundWeights, find_weights, has_small_stem, looks_like
from solo_invariance.backbones.files.moco import is_moco_v3, moco_architecture, names_its_arch
from solo_invariance.backbones.fitting import network_in_file, resized
from solo_invariance.backbones.fused import as_backbone
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.mean_embedding import mean_embedding
from solo_invariance.backbones.seeded_init import seeded
from solo_invariance.backbones.sources import OWN_BUILDERS, PublishedWeights, source_of
from solo_invariance.backbones.tokens import Pooling
from solo_invariance.config.backbone import INPUT_CHECKS, BackboneConfig, ViewsConfig, config_of, require_backbone
from solo_invariance.errors import UserError, reason_of
from solo_invariance.known_datasets import known_dataset


def load_backbone(
    source: BackboneConfig | Path | str,
    seed: int = 0,
    *,
    name: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    trust: bool | None = None,
    weights: str | None = None,
    heads: Sequence[str] | None = None,
    layer: str | Sequence[str] | None = None,
    pool: str | None = None,
    tokens: str | None = None,
    crop_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    label: str | None = None,
    views: ViewsConfig | None = None,
    key: str | None = None,
) -> Backbone:
    """Return the backbone that a checkpoint, or the name of a model, stands for.

    Args:
        source: ``timm:NAME``, ``torchvision:NAME``, ``hf:NAME``, ``torch.hub:REPOSITORY:NAME``,
            ``python:MODULE:CALLABLE`` or a plugin's name, or ``random:`` and one of these; or the path of a checkpoint:
            a host's or a fused one, or any other code's. A ``BackboneConfig`` has all of these and the keys below.
        seed: Seeds the weights of ``random:NAME`` and what is drawn for ``views``; the global random state stays as it
            was.
        name: The architecture of a checkpoint without ``args.json``; it overrides that.
        kwargs: Further arguments for building the network.
        trust: Whether code may be run that ``torch.hub`` does not trust yet, or that a file names.
        weights: Which of a checkpoint's networks: what its names begin with, or a part of that, such as ``student``; by
            default the one that the method's authors evaluate.
        heads: Names of heads in it, besides those that are known as such: what is neither is refused.
        layer: A layer to take the features from, averaged over positions, or several, whose features are put side by
            side; the network's output by default.
        pool: Of a vision transformer's tokens, what the features are: the class token (``cls``), the ``mean`` of the
            patches' or ``both``, side by side; after the last norm, or of a layer. By default what the network makes
            of them itself, and the mean of a layer's.
        tokens: Which tokens a mean is of: ``patches``, or ``all``, class and register tokens included; by default the
            patches where ``pool`` is given, and all of a layer's where it is not.
        crop_size: Side of the input in pixels; by default what the checkpoint, or the model of that name, says. A
            vision transformer's positions are interpolated to it, as its own package does it.
        mean: Three channel means that the input is normalised with, in [0, 1] units; by default likewise.
        std: Three channel standard deviations; by default likewise.
        interpolation: How images are resized: ``bilinear``, ``bicubic`` or ``nearest``; by default likewise.
        crop_pct: The crop's side as a fraction of the short side that images are resized to, where
            transforms are measured; 7/8 by default.
        label: What tables and results call it.
        views: A family and how many of its views of each image the features are averaged over; see ``mean_embedding``,
            which does the same to a backbone at hand.
        key: An older name of ``weights``.

    Raises:
        UserError: Neither checkpoint nor name, an unknown name, or a checkpoint that is missing, broken or foreign.

    Example:
        >>> load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=32).num_features
        64
    """
    single = {
        "name": name,
        "kwargs": kwargs,
        "trust": trust,
        "weights": weights,
        "crop_size": crop_size,
        "label": label,
        "pool": pool,
        "tokens": tokens,
        "views": views,
        "key": key,
    }
    several = {"heads": heads, "layer": layer, "mean": mean, "std": std}
    given: dict[str, Any] = {**single, "interpolation": interpolation, "crop_pct": crop_pct}
    given |= {key: value if isinstance(value, str | None) else list(value) for key, value in several.items()}
    changes = {key: value for key, value in given.items() if value is not None}
    config = replace(source if isinstance(source, BackboneConfig) else config_of(source), **changes)
    require_backbone(config)
    if config.checkpoint is None:
        backbone = _from_name(str(config.name), config, seed)
    elif os.path.isdir(config.checkpoint):
        backbone = _from_folder(Path(config.checkpoint), config)
    else:
        backbone = _from_checkpoint(Path(config.checkpoint), config)
    if config.label is not None:
        backbone.provenance = replace(backbone.provenance, label=config.label)
    if config.views.family is None:
        return backbone
    return mean_embedding(backbone, config.views.family, config.views.num_views, seed)


def _chosen(network: nn.Module, config: BackboneConfig, name: str) -> nn.Module:
    return with_features(network, config.layer, Pooling(config.pool, config.tokens), name)


def _with_chosen(backbone: Backbone, config: BackboneConfig) -> Backbone:
    network = _chosen(backbone.network, config, backbone.architecture.name)
    if network is backbone.network:
        return backbone
    return Backbone(network, backbone.architecture, backbone.input_spec, backbone.provenance)


def _from_name(name: str, config: BackboneConfig, seed: int) -> Backbone:
    random_init = name.startswith("random:")
    given = name.removeprefix("random:")
    source, rest = source_of(given)
    if not random_init and ":" not in given and not source.runs_code:
        raise UserError(
            f"backbone.name={name} has no weights of its own: give backbone.checkpoint too, or take random:{name}, "
            f"timm:{name} or torchvision:{name}"
        )
    architecture = _named(given, config, not random_init)
    published = None if random_init else source.published(rest, architecture.kwargs)
    provenance = Provenance(name)
    with seeded(seed):
        if published is not None:
            architecture, network, provenance = _with_published(published, architecture, name)
        else:
            network = architecture.untrained() if random_init else _build_pretrained(architecture, name)
        spec = _with_own_keys(architecture.input_of(network, provenance.sha256), config)
        if random_init and (sized := architecture.of_size(network, spec.crop_size)) != architecture:
            architecture, network = sized, sized.untrained()
    if source.runs_code and not random_init:
        provenance = replace(provenance, sha256=_sha256_of_weights(network))
    architecture, network, on_size = resized(architecture, network, spec.crop_size)
    remarks = (*source.remarks_on(rest, network), *provenance.remarks, *on_size)
    provenance = replace(provenance, remarks=remarks)
    return Backbone(_chosen(network, config, architecture.name), architecture, spec, provenance)


def _from_folder(folder: Path, config: BackboneConfig) -> Backbone:
    """Return what a folder holds: one that ``export`` wrote, a run of a host's, or one of timm's or transformers'."""
    config = of_folder(config)
    if config.checkpoint is None:
        return _published_in(folder, config)
    path = Path(config.checkpoint)
    return _with_chosen(read_exported(path, config), config) if path.is_dir() else _from_checkpoint(path, config)


def _published_in(folder: Path, config: BackboneConfig) -> Backbone:
    """Return what a folder of timm's or transformers' holds; what is wrong with it names its configuration."""
    try:
        backbone = _from_name(str(config.name), config, seed=0)
    except Exception as error:  # a stranger's configuration can make a package raise anything
        if str(folder) in str(error) and isinstance(error, UserError):
            raise
        raise UserError(f"{folder / CONFIG}: {reason_of(error)}") from error
    backbone.provenance = replace(backbone.provenance, label=str(config.label), checkpoint=str(folder))
    return backbone


def _named(name: str, config: BackboneConfig, pretrained: bool) -> Architecture:
    """Return the architecture that somebody named himself, with what it takes to build it."""
    source, rest = source_of(name)
    source.require_trust(rest, config.trust)
    kwargs = {**source.weights(rest, pretrained), **config.kwargs}
    return Architecture(name, kwargs, trusted=True).settled()


def _with_published(
    published: PublishedWeights, architecture: Architecture, name: str
) -> tuple[Architecture, nn.Module, Provenance]:
    architecture = replace(architecture, kwargs=dict(published.kwargs))
    network = architecture.without_weights().build()
    state = published.state
    if state is None:
        state = find_weights(network, read_checkpoint(published.path), published.path).weights
    load_weights(network, state, published.path)
    remarks, revision = published.remarks, published.revision
    return architecture, network, Provenance(name, sha256=published.sha256, remarks=remarks, revision=revision)


def _sha256_of_weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _build_pretrained(architecture: Architecture, name: str) -> nn.Module:
    try:
        return architecture.build()
    except OSError as error:  # hub downloads fail as URLError, ConnectionError, ...: all of them OSErrors
        reason = reason_of(error)
        raise UserError(f"backbone.name={name}: its weights cannot be downloaded ({reason})") from error


def _with_own_keys(spec: InputSpec, config: BackboneConfig) -> InputSpec:
    """Return an input as far as the configuration does not say it itself."""
    return InputSpec.from_mapping({**asdict(spec), **_own_keys(config)})


def _own_keys(config: BackboneConfig) -> dict[str, Any]:
    """Return what the configuration says itself of the input."""
    return {key: getattr(config, key) for key in INPUT_CHECKS if getattr(config, key) is not None}


def _from_checkpoint(path: Path, config: BackboneConfig) -> Backbone:
    content = read_checkpoint(path)
    if FUSION_KEY in content:
        return _fused(content, path, config)
    # A checkpoint that describes itself, as MoCo's do: an args.json beside it is another run's.
    args = None if names_its_arch(content) else _of_a_run(read_args(path))
    architecture = _architecture_of(path, args, content, config)
    # The stem is read off the weights: args.json tells it only through the dataset's name.
    if architecture.name in OWN_BUILDERS and has_small_stem(content):
        architecture = replace(architecture, small_stem=True)
    sha256 = sha256_of(path)
    architecture, network = network_in_file(architecture, content, sha256)
    found = find_weights(network, content, path, config.weights, config.heads)
    load_weights(network, found.weights, path)
    is_named = config.name is not None or (architecture.name.startswith("timm:") and not is_moco_v3(content))
    asked = replace(architecture, kwargs={**architecture.kwargs, **config.kwargs})
    own = asked.input_of(network, sha256) if is_named else InputSpec()
    spec = _with_own_keys(own, config) if args is None else _input_from_args(args, config, path)
    source, rest = source_of(architecture.name)
    remarks = (*source.remarks_on(rest, network), *_remarks(found, architecture, args, path))
    architecture, network, on_size = resized(architecture, network, spec.crop_size)
    provenance = Provenance(
        " ".join(filter(None, (_label_of(path, args), config.weights))),  # of one file there may be several
        str(path),
        sha256,
        found.key or None,
        remarks + on_size,
        family=families_of(args) or None,
        seed=seed_of(args),
    )
    return Backbone(_chosen(network, config, architecture.name), architecture, spec, provenance)


def _remarks(
    found: FoundWeights, architecture: Architecture, args: Mapping[str, Any] | None, path: Path
) -> Iterator[str]:
    """Yield what is to be said of how a checkpoint was read, since it could be read otherwise."""
    if found.others:
        key, *others = (one or "the whole file" for one in (found.key, *found.others))
        yield f"{path.name}: the weights are those of {key}; backbone.weights chooses {', '.join(others)}"
    if architecture.small_stem and args is None and "stem_padding" not in architecture.kwargs:
        yield (
            f"{path.name}: its 3x3 stem is taken for solo-learn's, padded by 2; "
            f"backbone.kwargs.stem_padding=1 is for one padded by 1"
        )


def _of_a_run(args: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a run's configuration, None where it is that of a fused checkpoint, which another one lies beside."""
    section = (args or {}).get("backbone")
    return None if isinstance(section, Mapping) and section.get("name") == "fusion" else args


def _fused(content: Mapping[str, Any], path: Path, config: BackboneConfig) -> Backbone:
    for key in ("weights", "heads", "pool", "tokens", *INPUT_CHECKS):
        if getattr(config, key):
            raise UserError(f"backbone.{key}: checkpoint {path} is a fused one, which says this of each of its members")
    fused = fused_from_content(content, path, config.trust, config.kwargs)
    backbone = as_backbone(fused, Provenance(label=fused.label, checkpoint=str(path), sha256=sha256_of(path)))
    return _with_chosen(backbone, config)


def _architecture_of(
    path: Path, args: Mapping[str, Any] | None, content: Mapping[str, Any], config: BackboneConfig
) -> Architecture:
    if config.name is not None:
        return _named(config.name, config, False)
    if names_its_arch(content):
        return moco_architecture(content, config.kwargs, path)
    if args is None:
        raise UserError(
            f"checkpoint {path}: no args.json beside it says which backbone it holds; set backbone.name "
            f"(and backbone.kwargs, backbone.crop_size){_folder_says_it(path)}{looks_like(content)}"
        )
    section = _mapping(args.get("backbone"), path, "backbone")
    name, kwargs = section.get("name"), _mapping(section.get("kwargs") or {}, path, "backbone.kwargs")
    if not isinstance(name, str):
        raise UserError(f"{path.parent / 'args.json'}: no backbone.name in it")
    return Architecture(name, {**kwargs, **config.kwargs}, method=args.get("method"), trusted=config.trust)


def _folder_says_it(path: Path) -> str:
    """Return that the folder of a file says what it holds, where it does."""
    return f", or backbone.checkpoint={path.parent}, which says it" if (path.parent / CONFIG).is_file() else ""


def _mapping(value: Any, path: Path, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{path.parent / 'args.json'}: no backbone: {key} is {value!r}, expected a mapping")
    return value


def _augmentations_of(args: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    entries = (args or {}).get("augmentations")
    return [e for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []


def _input_from_args(args: Mapping[str, Any], config: BackboneConfig, path: Path) -> InputSpec:
    try:
        return input_spec_of(args, _own_keys(config))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path.parent / 'args.json'}: {error}; the same key of backbone overrides it") from error


def input_spec_of(args: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> InputSpec:
    """Return the input that a run's backbone is trained on, by the run's configuration.

    Args:
        args: The configuration, plain.
        own: Values in place of the configuration's, by the names that an ``InputSpec`` has for them.

    Raises:
        ValueError: A value is not what it should be; the message names the key.
    """
    entries = _augmentations_of(args)
    first = entries[0] if entries else {}
    data = args.get("data") or {}
    if not isinstance(data, Mapping):
        raise ValueError(f"data is {data!r}, expected a mapping")
    mean, std = known_dataset(str(data.get("dataset"))).statistics
    size = first.get("crop_size", 224)
    spec = {"crop_size": size, "mean": first.get("mean") or mean, "std": first.get("std") or std, **(own or {})}
    try:
        return InputSpec.from_mapping(spec)
    except ValueError as error:
        raise ValueError(f"augmentations[0]: {error}") from error


def families_of(args: Mapping[str, Any] | None) -> str:
    """Return the families that a backbone was trained with, by the run's configuration; empty where it names none.

    Example:
        >>> families_of({"augmentations": [{"family": "ventral", "crop_size": 64}]})
        'ventral'
    """
    chosen = [entry.get("family") or entry.get("families") for entry in _augmentations_of(args)]
    return "/".join(dict.fromkeys(_family_label(family) for family in chosen if family))


def seed_of(args: Mapping[str, Any] | None) -> int | None:
    """Return the seed of a run, by its configuration; None where that has no whole number."""
    seed = (args or {}).get("seed")
    return seed if type(seed) is int else None


def _label_of(path: Path, args: Mapping[str, Any] | None) -> str:
    return families_of(args) or str((args or {}).get("name") or path.stem.removesuffix(".pth"))


def _family_label(chosen: Any) -> str:
    """Return the name of a family, of one that is written out, or of several that are composed."""
    if isinstance(chosen, list):
        return "+".join(_family_label(family) for family in chosen)
    return str(chosen.get("name", "custom") if isinstance(chosen, Mapping) else chosen)
