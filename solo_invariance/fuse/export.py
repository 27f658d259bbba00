"""Fused backbones as networks that run without this package."""

import io
import warnings
from pathlib import Path

import torch

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.fused import network_of
from solo_invariance.errors import UserError, reason_of
from solo_invariance.results.files import write_bytes

_SUFFIXES = (".pt2", ".ts")


def check_export(path: Path) -> None:
    """Raise UserError where a file's name does not say which format is wanted."""
    if path.suffix not in _SUFFIXES:
        raise UserError(f"export={path}: expected a name that ends in .pt2 (torch.export) or .ts (TorchScript)")


def export_network(backbone: Backbone, path: Path) -> None:
    """Write a fused backbone's network, from images (N, 3, H, W) in [0, 1] to features (N, D), for any N.

    ``torch.export.load(FILE).module()`` reads a ``.pt2``, which takes images of its input's size and refuses
    others; ``torch.jit.load(FILE)`` reads a ``.ts``, which takes images of any size: members resize for themselves.
    Neither looks at the values: of bytes, or of normalised images, they compute features that mean nothing.

    Args:
        backbone: Fused, on the CPU.
        path: Its end chooses the format.

    Raises:
        UserError: The format is unknown, or a member's architecture cannot be exported to it.
    """
    check_export(path)
    fused, size, buffer = network_of(backbone), backbone.input_spec.crop_size, io.BytesIO()
    try:
        with warnings.catch_warnings():  # about TorchScript's age, and about sizes that are the same in every call
            warnings.simplefilter("ignore")
            if path.suffix == ".pt2":
                shapes = ({0: torch.export.Dim("batch")},)
                torch.export.save(
                    torch.export.export(fused, (torch.rand(2, 3, size, size),), dynamic_shapes=shapes), buffer
                )
            else:
                # A trace holds what was done: all members resize an image that is no square.
                torch.jit.save(torch.jit.trace(fused, torch.rand(2, 3, size + 8, size + 16)), buffer)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        raise UserError(f"export={path}: a member cannot be exported ({reason_of(error)})") from error
    write_bytes(path, buffer.getvalue())
