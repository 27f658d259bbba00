"""A backbone as a network that runs without this package: torch.export's or TorchScript's."""

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.errors import UserError, reason_of
from solo_invariance.export.written import Written, example_images, gives_the_same
from solo_invariance.results.files import write_bytes

_ABOUT, _FINGERPRINT = "solo_invariance.json", "solo_invariance.fingerprint"
_OTHER_SIZE = (8, 16)  # pixels, more than the network's: no square


def write_program(written: Written, path: Path, key: str = "out") -> None:
    """Write a backbone's network, from images (N, 3, H, W) in [0, 1] to features (N, D), for any N.

    ``torch.export.load(FILE).module()`` reads a ``.pt2``, which takes images of its input's size and refuses
    others; ``torch.jit.load(FILE)`` reads a ``.ts``, which takes images of any size: it resizes them itself, and of a
    fused backbone each member does. Neither looks at the values: of bytes, or of normalised images, they compute
    features that mean nothing. Both are tried before they are written, with other numbers of images.

    Args:
        written: The backbone.
        path: Its end chooses the format.
        key: That names it, for messages.

    Raises:
        UserError: The network cannot be exported to this format, or would give other features there.
    """
    backbone = written.backbone
    if any(one.views is not None for one in backbone.modules() if isinstance(one, Backbone)):
        raise UserError(
            f"{key}={path}: features that are averaged over views need solo-invariance, which makes the views; export "
            f"to a folder, or without them"
        )
    # A fused network's members look at the images as these come.
    network = backbone.network if isinstance(backbone.network, FusedNetwork) else backbone
    about = {_ABOUT: json.dumps(written.content), _FINGERPRINT: written.fingerprint}
    exported, load, extra = _FORMATS[path.suffix.lower()]
    try:
        with _quiet():
            content = exported(network, backbone, about)
            again = load(io.BytesIO(content))
            same = {count: gives_the_same(again, network, example_images(backbone, count, extra)) for count in (1, 3)}
    except Exception as error:  # a network of anybody's can make an exporter raise anything
        what = "a member" if backbone.members else backbone.architecture.name
        raise UserError(f"{key}={path}: {what} cannot be exported ({reason_of(error)})") from error
    if wrong := [count for count, is_same in same.items() if not is_same]:
        raise UserError(
            f"{key}={path}: the exported network gives other features for {wrong[0]} images (it has a step that "
            f"depends on their number or values); export to a folder"
        )
    write_bytes(path, content)


def require_free_file(path: Path, key: str, written: Written | None = None) -> None:
    """Raise UserError where a file holds what would be lost.

    Args:
        path: It need not be there.
        key: That names it, for messages.
        written: What is to be written; None where that is not known yet.
    """
    if not path.exists():
        return
    before = _fingerprint_in(path)
    if before is None:
        raise UserError(f"{key}={path}: is there already, and export did not write it; choose another {key}")
    if written is not None and before != written.fingerprint:
        raise UserError(
            f"{key}={path}: holds another backbone (now {written}); choose another {key}, or remove the file"
        )


def _torch_export(network: nn.Module, backbone: Backbone, about: dict[str, str]) -> bytes:
    buffer, shapes = io.BytesIO(), ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (example_images(backbone),), dynamic_shapes=shapes)
    torch.export.save(program, buffer, extra_files=about)
    return buffer.getvalue()


def _torch_script(network: nn.Module, backbone: Backbone, about: dict[str, str]) -> bytes:
    # A trace holds what was done: all resize an image that is no square.
    buffer = io.BytesIO()
    traced = torch.jit.trace(network, example_images(backbone, extra=_OTHER_SIZE), check_trace=False)
    torch.jit.save(traced, buffer, _extra_files={name: text.encode() for name, text in about.items()})
    return buffer.getvalue()


_Exported = Callable[[nn.Module, Backbone, dict[str, str]], bytes]
# How a format is written and read, and by how much other images than the network's own may be larger.
_FORMATS: dict[str, tuple[_Exported, Callable[[Any], Callable[[Tensor], Tensor]], tuple[int, int]]] = {
    ".pt2": (_torch_export, lambda file: torch.export.load(file).module(), (0, 0)),
    ".ts": (_torch_script, torch.jit.load, (5, 3)),
}


def _fingerprint_in(path: Path) -> str | None:
    """Return the fingerprint in a file of ours; None for one of others."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(f"extra/{_FINGERPRINT}"))
            with archive.open(name) as entry:
                return entry.read(100).decode()
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters say to themselves: of TorchScript's age, of sizes that stay, whole graphs on errors."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
