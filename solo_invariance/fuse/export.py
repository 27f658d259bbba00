"""Fused backbones as networks that run without this package."""

import io
import warnings
from pathlib import Path

import torch

from solo_invariance.errors import UserError
from solo_invariance.fuse.fused import FusedBackbone
from solo_invariance.results import write_bytes

_SUFFIXES = (".pt2", ".ts")


def check_export(path: Path) -> None:
    """Raise UserError where a file's name does not say which format is wanted."""
    if path.suffix not in _SUFFIXES:
        raise UserError(f"export={path}: expected a name that ends in .pt2 (torch.export) or .ts (TorchScript)")


def export_network(fused: FusedBackbone, path: Path) -> None:
    """Write the network, from images (N, 3, S, S) in [0, 1] to features (N, D), for any N.

    S is ``fused.crop_size``. ``torch.export.load(FILE).module()`` reads a ``.pt2``, ``torch.jit.load(FILE)`` a ``.ts``.

    Args:
        fused: On the CPU.
        path: Its end chooses the format.

    Raises:
        UserError: The format is unknown, or a member's architecture cannot be exported to it.
    """
    check_export(path)
    images = torch.rand(2, 3, fused.crop_size, fused.crop_size)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():  # about TorchScript's age, and about sizes that are the same in every call
            warnings.simplefilter("ignore")
            if path.suffix == ".pt2":
                batch = torch.export.Dim("batch")
                torch.export.save(torch.export.export(fused, (images,), dynamic_shapes=({0: batch},)), buffer)
            else:
                torch.jit.save(torch.jit.trace(fused, images), buffer)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        raise UserError(f"export={path}: a member cannot be exported ({str(error).splitlines()[0]})") from error
    write_bytes(path, buffer.getvalue())
