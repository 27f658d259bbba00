"""Exporting, from a backbone to files for others."""

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.chosen import choice_of
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import require_text, require_texts
from solo_invariance.config.export import is_program, require_license, require_place
from solo_invariance.device import device_of
from solo_invariance.errors import UserError
from solo_invariance.export.folder import require_free_folder, write_folder
from solo_invariance.export.program import require_free_file, write_program
from solo_invariance.export.written import Written
from solo_invariance.results import InvarianceResult, TransferResult
from solo_invariance.results.run_directory import locked

_Result = InvarianceResult | TransferResult
_RESULTS: tuple[type[_Result], ...] = (InvarianceResult, TransferResult)


def export(
    backbone: Backbone | nn.Module | BackboneConfig | Path | str,
    out: Path | str,
    *,
    measured: Sequence[Path | str] = (),
    license: str | None = None,
    seed: int = 0,
) -> Path:
    """Write a backbone for others: as a folder with a card, or as a network that needs no solo-invariance.

    A folder has ``model.safetensors``, ``config.json`` and ``README.md``, the card. ``load_backbone(FOLDER)`` gives the
    same features, bit for bit on the same machine; of timm's networks, ``timm.create_model("local-dir:FOLDER",
    pretrained=True)`` reads it, too. A file ``.pt2`` is torch.export's, for any number of images of the backbone's
    size; a ``.ts`` is TorchScript's, for images of any size. All is tried before it is written.

    Args:
        backbone: Any: plain, layered, fused, averaged over views (to a folder alone); a module of one's own (to a file
            alone), the path of a checkpoint, or the name of a model. It stays as it is.
        out: The folder, or the file, whose end says what it is.
        measured: Directories of its results, of ``measure`` or ``transfer``, for the card.
        license: Of the weights, as model hubs name it, such as ``mit``; the card says where it is not known.
        seed: Of the weights of ``random:NAME`` and of what is drawn for views, where the backbone is yet to be loaded.

    Returns:
        Where it is.

    Raises:
        UserError: There is something else at ``out``, the backbone cannot be exported to this, or the results are
            another backbone's.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     written = export("random:resnet10w025", f"{folder}/untrained")
        ...     load_backbone(written).num_features
        128
    """
    require_texts(out=out, license=license)
    require_free(out)
    require_license(license)
    one = _loaded(backbone, seed)
    return write_export(one, Path(out), [*_results_of(one, measured)], license)


def write_export(
    backbone: Backbone,
    path: Path,
    measured: Sequence[_Result] = (),
    license: str | None = None,
    key: str = "out",
) -> Path:
    """Write a backbone; arguments as ``export``, whose ``out`` others may call by another name.

    Args:
        backbone: On any device.
        path: Where to.
        measured: Its results.
        license: Of the weights.
        key: What the path is called, for messages.

    Raises:
        UserError: There is something else at the path, or the backbone cannot be exported to this.
    """
    on_cpu = backbone if device_of(backbone).type == "cpu" else copy.deepcopy(backbone).cpu()
    written = Written(on_cpu)
    with locked(path.parent, path.name):
        require_free(path, key, written)
        if is_program(path):
            write_program(written, path, key)
        else:
            write_folder(written, path, measured, license)
    return path


def require_free(out: Path | str, key: str = "out", written: Written | None = None) -> None:
    """Raise UserError where a name does not say what is to be written, or something else would be lost.

    Args:
        out: A folder, or a file.
        key: What it is called, for messages.
        written: What is to be written; None where that is not known yet.
    """
    require_place(out, key)
    check = require_free_file if is_program(out) else require_free_folder
    check(Path(out), key, written)


def _loaded(backbone: Backbone | nn.Module | BackboneConfig | Path | str, seed: int) -> Backbone:
    if isinstance(backbone, nn.Module):
        return backbone if isinstance(backbone, Backbone) else Backbone.of(backbone)
    return load_backbone(backbone, seed)


def _results_of(backbone: Backbone, measured: Sequence[Path | str]) -> Iterator[_Result]:
    """Yield what was measured of a backbone in some directories, at any depth.

    Raises:
        UserError: A directory has no results, or none of this backbone.
    """
    for directory in measured:
        require_text(directory, "measured")
        files = [(kind, file) for kind in _RESULTS for file in sorted(Path(directory).rglob(kind.usual_name))]
        if not files:
            raise UserError(f"measured={directory}: has no results of `measure` or `transfer`")
        results = [kind.read(file) for kind, file in files]
        own = [result for result in results if _is_of(result, backbone)]
        if not own:
            theirs = "; ".join(dict.fromkeys(f"{one.label}, {one.backbone.num_features} features" for one in results))
            raise UserError(
                f"measured={directory}: has results of other weights, layers or views ({theirs}), none of "
                f"{backbone.provenance.label} as it is exported, {backbone.num_features} features"
            )
        yield from own


def _is_of(result: _Result, backbone: Backbone) -> bool:
    """Return whether a result is of these weights, of the layers that are exported and in the same way."""
    said, now, chosen = result.backbone, backbone.describe(), choice_of(backbone.network)
    layers = chosen["layer"] if isinstance(chosen["layer"], list) else [chosen["layer"]]
    width = backbone.layers.get(said.layer or "", backbone.num_features)
    return (
        not said.untrained
        and all(getattr(said, key) == now[key] for key in (("sha256", "key") if said.sha256 else ("sha256", "name")))
        and (said.layer in layers and said.num_features == width)
        # Older results do not say how tokens became features: it could not be chosen.
        and all(getattr(said, key) in (now[key], chosen[key]) for key in ("pool", "tokens"))
        and json.dumps(said.views) == json.dumps(now["views"])
    )
