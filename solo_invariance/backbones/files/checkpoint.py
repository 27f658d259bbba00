"""Reading checkpoints that are not trusted: plain tensors only, and every weight accounted for."""

import hashlib
import pickle
import re
import shlex
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from solo_invariance.backbones.files.stand_ins import StandIn, entries_of, is_zip, stand_ins_for
from solo_invariance.config.checks import require_checkpoint
from solo_invariance.errors import UserError
from solo_invariance.results.files import as_text, read_json

FUSION_KEY = "fusion"
"""The entry of a checkpoint that makes it a fused one; see ``solo_invariance.backbones.files.fused_checkpoint``."""

LISTED = 6
"""How many names a message lists."""

_REFUSED = re.compile(r"GLOBAL ([\w.<>]+)")
# torch.save does not compress; weights that were compressed since shrink to no less than a half or so.
_LARGEST_EXPANSION = 10


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Load a checkpoint's tensors and plain data on the CPU, without running any code of its own.

    What is no plain data, but known to come along with weights (a configuration, a path, a score of NumPy's), is
    replaced by a ``StandIn``. A file of safetensors, whatever it is called, has nothing but tensors.

    Raises:
        UserError: The file is missing, truncated, no checkpoint, expands to many times its size, or names what is not
            known to be data.
    """
    try:
        require_checkpoint(path)
        content = load_file(path) if _is_safetensors(path) else _load(path)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(f"checkpoint {path}: {_refusal(str(error), path)}") from error
    except (Exception, SafetensorError) as error:  # a stranger's bytes can make the unpickler raise anything
        reason = error.strerror if isinstance(error, OSError) and error.filename else "truncated or not a checkpoint"
        raise UserError(f"checkpoint {path}: cannot be read ({reason})") from error
    if not isinstance(content, Mapping | StandIn):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise UserError(f"checkpoint {path}: expected a mapping with a state_dict, there is {found} in it")
    return dict(entries_of(content))


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON header and that, or is called so and nothing else."""
    with path.open("rb") as file:
        beginning = file.read(9)
    length = int.from_bytes(beginning[:8], "little")
    if beginning[8:] == b"{" and length < path.stat().st_size:
        return True
    return path.suffix == ".safetensors" and not is_zip(path) and beginning[:1] != b"\x80"


def _load(path: Path) -> Any:
    _require_archive_of_tensors(path)
    with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins_for(path)):  # type: ignore[arg-type]
        warnings.simplefilter("ignore")
        with path.open("rb") as file:  # by its name, torch takes some for safetensors
            return torch.load(file, map_location="cpu", weights_only=True)


def _require_archive_of_tensors(path: Path) -> None:
    """Raise UserError where an archive is another program's, or one that is made to fill the memory."""
    if not is_zip(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if not any(re.fullmatch(r"[^/]*/?data\.pkl", name) for name in names) or any("/code/" in name for name in names):
        raise UserError(
            f"checkpoint {path}: is an archive, but none of torch.save's (TorchScript, torch.export or NumPy?); write "
            f"the network's weights by torch.save(network.state_dict(), FILE)"
        )
    size, expanded = path.stat().st_size, sum(entry.file_size for entry in entries)
    if expanded > _LARGEST_EXPANSION * size:
        raise UserError(f"checkpoint {path}: refused, its {size} bytes expand to {expanded}, which torch.save's do not")


def _refusal(message: str, path: Path) -> str:
    """Return what is wrong with a file that torch refused to unpickle, and how its owner gets the weights alone."""
    # What torch says recommends what this package never does: to run what the file says.
    found = _REFUSED.search(message)
    asks = f"it asks for {found[1]}, which is not known to be plain data" if found else "it is no file of plain tensors"
    weights = path.with_name(f"{path.stem}.weights.pth")
    script = (
        f"import torch; content = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
        f"content = content.get('state_dict', content) if isinstance(content, dict) else content; "
        f"torch.save(content.state_dict() if hasattr(content, 'state_dict') else content, {str(weights)!r})"
    )
    return (
        f"refused, {asks}. If you trust whoever made the file, for this runs what is in it, write its weights alone "
        f"({weights.name}, from the key that has them): python -c {shlex.quote(script)}"
    )


def read_args(checkpoint: Path) -> Mapping[str, Any] | None:
    """Return the run's configuration that the host wrote beside the checkpoint, None where there is none.

    Raises:
        UserError: ``args.json`` is there, but cannot be read or is not a JSON mapping.
    """
    path = checkpoint.parent / "args.json"
    if not path.is_file():
        return None
    return as_text(read_json(path, "Restore it from the run, or remove it and set backbone.name."))


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network, each one exactly once.

    Raises:
        UserError: Weights are missing, left over, of another shape, of a kind that has no numbers, or not finite; the
            message lists them.
    """
    expected = network.state_dict()
    problems = [
        listed("missing", [name for name in expected if name not in weights]),
        listed("left over", [name for name in weights if name not in expected]),
        listed("of another shape", of_another_shape(expected, weights)),
    ]
    if any(problems):
        raise UserError(f"checkpoint {path} does not fit the backbone: {'; '.join(p for p in problems if p)}")
    numbers = {name: _numbers(value, expected[name], name, path) for name, value in weights.items()}
    expected.update(numbers)  # of the network's own, for that says by which version of its layers it is
    network.load_state_dict(expected)


def of_another_shape(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Return the names of weights that are not of the shape that is expected, with both."""
    return [
        f"{name} {shape_of(weights[name])} for {shape_of(value)}"
        for name, value in expected.items()
        if name in weights and shape_of(weights[name]) != shape_of(value)
    ]


def shape_of(value: Tensor) -> tuple[int, ...]:
    """Return a tensor's shape; of a nested one, which has none, something that no other has."""
    return (-1,) if value.is_nested else tuple(value.shape)


def _numbers(value: Tensor, like: Tensor, name: str, path: Path) -> Tensor:
    """Return a weight in the type that the network has it in.

    Raises:
        UserError: It has no numbers of its own, numbers of another kind, or some that are not finite there.
    """
    kind = odd_kind_of(value)
    if kind is None and like.is_floating_point() and not value.is_floating_point():
        kind = f"{value.dtype}".removeprefix("torch.")
    if kind is not None:
        raise UserError(f"checkpoint {path}: {name} is a tensor of kind {kind}, expected plain floating-point numbers")
    numbers = value.to(like.dtype)
    wrong = numbers.numel() - int(numbers.isfinite().sum())
    if wrong:
        raise UserError(
            f"checkpoint {path}: {name} holds {wrong} numbers of {numbers.numel()} that are not finite (NaN or "
            f"infinite); the training diverged, take an earlier checkpoint"
        )
    return numbers


def odd_kind_of(value: Tensor) -> str | None:
    """Return what kind of tensor it is that has no plain numbers to load; None for one that has."""
    kinds = {
        "nested": value.is_nested,
        "meta (without numbers)": value.is_meta,
        "quantised": value.is_quantized,
        "sparse": value.layout != torch.strided,
    }
    return next((kind for kind, is_it in kinds.items() if is_it), None)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def listed(what: str, names: list[str]) -> str:
    """Return a count of names and the first of them, for messages; nothing where there are none."""
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what} ({', '.join(names[:LISTED])}{more})"


def _first(error: BaseException) -> str:
    """Return the first sentence of what a library says: the rest is advice on its own internals."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0] if lines else type(error).__name__
