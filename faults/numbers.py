"""What a command leaves that is to be the same, whatever came between."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

_OF_THE_RUN = ("timings", "config", "versions", "identity")


def numbers_in(folder: Path) -> dict[str, Any]:
    """Return the content of results, arrays and checkpoints below a folder, by file and key."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            content = json.loads(path.read_text().replace(str(folder.resolve()), ""))
            found[name] = json.dumps({key: content[key] for key in content if key not in _OF_THE_RUN}, sort_keys=True)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = {key: _digest(arrays[key]) for key in arrays}
        elif path.suffix == ".ckpt":
            state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
            found[name] = {key: _digest(value.numpy()) for key, value in state.items()}
    return found


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()


def litter_in(folder: Path) -> list[str]:
    """Return the files below a folder that are nobody's once no command is at work."""
    return [str(path) for path in folder.rglob(".*") if path.suffix in (".part", ".lock") or path.name == ".lock"]
