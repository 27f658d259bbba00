"""What a folder of weights stands for, as its own files say it: export's, timm's, transformers', or a run's."""

from dataclasses import replace
from pathlib import Path

from solo_invariance.backbones.files.exported import CONFIG, is_exported
from solo_invariance.config.backbone import BackboneConfig, checkpoint_in
from solo_invariance.errors import UserError
from solo_invariance.results.files import read_json

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def of_folder(config: BackboneConfig) -> BackboneConfig:
    """Return what names the backbone that a folder holds: an exported one by the folder itself, others by name or file.

    A folder with a ``config.json`` is what this says: of ``export``, of timm (``architecture``) or of transformers
    (``model_type``). One without has a single checkpoint, as solo-learn's runs do.

    Args:
        config: Whose ``checkpoint`` is a folder. Its own ``name`` and ``label`` win over those of the folder.

    Raises:
        UserError: The folder holds nothing of the kind, or several checkpoints; the message says what it holds.
    """
    folder = Path(str(config.checkpoint))
    content = read_json(folder / CONFIG, "Fetch it again.") if (folder / CONFIG).is_file() else {}
    if is_exported(content):
        return config
    if config.name is not None:
        return replace(config, checkpoint=str(_weights_in(folder)))
    if {"model_type", "architectures"} & {*content}:
        return _named(config, f"hf:{folder}", folder)
    if "architecture" in content:
        return _named(config, f"timm:local-dir:{folder}", folder)
    if content and not (folder / "args.json").is_file():
        raise UserError(
            f"{folder / CONFIG}: has no architecture (as timm writes), model_type (as transformers does) or "
            f"solo_invariance (as export does); set backbone.name"
        )
    return replace(config, checkpoint=str(_weights_in(folder)))


def _named(config: BackboneConfig, name: str, folder: Path) -> BackboneConfig:
    for key in ("weights", "heads"):
        if getattr(config, key):
            raise UserError(f"backbone.{key}: {folder / CONFIG} says what the weights of {folder} are; leave it out")
    label = folder.resolve().name if config.label is None else config.label
    return replace(config, checkpoint=None, name=name, label=label)


def _weights_in(folder: Path) -> Path:
    found = (folder / name for name in _WEIGHTS)
    return next((path for path in found if path.is_file()), None) or checkpoint_in(folder)
