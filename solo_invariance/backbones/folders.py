"""What a folder of weights stands for, as its own files say it: timm's, transformers', or a run's of solo-learn."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import timm.data

from solo_invariance.backbones.exported import CONFIG, is_exported
from solo_invariance.config.backbone import INTERPOLATIONS, BackboneConfig, checkpoint_in
from solo_invariance.errors import UserError, did_you_mean, reason_of
from solo_invariance.results.files import read_json

_SHARDED = ".index.json"


def of_folder(config: BackboneConfig) -> BackboneConfig:
    """Return what names the backbone that a folder holds: an exported one by the folder itself, others by a file.

    A folder with a ``config.json`` is what this says: of ``export``, of timm (``architecture``, and ``pretrained_cfg``
    with the input) or of transformers (``model_type``). One without has a single checkpoint, as solo-learn's runs do.

    Args:
        config: Whose ``checkpoint`` is a folder. Its own keys win over those of the folder.

    Raises:
        UserError: The folder holds nothing of the kind, or several checkpoints; the message says what it holds.
    """
    folder = Path(str(config.checkpoint))
    content = read_json(folder / CONFIG, "Fetch it again.") if (folder / CONFIG).is_file() else {}
    if is_exported(content):
        return config
    if config.name is None and ("model_type" in content or "architectures" in content):
        return replace(config, checkpoint=None, name=f"hf:{folder}")
    own = replace(config, checkpoint=str(_weights_in(folder)))
    if config.name is None and "architecture" in content:
        return _timms(own, content, folder)
    if content and config.name is None and not (folder / "args.json").is_file():
        raise UserError(
            f"{folder / CONFIG}: has no architecture (as timm writes), model_type (as transformers does) or "
            f"solo_invariance (as export does); set backbone.name"
        )
    return own


def _weights_in(folder: Path) -> Path:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
        if (folder / f"{name}{_SHARDED}").is_file():
            raise UserError(f"{folder}: its weights are in several files, which are not read; save them as one")
    return checkpoint_in(folder)


def _timms(config: BackboneConfig, content: Mapping[str, Any], folder: Path) -> BackboneConfig:
    """Return what a folder of timm's says, as far as the configuration does not say it itself."""
    file, architecture = folder / CONFIG, content["architecture"]
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        close = did_you_mean(architecture, timm.list_models()) if isinstance(architecture, str) else ""
        raise UserError(f"{file}: architecture is {architecture!r}, no model of timm {timm.__version__}{close}")
    # In older files, all is in one mapping.
    arguments, said = content.get("model_args") or {}, content.get("pretrained_cfg", content)
    for key, value in (("model_args", arguments), ("pretrained_cfg", said)):
        if not isinstance(value, Mapping):
            raise UserError(f"{file}: {key} is {value!r}, expected a mapping")
    kwargs = {key: value for key, value in arguments.items() if key != "num_classes"} | config.kwargs
    try:
        asked = timm.data.resolve_data_config({}, pretrained_cfg=dict(said))
        found = {
            "crop_size": asked["input_size"][-1],
            "mean": list(asked["mean"]),
            "std": list(asked["std"]),
            "interpolation": asked["interpolation"] if asked["interpolation"] in INTERPOLATIONS else "bicubic",
        }
        given = BackboneConfig(**found)
    except Exception as error:  # a stranger's file can have anything there
        raise UserError(f"{file}: pretrained_cfg does not say the input ({reason_of(error)})") from error
    mine = {key: getattr(given, key) for key in found if getattr(config, key) is None}
    label = folder.resolve().name if config.label is None else config.label
    return replace(config, name=f"timm:{architecture}", kwargs=kwargs, label=label, **mine)
