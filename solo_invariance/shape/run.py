"""Shaping, from a backbone to a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.files.description import build_shaper
from solo_invariance.backbones.files.fused_checkpoint import require_place, require_same, save_fused
from solo_invariance.backbones.fused import as_backbone
from solo_invariance.backbones.knn_arguments import write_knn_arguments
from solo_invariance.backbones.load import config_of
from solo_invariance.backbones.shaping import ShapedNetwork, Shaper
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import require_texts
from solo_invariance.config.measure import ReferenceConfig
from solo_invariance.data.images import ImageSource, name_of_source
from solo_invariance.data.reference_images import drawn_images
from solo_invariance.data.sources import Images
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.features.ahead import in_words
from solo_invariance.measure.named import transforms_named
from solo_invariance.measure.sources import reference_images
from solo_invariance.plugins import load_plugin
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.results.files import SCHEMA, versions
from solo_invariance.results.run_directory import locked
from solo_invariance.results.shaping import ShapingResult
from solo_invariance.shape.ahead import ShapingAhead
from solo_invariance.shape.images import Column, ShapingImages
from solo_invariance.shape.reach import reached
from solo_invariance.shape.settings import ShapeSettings
from solo_invariance.transfer.tasks.table import classes_in_table

_DEFAULT = ShapeSettings()


class Shaped(NamedTuple):
    """A backbone whose invariances were changed.

    Args:
        backbone: On the CPU.
        result: What was reached, on images that nothing was fitted to.
        before: The backbone as it was.
        again: Returns it shaped with other options, given by name, of the same mode by the same images; what features
            vary by is not computed anew.
    """

    backbone: Backbone
    result: ShapingResult
    before: Backbone
    again: Callable[[Mapping[str, Any]], "Shaped"]


def shape(
    backbone: Backbone | nn.Module | BackboneConfig | Path | str,
    mode: str,
    transforms: Sequence[str] = (),
    *,
    reference: Images | ReferenceConfig | None = None,
    table: Path | str | None = None,
    column: str | None = None,
    settings: ShapeSettings = _DEFAULT,
    out: Path | str | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
    announce: Announce = say_nothing,
) -> Shaped:
    """Change what a trained backbone ignores, without training it, by unlabelled images.

    Args:
        backbone: A backbone, any module of one's own, a checkpoint, or the name of a model (``timm:NAME``).
        mode: ``erase``: what a linear probe reads of the factor is taken out (LEACE). ``dial``: the directions that it
            changes most, or least, are taken out, as far as ``strength`` says. ``centre``: each value of the column is
            centred and scaled by itself. ``orbit``: features are averaged over what the transforms make of an image. Or
            another distribution's, by its name.
        transforms: Names of transforms: the factors.
        reference: The images, without labels: a folder, a tensor (N, 3, H, W), a dataset, or ``latent_scenes``, the
            embedded ones. With a table, the folder that its images are in.
        table: A CSV or NPZ file that says of each image which value it has.
        column: The column of it that is a factor, too: a scanner, a site.
        settings: How to shape.
        out: Where to write the shaped checkpoint; what was reached goes beside it, to a file ``.json``.
        device: To compute on; ``auto`` is a GPU where there is one.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``ShapingAhead``.

    Raises:
        UserError: The backbone cannot be loaded, there is no such mode, or it does not take such factors or options;
            there are no images, or too few; or another thing is at ``out`` already.

    Example:
        >>> flips = shape("random:resnet10", "orbit", ["h_flip"])
        >>> flips.backbone.provenance.label, flips.result.passes_per_image
        ('random:resnet10 orbit:h_flip', 2)
    """
    require_texts(mode=mode, reference=reference, table=table, column=column, out=out)
    where = choose_device(device)
    job = _Shaping(mode, list(transforms), reference, table, column, settings, progress, where)
    job.check()
    if out is not None:
        require_place(Path(out), _files(backbone))
    loaded = _loaded(backbone, settings.seed)
    job.shaper(loaded)  # before any feature is computed
    with nullcontext() if out is None else locked(Path(out).parent, Path(out).name):
        images = job.images(loaded.to(where))
        announce(job.ahead(loaded, images, out))
        found = job.shaped(loaded, images)
        if out is not None:
            require_same(found.backbone, Path(out))
            save_fused(found.backbone, Path(out))
            found.result.write(Path(out).with_suffix(".json"))
    if out is not None:
        write_knn_arguments(Path(out))
    return found


@dataclass(frozen=True)
class _Shaping:
    """What is shaped how; arguments as ``shape``."""

    mode: str
    transforms: Sequence[str]
    reference: Images | ReferenceConfig | None
    table: Path | str | None
    column: str | None
    settings: ShapeSettings
    progress: Progress
    device: torch.device

    @property
    def plugin(self) -> type[Shaper]:
        """The shaper's class."""
        plugin = load_plugin("shapers", self.mode, "mode")
        if not isinstance(plugin, type) or not issubclass(plugin, Shaper):
            raise UserError(f"mode: the plugin {self.mode!r} is {plugin!r}, expected a subclass of Shaper")
        return plugin

    def check(self) -> None:
        """Raise UserError where the factors are not what the mode takes, or there are no images for it."""
        plugin = self.plugin
        transforms_named(list(self.transforms))
        if not self.transforms and self.column is None:
            asked = "transforms=[hue]" if "transforms" in plugin.takes else "column.table=FILE column.name=NAME"
            raise UserError(f"mode={self.mode}: what is to be changed? {asked}")
        if self.transforms and "transforms" not in plugin.takes:
            raise UserError(f"transforms: mode={self.mode} is for a column of a table, column.name=NAME")
        if self.column is not None and "column" not in plugin.takes:
            raise UserError(f"column.name={self.column}: mode={self.mode} is for transforms")
        if (self.column is None) != (self.table is None):
            raise UserError("column.table and column.name go together: the file, and the column of it")
        if self.reference is None and self.table is None and plugin.is_fitted:
            raise UserError(f"mode={self.mode} is fitted to images: name them, reference.path=FOLDER")

    def shaper(self, backbone: Backbone) -> Shaper:
        """Return the shaper for a backbone, not yet fitted."""
        return build_shaper(self.plugin, backbone, self.mode, self.settings.options)

    def images(self, backbone: Backbone) -> ShapingImages:
        """Return the images that it is fitted to, and those that are held out; none, where none were given."""
        column = None
        source: ImageSource | None = None
        if self.table is not None and self.column is not None:
            folder = self.reference.path if isinstance(self.reference, ReferenceConfig) else self.reference
            if not isinstance(folder, str | Path | None):
                raise UserError("column.table names images in a folder: reference.path=FOLDER")
            try:
                found = classes_in_table(Path(self.table), self.column, None if folder is None else str(folder))
            except UserError as error:
                raise UserError(_in_own_keys(str(error))) from error
            if len(found.names) < 2:
                raise UserError(f"{self.table}: {self.column} has one value, {found.names[0]}: nothing to tell apart")
            source, column = found.images, Column(self.column, found.names, found.classes)
        elif self.reference is not None:
            many = self.settings.reference_images if isinstance(self.reference, str | Path) else None
            size = backbone.input_spec.resize_for(backbone.input_spec.crop_size)
            source = drawn_images(reference_images(self.reference, size, self.settings.seed), many, self.settings.seed)
        named = transforms_named(list(self.transforms))
        return ShapingImages(backbone, source, named, column, self.settings, self.progress)

    def ahead(self, backbone: Backbone, images: ShapingImages, out: Path | str | None) -> ShapingAhead:
        """Return what is to be done."""
        num_images = len(images.fitted) + len(images.others)
        views, shaper = images.transforms, self.shaper(backbone)
        if not shaper.is_fitted:
            shaper.fit(images)
        factors = {} if views is None else {name: len(steps.weights) for name, steps in views.transforms.items()}
        if self.column is not None:
            factors[self.column] = len(images.groups)
        return ShapingAhead(
            backbone=in_words(backbone),
            mode=self.mode,
            factors=factors,
            images=name_of_source(images.source) if images.others else None,
            num_images=num_images,
            num_held_out=len(images.others),
            num_passes=num_images * images.num_views,
            passes_per_image=1 if shaper.views is None else shaper.views.num_views,
            device=str(self.device),
            out=None if out is None else str(out),
        )

    def shaped(self, backbone: Backbone, images: ShapingImages) -> Shaped:
        """Return the shaped backbone, with what was reached."""
        backbone.to(self.device)
        shaper = self.shaper(backbone)
        try:
            shaper.fit(images)
        except ValueError as error:
            raise UserError(f"mode={self.mode}: {error}") from error
        member = backbone if shaper.views is None else backbone.averaged_over(shaper.views)
        fitted_on = images.digests if shaper.is_fitted else frozenset()
        network = ShapedNetwork([member], shaper, self.mode, fitted_on, images.factors)
        shaped = as_backbone(network)
        result = self._result(backbone, shaped, images)

        def again(options: Mapping[str, Any]) -> Shaped:
            other = replace(self.settings, options={**self.settings.options, **options})
            return replace(self, settings=other).shaped(backbone, images)

        return Shaped(shaped.cpu(), result, backbone, again)

    def _result(self, backbone: Backbone, shaped: Backbone, images: ShapingImages) -> ShapingResult:
        network = shaped.network
        assert isinstance(network, ShapedNetwork)
        shaper, views = network.shaper, network.backbones[0].views
        found = reached(images, shaped) if images.others else {}
        factors = {
            name: {
                "kind": "column" if name == self.column else "transform",
                "levels": images.num_levels(name),
                **one._asdict(),
                "missed": shaper.missed(one),
            }
            for name, one in found.items()
        }
        return ShapingResult.from_content(
            {
                "schema": SCHEMA,
                "kind": "shape",
                "backbone": backbone.provenance.label,
                "label": shaped.provenance.label,
                "mode": self.mode,
                "options": dict(shaper.options),
                "num_features": shaped.num_features,
                "passes_per_image": 1 if views is None else views.num_views,
                "num_images": len(images.fitted) if self.plugin.is_fitted else 0,
                "num_held_out": len(images.others),
                "factors": factors,
                "seed": self.settings.seed,
                "versions": versions(),
            }
        )


def _in_own_keys(said: str) -> str:
    """Return what is said of a table with the keys of ``shape`` in place of those that tasks have for the same."""
    keys = {
        "task.options.targets": "column.table",
        "task.options.columns": "column.name",
        "task.path": "reference.path",
    }
    for theirs, own in keys.items():
        said = said.replace(theirs, own)
    return said


def _loaded(backbone: Backbone | nn.Module | BackboneConfig | Path | str, seed: int) -> Backbone:
    if isinstance(backbone, nn.Module):
        return backbone if isinstance(backbone, Backbone) else Backbone.of(backbone)
    return load_backbone(backbone, seed)


def _files(backbone: Backbone | nn.Module | BackboneConfig | Path | str) -> list[Path]:
    """Return the checkpoint that a backbone comes from, if any."""
    if isinstance(backbone, nn.Module):
        checkpoint = backbone.provenance.checkpoint if isinstance(backbone, Backbone) else None
    else:
        checkpoint = (backbone if isinstance(backbone, BackboneConfig) else config_of(backbone)).checkpoint
    return [] if checkpoint is None else [Path(checkpoint)]
