"""What results say of how they were made, and what a run is known by."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from solo_invariance.backbones import Backbone
from solo_invariance.backbones.chosen import choice_of, layers_of, whole
from solo_invariance.backbones.load import config_of
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.composed import as_dict
from solo_invariance.config.measure import Budget, DataConfig, MeasureConfig, OnError, PrecisionName, ReferenceConfig
from solo_invariance.config.protocol import ProtocolName
from solo_invariance.data.decoding import DECODING
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.measure.metrics.prototypes import AnyMetric, prototype_of
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.transforms.transform import ResizeCrop, Transform
from solo_invariance.plugins import Kind, discover, load_plugin
from solo_invariance.results.files import versions

TWIN = "untrained"
"""Name of the untrained backbone that a measured one may have beside it."""

# How many reference images a feature it takes, where measured images are no part of them and where they are
# (``benchmarks/reference.py``).
_ENOUGH_HELD_OUT = 2
_ENOUGH_SHARED = 16

# They change the speed, where results go, or what else is measured; not what the numbers are.
_OTHER_KEYS = (
    *("out", "against", "device", "devices", "batch_size", "num_workers", "transforms", "views"),
    *("on_error", "max_unreadable", "objective"),
)

_OF_WEIGHTS = ("checkpoint", "sha256", "key", "family", "seed")
"""What a result says of a backbone that says nothing of its untrained twin."""


def is_twin(layer: str, twin: bool) -> bool:
    """Return whether a layer is the untrained backbone's, where one was measured, too."""
    return twin and layer.split("/")[0] == TWIN


def config_of_arguments(
    settings: MeasureSettings,
    *,
    backbone: Any,
    images: Any,
    reference: Any,
    transforms: Any,
    views: Any,
    metrics: Any,
    twin: bool,
    against: Path | str | None,
    out: Path | str | None,
    device: Any,
    devices: int,
) -> dict[str, Any]:
    """Return the configuration, plain, by which the measuring command would be given the arguments of ``measure``.

    What no configuration can name, such as a module or a tensor of images, is left out.
    """
    resize, crop_size = settings.geometry or (None, None)
    config = MeasureConfig(
        backbone=_backbone_config(backbone),
        data=_data_config(images),
        reference=reference if isinstance(reference, ReferenceConfig) else ReferenceConfig(_path(reference)),
        twin=twin,
        transforms=_names(transforms),
        views=None if views is None else list(views),
        metrics=_names(metrics),
        protocol=ProtocolName[settings.protocol],
        budget=Budget[settings.budget],
        target_se=settings.target_se,
        k=settings.k,
        num_images=settings.num_images,
        gallery=settings.gallery,
        matched_width=settings.matched_width,
        resize=resize,
        crop_size=crop_size,
        precision=PrecisionName[settings.precision],
        compile=settings.compiled,
        seed=settings.seed,
        on_error=OnError[settings.reading.on_error],
        max_unreadable=settings.reading.max_unreadable,
        device=str(device),
        devices=devices,
        batch_size=settings.batch_size,
        num_workers=settings.reading.num_workers,
        against=None if against is None else str(against),
    )
    return as_dict(OmegaConf.structured(config)) | {"out": "" if out is None else str(out)}


def _backbone_config(backbone: Any) -> BackboneConfig:
    if isinstance(backbone, BackboneConfig):
        return backbone
    if isinstance(backbone, str | Path):
        return config_of(backbone)
    if not isinstance(backbone, Backbone) or backbone.provenance.sha256 is None or backbone.describe()["views"]:
        return BackboneConfig()
    return BackboneConfig(checkpoint=backbone.provenance.checkpoint, **choice_of(backbone.network))


def _data_config(images: Any) -> DataConfig:
    return images if isinstance(images, DataConfig) else DataConfig(path=_path(images))


def _path(images: Any) -> str | None:
    return str(images) if isinstance(images, str | Path) else None


def _names(chosen: Any) -> Any:
    return chosen if chosen is None or isinstance(chosen, str) else list(chosen)


def identity_of(
    config: Mapping[str, Any], backbone: Backbone, geometry: ResizeCrop, contents: list[str], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that a run's numbers depend on, as plain data.

    Args:
        config: The configuration, plain.
        backbone: The measured one. It is known by its checkpoint's hash; where the configuration names neither
            checkpoint nor model, by its weights.
        geometry: Sizes of images and crops.
        contents: Hashes of the images and of the reference images.
        own: Descriptions of what is measured and no name stands for.
    """
    kept = {key: value for key, value in config.items() if key not in _OTHER_KEYS}
    named = kept["backbone"]["checkpoint"] is not None or kept["backbone"]["name"] is not None
    sha256 = backbone.provenance.sha256 if named else digest_of_backbone(backbone)
    return {
        **kept,
        "backbone": {**kept["backbone"], "sha256": sha256},
        **geometry._asdict(),
        "images": contents,
        "decoding": DECODING,
        "version": versions()["solo-invariance"],
        **({"own": dict(own)} if own else {}),
    }


def backbone_entry(backbone: Backbone, layer: str, twin: bool) -> dict[str, Any]:
    """Return the label, and what a result says of the backbone, of one of its layers or of its untrained twin's."""
    of_twin = is_twin(layer, twin)
    layer = layer.removeprefix(TWIN).removeprefix("/") if of_twin else layer
    names = layers_of(backbone.network)
    named = layer or (names if isinstance(names, str) else None)
    entry = {
        **backbone.describe(),
        "layer": named,
        "depth": None if named is None else _depth(backbone, named),
        "untrained": of_twin,
        "num_features": backbone.layers[layer],
    }
    return {
        "label": " ".join(filter(None, (backbone.provenance.label, layer, f"({TWIN})" if of_twin else ""))),
        "backbone": entry | (dict.fromkeys(_OF_WEIGHTS) | {"remarks": []} if of_twin else {}),
    }


def descriptions(transforms: Mapping[str, Transform], metrics: Mapping[str, AnyMetric]) -> dict[str, dict[str, str]]:
    """Return descriptions of transforms and metrics that are not the plugins of their names, by kind and name."""
    found = {"transforms": _unlike_plugins("transforms", transforms), "metrics": _unlike_plugins("metrics", metrics)}
    return {kind: described for kind, described in found.items() if described}


def _unlike_plugins(kind: Kind, chosen: Mapping[str, Any]) -> dict[str, str]:
    known = {plugin.name for plugin in discover(kind)}
    described = {name: _describe(one) for name, one in chosen.items()}
    return {name: text for name, text in described.items() if name not in known or text != _plugin(kind, name)}


def _plugin(kind: Kind, name: str) -> str:
    plugin = load_plugin(kind, name)
    return _describe(prototype_of(name, plugin) if kind == "metrics" else plugin)


def _describe(thing: Any) -> str:
    """Return a thing's class and options: what the same thing, made anew, has in common with it."""
    plain = (bool, int, float, str, tuple, type(None))
    options = {key: value for key, value in vars(thing).items() if not key.startswith("_") and isinstance(value, plain)}
    listed = ", ".join(f"{key}={value!r}" for key, value in sorted(options.items()))
    return f"{type(thing).__module__}.{type(thing).__qualname__}({listed})"


def _depth(backbone: Backbone, layer: str) -> int | None:
    """Return the place of a layer among the network's modules, by which layers are in the order of their depth."""
    modules = [name for name, _ in whole(backbone.network).named_modules()]
    return modules.index(layer) if layer in modules else None


def cautions_of(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what summaries caution against, in one list.

    Args:
        measured: By transform or view set; each may have sentences under the key ``cautions``.

    Returns:
        Sentences, each once, with the names of what they are said of.
    """
    names: dict[str, list[str]] = {}
    for name, summary in measured.items():
        for sentence in summary.get("cautions", ()):
            names.setdefault(sentence, []).append(name)
    return [f"{', '.join(said_of)}: {sentence}" for sentence, said_of in names.items()]


def cautions_of_reference(
    reference: Mapping[str, Any],
    num_features: int,
    *,
    holds_out: bool,
    shares_images: Callable[[], bool],
    repeats: int | None = None,
) -> list[str]:
    """Return what is to be said of numbers that are whitened by a reference.

    Args:
        reference: What the result says of the reference images.
        num_features: D, of the layer.
        holds_out: Whether measured images are whitened without themselves.
        shares_images: Whether measured images are in the reference, too; asked where it matters.
        repeats: How few pictures the reference images repeat, though their files differ; None where they do not.
    """
    count, files = reference["num_images"], reference["num_files"]
    if repeats is not None and repeats < min(count, _ENOUGH_HELD_OUT * num_features):
        return [
            f"{count} reference images repeat {repeats} pictures, which are few for {num_features} "
            f"features: distances are too large, and similarities may be off; {_ENOUGH_HELD_OUT * num_features} "
            f"different ones would be enough (reference.path)."
        ]
    if count >= _ENOUGH_SHARED * num_features:
        return []
    shared = not holds_out and shares_images()
    enough = (_ENOUGH_SHARED if shared else _ENOUGH_HELD_OUT) * num_features
    if count >= enough:
        return []
    repeat = f" (of {files} files; pictures that repeat count once)" if files > count else ""
    named = f"{count} different reference images{repeat}" if repeat else f"{count} reference images"
    if shared:
        effect = "measured images that are among them look less invariant than they are"
    elif holds_out:
        # Of fewer images than features, the correction of lengths takes away nearly all there is.
        of_distances = "distances by a quarter" if count >= num_features else "distances are far too small to be used"
        effect = f"similarities may be off by more than 0.02, mostly too high, and {of_distances}"
    else:
        effect = (
            "similarities may be off by more than 0.02, mostly too low, and distances too large by two fifths or more"
        )
    return [f"{named} are few for {num_features} features: {effect}; {enough} would be enough (reference.path)."]
