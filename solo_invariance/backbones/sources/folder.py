"""Folders that a model is published as, ``config.json`` beside its weights: on a disk, or in a hub's cache."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_invariance.backbones.files.checkpoint import sha256_of
from solo_invariance.backbones.sources.online import hub_folder
from solo_invariance.config.backbone_names import is_local, require_description, require_folder
from solo_invariance.errors import UserError
from solo_invariance.results.files import read_json

CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def folder_of(name: str, called: str, files: Sequence[str] = ()) -> Path:
    """Return the folder that a name stands for: its path, or that of a hub's snapshot.

    Args:
        name: A path, or ``ORG/NAME`` or ``ORG/NAME@REVISION`` of the hub.
        called: What messages call it.
        files: What is needed besides the configuration, as patterns.

    Raises:
        UserError: There is no such folder, or the hub has no such model or cannot be reached.
    """
    if not is_local(name):
        return hub_folder(name, [*CONFIGS, *files], called)
    require_folder(name, called)
    return Path(name).expanduser()


def config_in(folder: Path, called: str) -> dict[str, Any]:
    """Return a folder's ``config.json``.

    Raises:
        UserError: It is not there, or no JSON mapping.
    """
    require_description(folder, called)
    config = read_json(folder / "config.json", "It says what network the weights are of.")
    return dict(config)


def weights_in(name: str, called: str) -> tuple[Path, Path]:
    """Return a folder, and the file in it that has the weights or the names of the files that do.

    Args:
        name: As ``folder_of`` takes it.
        called: What messages call it.

    Raises:
        UserError: There is none, or the folder is not there.
    """
    for files in (SAFETENSORS, PICKLES):
        stem, _, ending = files[0].rpartition(".")
        folder = folder_of(name, called, [*files, f"{stem}-*.{ending}"])
        for file in files:
            if (folder / file).is_file():
                return folder, folder / file
    raise UserError(f"{called}: there are no weights in {folder}; expected {SAFETENSORS[0]} or {PICKLES[0]}")


def sha256_of_weights(path: Path) -> str:
    """Return the SHA-256 of a file of weights; of several that an index names, that of their hashes."""
    if path.suffix != ".json":
        return sha256_of(path)
    index: Mapping[str, Any] = read_json(path, "It says which file has which weights.")
    files = sorted(set(map(str, dict(index.get("weight_map") or {}).values())))
    return hashlib.sha256("".join(sha256_of(path.parent / file) for file in files).encode()).hexdigest()


def revision_of(folder: Path) -> str | None:
    """Return the commit that a folder is a snapshot of, None where it is none of a hub's cache."""
    return folder.name if folder.parent.name == "snapshots" else None
