"""The keys of ``solo-invariance export``."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from solo_invariance.config.backbone import CHECKPOINTS, BackboneConfig
from solo_invariance.config.checks import Checked
from solo_invariance.config.kinds import FilePath
from solo_invariance.errors import UserError

PROGRAMS = (".pt2", ".ts")
"""What the files are called that are networks which run without this package."""

_OTHER_FILES = (*CHECKPOINTS, ".onnx", ".tflite", ".pb", ".h5", ".engine", ".npz", ".pkl", ".zip", ".json", ".jit")
_SHOWN = 3
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass
class ExportConfig(Checked):
    """``solo-invariance export``.

    Args:
        backbone: What to write.
        measured: Directories of its results, which a folder's card shows.
        license: Of the weights, as model hubs name them.
        seed: Of the weights of ``random:NAME`` and of what is drawn for ``backbone.views``.
        out: Where to: a folder, or a file ``.pt2`` or ``.ts``.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    measured: list[FilePath] = field(default_factory=list)
    license: str | None = None
    seed: int = 0
    out: FilePath = "exported"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_format(self.out, "out")
        require_license(self.license)
        if self.measured and is_program(self.out):
            raise UserError(f"measured: is for the card of a folder; out={self.out} has none")
        if self.license is not None and is_program(self.out):
            raise UserError(f"license: is for the card of a folder; out={self.out} has none")


def is_program(out: str | os.PathLike[str]) -> bool:
    """Return whether a place is that of a network that runs without this package, by its name."""
    return PurePath(out).suffix.lower() in PROGRAMS


def require_format(out: str | os.PathLike[str], key: str) -> None:
    """Raise UserError where a name does not say what is to be written.

    Args:
        out: A folder, or a file whose end says what it is.
        key: That names it, for messages.
    """
    suffix = PurePath(out).suffix.lower()
    if suffix in _OTHER_FILES:
        folder = f"; a folder has model.safetensors and what it is, {key}={PurePath(out).with_suffix('')}"
        raise UserError(
            f"{key}={out}: expected a name that ends in .pt2 (torch.export) or .ts (TorchScript), or a folder"
            f"{folder if suffix in CHECKPOINTS else ''}"
        )


def require_place(out: str | os.PathLike[str], key: str) -> None:
    """Raise UserError where a name does not say what is to be written, or something else is there.

    Args:
        out: A folder, or a file whose end says what it is.
        key: That names it, for messages.
    """
    require_format(out, key)
    if is_program(out) and os.path.isdir(out):
        raise UserError(f"{key}={out}: is a directory, expected a file")
    if not is_program(out) and os.path.lexists(out) and not os.path.isdir(out):
        raise UserError(f"{key}={out}: is a file, expected a folder, or a name that ends in .pt2 or .ts")
    if not is_program(out) and os.path.isdir(out):
        # What is hidden does not count: the folder of a hub's repository has some.
        names = sorted(name for name in os.listdir(out) if not name.startswith("."))
        # The weights are written first: of an export that was interrupted, they are compared later.
        if names and not {"config.json", "model.safetensors"} & {*names}:
            raise holds_others(out, names, key)


def holds_others(out: str | os.PathLike[str], names: Sequence[str], key: str) -> UserError:
    """Return what to say of a folder that has files which ``export`` did not write.

    Args:
        out: The folder.
        names: Of what is in it.
        key: That names it.
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return UserError(
        f"{key}={out}: is there already and holds what export did not write ({', '.join(names[:_SHOWN])}{more}); "
        f"choose another {key}"
    )


def require_license(license: str | None) -> None:
    """Raise UserError where a license is none that model hubs take: a short name such as ``mit``."""
    if license is not None and not _LICENSE.fullmatch(license):
        raise UserError(
            f"license={license}: expected a short name as model hubs have it: mit, apache-2.0, cc-by-nc-4.0"
        )
