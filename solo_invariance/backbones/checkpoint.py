"""Reading checkpoints that are not trusted: plain tensors only, and every weight accounted for."""

import hashlib
import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.errors import UserError

FUSION_KEY = "fusion"
"""The entry of a checkpoint that makes it a fused one; see ``solo_invariance.backbones.fused_checkpoint``."""

_HEADS = ("fc.", "head.", "classifier.", "heads.")
_LISTED = 6


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Load a checkpoint's tensors and plain data on the CPU, without running any code of its own.

    Raises:
        UserError: The file is missing, truncated, no checkpoint, or holds more than plain data.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path}: {'is a directory' if path.is_dir() else 'no such file'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # What torch says recommends what this package never does: to run what the file says.
        raise UserError(f"checkpoint {path}: refused, it is no file of plain tensors and data") from error
    except Exception as error:  # a stranger's bytes can make the unpickler raise anything
        raise UserError(
            f"checkpoint {path}: cannot be read, truncated or not a checkpoint ({_first(error)})"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(f"checkpoint {path}: expected a mapping with a state_dict, got {type(content).__name__}")
    return content


def read_args(checkpoint: Path) -> Mapping[str, Any] | None:
    """Return the run's configuration that the host wrote beside the checkpoint, None where there is none.

    Raises:
        UserError: ``args.json`` is there, but is not a JSON mapping.
    """
    path = checkpoint.parent / "args.json"
    if not path.is_file():
        return None
    try:
        args = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(args, Mapping):
        raise UserError(f"{path}: expected a mapping, got {type(args).__name__}")
    return args


def backbone_state(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the backbone's weights by their names in the network.

    A host checkpoint holds them as ``backbone.*`` in its ``state_dict``; what else is there (projectors, queues,
    momentum copies) belongs to the method. A bare state dict is all backbone, but for a classifier's head.

    Raises:
        UserError: There are no weights.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise UserError(f"checkpoint {path}: its state_dict is no mapping of names to tensors")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    weights = {name.removeprefix("backbone."): v for name, v in tensors.items() if name.startswith("backbone.")}
    if not weights and "state_dict" not in content:
        weights = without_head(tensors)
    if not weights:
        found = ", ".join(sorted({name.split(".")[0] for name in state})[:_LISTED]) or "nothing"
        raise UserError(f"checkpoint {path}: no backbone.* weights in it; it holds {found}")
    return weights


def without_head(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights but for those of a classifier or projection head, by the names that heads have."""
    return {name: value for name, value in weights.items() if not name.startswith(_HEADS)}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network, each one exactly once.

    Raises:
        UserError: Weights are missing, left over or of another shape; the message lists them.
    """
    expected = network.state_dict()
    problems = [
        _listed("missing", [name for name in expected if name not in weights]),
        _listed("left over", [name for name in weights if name not in expected]),
        _listed(
            "of another shape",
            [
                f"{name} {tuple(weights[name].shape)} for {tuple(value.shape)}"
                for name, value in expected.items()
                if name in weights and weights[name].shape != value.shape
            ],
        ),
    ]
    if any(problems):
        raise UserError(f"checkpoint {path} does not fit the backbone: {'; '.join(p for p in problems if p)}")
    network.load_state_dict(weights)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{len(names)} {what} ({', '.join(names[:_LISTED])}{more})"


def _first(error: BaseException) -> str:
    """Return the first sentence of what a library says: the rest is advice on its own internals."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0] if lines else type(error).__name__
