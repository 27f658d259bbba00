"""Measuring in one call: a backbone, images, and what to measure; in memory, or to a directory that is gone on with."""

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from solo_invariance.backbones import Backbone, SideBySide, load_backbone, random_init_of
from solo_invariance.backbones.shaping import shaped_on
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import require_texts
from solo_invariance.config.measure import NOTHING_TO_MEASURE, DataConfig, ReferenceConfig
from solo_invariance.data.images import ImageSource, KnownImages, identify, name_of_source
from solo_invariance.data.sources import Images, with_interpolation, with_short_side
from solo_invariance.device import choose_device, device_of
from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache
from solo_invariance.features.ahead import in_words, memory_of_passes
from solo_invariance.features.digests import distinct_images, has_one_of, known_images
from solo_invariance.features.feature_stream import suitable_batch_size
from solo_invariance.measure.ahead import MeasurementAhead, passes_of
from solo_invariance.measure.comparison import (
    compare_runs,
    compared_layers,
    require_arrays,
    require_common,
    require_comparable,
)
from solo_invariance.measure.health import cautions_of_health, measure_health
from solo_invariance.measure.loop.groups import ViewGroups, measure_groups
from solo_invariance.measure.loop.plan import Plan, choose_images, grids_of, num_images
from solo_invariance.measure.measurement import METRICS, InvarianceMeasurement
from solo_invariance.measure.metrics.health import FeatureMetric
from solo_invariance.measure.metrics.prototypes import AnyMetric, of_views_and_features
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.named import metrics_named, transforms_named
from solo_invariance.measure.record import (
    TWIN,
    backbone_entry,
    cautions_of,
    cautions_of_reference,
    config_of_arguments,
    descriptions,
    identity_of,
    is_twin,
)
from solo_invariance.measure.results_so_far import ResultFiles, ResultsSoFar
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.sources import MeasuredData, contents_of, measured_data, reference_images
from solo_invariance.measure.statistics.feature_statistics import repetitions
from solo_invariance.measure.statistics.moments_cache import find_moments, keep_moments, key_of_moments
from solo_invariance.measure.transforms.transform import ResizeCrop, Transform
from solo_invariance.processes import Processes
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.results import InvarianceComparison, InvarianceResult
from solo_invariance.results.files import SCHEMA, versions
from solo_invariance.results.run_directory import open_run


class InvarianceResults(dict[str, InvarianceResult]):
    """Results by the name of their layer, which is empty for a backbone's output.

    Attributes:
        comparisons: With the untrained twin and with another run, as far as these were asked for.
    """

    def __init__(
        self, results: Mapping[str, InvarianceResult], comparisons: Sequence[InvarianceComparison] = ()
    ) -> None:
        super().__init__(results)
        self.comparisons = tuple(comparisons)

    @property
    def only(self) -> InvarianceResult:
        """The result, where there is one.

        Raises:
            ValueError: There are several, or none.
        """
        if len(self) != 1:
            raise ValueError(f"{len(self)} results ({', '.join(map(repr, self)) or 'none'}), expected one")
        return next(iter(self.values()))


def measure(
    backbone: Backbone | nn.Module | BackboneConfig | Path | str,
    images: Images | DataConfig | None = None,
    transforms: Sequence[str] | Mapping[str, Transform] | Literal["all"] | None = None,
    settings: MeasureSettings | None = None,
    *,
    reference: Images | ReferenceConfig | None = None,
    views: Sequence[str] | Mapping[str, ViewGroups] | None = None,
    metrics: Sequence[str] | Mapping[str, AnyMetric] | Literal["all"] = ("similarity", "distance"),
    twin: bool = False,
    against: Path | str | None = None,
    out: Path | str | None = None,
    device: torch.device | str = "auto",
    progress: Progress = no_progress,
    announce: Announce = say_nothing,
    processes: Processes | None = None,
    config: Mapping[str, Any] | None = None,
) -> InvarianceResults:
    """Measure what a backbone became invariant to.

    Args:
        backbone: A checkpoint's path or a model's name, as for ``load_backbone``; a ``Backbone``, which is moved to the
            device; or any other module, which takes normalised images (N, 3, S, S) and gives features (N, D): it is
            copied, and S is ``settings.geometry.crop_size``, 224 by default.
        images: What to measure on: a folder; a tensor (N, 3, H, W), uint8 or of floats in [0, 1], which are rounded to
            8 bits; a torch ``Dataset`` of such tensors or of Pillow's images, or of tuples that begin with one; an
            ``ImageSource``, whose images have their short side at ``geometry.resize``, or any under ``protocol=paper``
            where there is a reference; or a ``DataConfig``, which names
            the embedded dataset or a view set. All others are resized. None, where ``views`` has them.
        transforms: Names of plugins, ``all``, or transforms of your own by name; by default all, none for a view set.
        settings: How to measure, as ``MeasureSettings()`` says by default. Where it gives no sizes, these are the
            backbone's crop, out of images 8/7 as large.
        reference: The images of the features' mean and covariance, in the forms of ``images``, or a
            ``ReferenceConfig``, which names the embedded dataset; by default those that are measured on, or, of the
            embedded dataset, as many others.
        views: Which of the view sets of ``images`` to measure, all by default; or groups of views of your own, by name.
        metrics: Names of plugins, ``all``, or metrics by name, each configured or a class; they are left as they are.
            Similarity and distance are always measured; those of features, such as ``rankme``, are the result's
            ``health``, of the reference images.
        twin: Measure the same architecture with random weights beside it; with ``out``, compare the two.
        against: The directory of another run, to compare with; needs ``out``.
        out: A directory to write to. What an earlier run with the same arguments has done there is kept, whether it was
            begun in Python or by the command. By default, results stay in memory.
        device: ``auto`` is a GPU where there is one.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``MeasurementAhead``, when all that can be refused has been.
        processes: Those that share the work, which all call this; several need ``out``.
        config: What results record as their configuration, plain; by default it is made of the other arguments.

    Returns:
        The result of each layer, which ``OUT/LAYER/invariance.json`` holds with ``out``. Layers of the twin begin with
        ``untrained``. Nothing in processes but the first.

    Raises:
        UserError: What was given cannot be measured (the message says what, and which image or argument it is), or
            ``out`` holds results of other arguments.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
        >>> photographs = torch.rand(40, 3, 48, 64)
        >>> settings = MeasureSettings(k=4, geometry=ResizeCrop.of_crop(32))
        >>> result = measure(network, photographs, ["h_flip", "hue"], settings, device="cpu").only
        >>> list(result.transforms)
        ['h_flip', 'hue']
        >>> hue = result.transforms["hue"].similarity
        >>> -1 <= hue.low <= hue.mean <= hue.high <= 1
        True
    """
    require_texts(images=images, reference=reference, against=against, out=out)
    started = time.perf_counter()
    if isinstance(reference, ReferenceConfig) and reference.path is None and reference.name is None:
        reference = None
    settings, processes = settings or MeasureSettings(), processes or Processes()
    _require_out(out, against, processes)
    (chosen_metrics, health), chosen = _metrics(metrics), _transforms(transforms)
    loaded = _loaded(backbone, settings)
    measured = SideBySide({"": loaded, TWIN: random_init_of(loaded, settings.seed)}) if twin else loaded
    geometry = _geometry(settings, loaded)
    sized = settings.with_geometry(geometry)
    shared = _comparable_layers(against, measured.layers, twin, sized, geometry)
    data = measured_data(images, geometry, views, settings.protocol)
    chosen = _or_all(chosen, data, health)
    grids_of(chosen, settings, geometry)  # before anything is read
    _require_unseen(loaded, data, chosen, sized)
    if against is not None:
        names = [identify(data.images, index) for index in choose_images(len(data.images), sized)] if chosen else []
        require_common(Path(against), shared[0], names, chosen, data.views, health)
    interpolation = settings.interpolation_of(loaded.input_spec)
    source = with_interpolation(_reference(reference, data, settings, geometry), interpolation)
    config = config or config_of_arguments(
        settings,
        backbone=backbone,
        images=images,
        reference=reference,
        transforms=transforms,
        views=views,
        metrics=metrics,
        twin=twin,
        against=against,
        out=out,
        device=device,
        devices=processes.count,
    )
    results, about_images = ResultsSoFar(measured.layers), {}
    if out is not None:
        named = data.known_by_name if reference is None else isinstance(reference, str | Path | ReferenceConfig)
        contents = [contents_of(data.images, data.known_by_name), contents_of(source, named)]
        own = descriptions(chosen, {**chosen_metrics, **health}) | _own_views(views)
        known_by = "name" if data.known_by_name else "content"
        about_images = {"images": {"fingerprint": contents[0], "known_by": known_by}}
        directory = open_run(str(out), identity_of(config, loaded, geometry, contents, own))
        results = ResultFiles(measured.layers, directory)
    measured = measured.to(choose_device(str(device)))
    run = _Run(measured, sized, geometry, chosen, data, source, chosen_metrics, health, results, processes, progress)
    with results.locked() if processes.rank == 0 else nullcontext():
        if processes.rank == 0 and announce is not say_nothing:
            announce(run.ahead(loaded, out, own_reference=reference is None and data.own_reference is None))
        run.finish()
        if processes.rank > 0:
            return InvarianceResults({})
        seconds = time.perf_counter() - started
        found = {
            layer: run.result(layer, backbone_entry(loaded, layer, twin) | about_images, config, seconds)
            for layer in measured.layers
        }
        return InvarianceResults(found, [] if out is None else run.comparisons(Path(out), against, shared, twin))


@dataclass(frozen=True)
class _Run:
    """What is measured, and what was found so far."""

    backbone: Backbone | SideBySide
    settings: MeasureSettings
    geometry: ResizeCrop
    transforms: Mapping[str, Transform]
    data: MeasuredData
    reference: ImageSource
    metrics: Mapping[str, ViewMetric]
    health: Mapping[str, FeatureMetric]
    results: ResultsSoFar
    processes: Processes
    progress: Progress

    def finish(self) -> None:
        """Measure what is not there yet."""
        transforms = {name: one for name, one in self.transforms.items() if not self.results.is_done(name)}
        views = [name for name in self.data.views if not self.results.is_done(name)]
        if not transforms and not views and self.results.has_statistics:
            return
        self._measure(self._measurement(), transforms, views)

    def ahead(self, backbone: Backbone, out: Path | str | None, *, own_reference: bool) -> MeasurementAhead:
        """Return what is left to do.

        Args:
            backbone: That is measured, without its twin.
            out: Where results go.
            own_reference: Whether the reference images are the measured images.
        """
        settings, data, done = self.settings, self.data, self.results.is_done
        transforms = {name: one for name, one in self.transforms.items() if not done(name)}
        views = {name: count for name, count in data.num_views.items() if not done(name)}
        partial, goes_on = self.results.partial_results(), self.results.has_statistics
        plan = Plan(transforms, data.images, self.metrics, settings, self.geometry)
        rows = {name: partial.done(name) for name in transforms}
        others = sum(views.values()) + (0 if goes_on else len(self.reference))
        factor = 2 if isinstance(self.backbone, SideBySide) else 1
        named = f"{len(self.reference)} in {name_of_source(self.reference)}"
        memory = None
        if transforms or views:
            size, device = self.geometry.crop_size, device_of(self.backbone)
            memory = memory_of_passes(self.backbone, settings.batch_size or suitable_batch_size(device, size), size)
        return MeasurementAhead(
            backbone=in_words(backbone),
            images=name_of_source(data.images),
            num_images=len(plan.images) if self.transforms else len(data.images),
            num_available=len(data.images),
            num_asked=settings.num_images,
            reference="all of them" if own_reference else named,
            protocol=settings.protocol,
            budget=settings.budget,
            k=settings.k,
            target_se=settings.target_se,
            metrics=(*(self.metrics if self._has_changes else ()), *self.health),
            transforms=tuple(transforms),
            views=views,
            num_done=len(self.transforms) + len(data.num_views) - len(transforms) - len(views),
            passes=factor * (passes_of(plan, rows) + others),
            adaptive_passes=factor * (passes_of(plan, {}, "adaptive") + others),
            twin=factor == 2,
            memory=memory,
            device=str(device_of(self.backbone)),
            out=None if out is None else str(out),
            goes_on=goes_on,
        )

    def result(
        self, layer: str, about: Mapping[str, Any], config: Mapping[str, Any], seconds: float
    ) -> InvarianceResult:
        """Write the result of a layer of the features and return it."""
        transforms = {name: self.results.summary(layer, name) for name in self.transforms}
        views = {name: self.results.summary(layer, name) for name in self.data.views}
        health = self._health(layer) if self.health else {}
        content = {
            "schema": SCHEMA,
            "kind": InvarianceResult.kind,
            **about,
            "protocol": self.settings.protocol,
            "budget": self.settings.budget,
            "num_images": num_images(len(self.data.images), self.settings),
            "k": self.settings.k,
            "matched_width": min(self.settings.matched_width, self.backbone.layers[layer]),
            "geometry": self.geometry._asdict(),
            "config": dict(config),
            "versions": versions(),
            "seed": self.settings.seed,
            # Who finds everything done has not taken the time that it took.
            "timings": {"total_seconds": self.results.seconds_before(layer) or seconds},
            "reference": self.results.reference(layer),
            **({"health": health} if self.health else {}),
            "transforms": transforms,
            "views": views,
            "cautions": [
                *self.data.cautions,
                *self._cautions_of_number(),
                *self._cautions_of_reference(layer),
                *self._cautions_of_health(layer, health),
                *cautions_of({**transforms, **views}),
            ],
        }
        result = InvarianceResult.from_content(content)
        self.results.write(layer, result)
        return result

    def _health(self, layer: str) -> dict[str, Any]:
        """Return the estimates of the metrics of a layer's features, which are computed once."""
        found = self.results.health(layer)
        if found is None:
            moments = self.results.moments()[layer]
            found = {}
            for name, metric in self.health.items():
                with suppress(ValueError):  # too few images or features: a caution says so
                    found[name] = measure_health(metric, moments)
            self.results.keep_health(layer, found)
        return {name: one.estimate.as_dict() for name, one in found.items()}

    def _cautions_of_health(self, layer: str, found: Container[str]) -> list[str]:
        if not self.health:
            return []
        count, width = self.results.reference(layer)["num_images"], self.backbone.layers[layer]
        missing = ", ".join(name for name in self.health if name not in found)
        said = (
            [f"{missing}: {width} features of {count} images vary in too few directions to say it."] if missing else []
        )
        return [*said, *cautions_of_health(count, width)]

    def _cautions_of_number(self) -> list[str]:
        asked, there = self.settings.num_images, num_images(len(self.data.images), self.settings)
        if not self.transforms or asked is None or asked <= there:
            return []
        return [f"num_images={asked}: there are {there}, all of which were measured."]

    @property
    def _has_changes(self) -> bool:
        """Whether images are changed at all, or only features are looked at."""
        return bool(self.transforms or self.data.views)

    def _cautions_of_reference(self, layer: str) -> list[str]:
        if not self._has_changes:  # nothing is whitened
            return []
        found, width = self.results.reference(layer), self.backbone.layers[layer]
        holds_out = self.settings.quirks.holds_out
        repeats = repetitions(self.results.moments()[layer])
        return cautions_of_reference(
            found, width, holds_out=holds_out, shares_images=lambda: self._shares_images, repeats=repeats
        )

    @cached_property
    def _known_reference(self) -> KnownImages:
        identified = distinct_images if self.settings.quirks.holds_out else known_images
        return identified(self.reference, self.settings.reading.num_workers)

    @cached_property
    def _shares_images(self) -> bool:
        """Whether a measured image is in the reference."""
        known, size = frozenset(self._known_reference.digests), self.geometry.resize
        how = self.settings.interpolation_of(self.backbone.input_spec)
        measured = [self.data.view_groups(name).source for name in self.data.views]
        found: list[tuple[ImageSource, Sequence[int]]] = [(source, range(len(source))) for source in measured]
        if self.transforms:
            found.append((self.data.images, choose_images(len(self.data.images), self.settings)))
        return any(
            has_one_of(with_short_side(with_interpolation(source, how), size), indices, known)
            for source, indices in found
        )

    def comparisons(
        self, out: Path, against: Path | str | None, shared: Iterable[str], twin: bool
    ) -> list[InvarianceComparison]:
        """Compare each layer with its untrained twin and with the other run's, as far as these were asked for."""
        trained = [layer for layer in self.backbone.layers if twin and not is_twin(layer, twin)]
        pairs = [(out / layer, out / TWIN / layer, "comparison_untrained.json") for layer in trained]
        if against is not None:
            pairs += [(out / layer, Path(against) / layer, "comparison.json") for layer in shared]
        seed = self.settings.seed
        return [compare_runs(ours, theirs, seed, name, self.metrics) for ours, theirs, name in pairs]

    def _measure(
        self, measurement: InvarianceMeasurement, transforms: Mapping[str, Transform], views: Sequence[str]
    ) -> None:
        if self.processes.rank == 0 and not self.results.has_statistics:
            self.results.keep_statistics(measurement)
        partial = self.results.partial_results()
        found = measurement.measure(transforms, self.data.images, self.metrics, partial) if transforms else {}
        for name in views:
            groups = measure_groups(measurement, name, self.data.view_groups(name), self.metrics, partial)
            for layer, one in groups.items():
                found.setdefault(layer, {})[name] = one
        if self.processes.rank == 0:
            for layer, results in found.items():
                for name, one in results.items():
                    self.results.keep(layer, name, one)
        self.processes.wait()  # until nobody reads the partial results any more
        if self.processes.rank == 0:
            partial.drop(self.results.is_done)
        self.processes.wait()  # until they are gone

    def _measurement(self) -> InvarianceMeasurement:
        """Return the measurement with its statistics, which are computed once."""
        backbone, settings, arguments = self.backbone, self.settings, (self.settings, self.progress, self.processes)
        reference, workers = self._known_reference, settings.reading.num_workers
        if self.results.has_statistics:
            return InvarianceMeasurement(backbone, reference, *arguments, known=self.results.moments())
        cache = FeatureCache.default()
        lists_left_out = settings.reading.on_error == "skip"
        if cache is None or lists_left_out or not hasattr(self.reference, "digest"):  # which costs less than features
            return InvarianceMeasurement(backbone, reference, *arguments)
        key = key_of_moments(backbone, reference, self.geometry.crop_size, settings.precision, workers)
        known = find_moments(cache, key, backbone.layers, len(reference))
        everywhere = all(self.processes.gather([known is not None]))
        measurement = InvarianceMeasurement(backbone, reference, *arguments, known=known if everywhere else None)
        if not everywhere and self.processes.rank == 0:
            keep_moments(cache, key, measurement.moments)
        return measurement


def _reference(
    reference: Images | ReferenceConfig | None, data: MeasuredData, settings: MeasureSettings, geometry: ResizeCrop
) -> ImageSource:
    """Return the reference images: what was given, the data's own, or the measured images."""
    if reference is not None:
        return reference_images(reference, geometry.resize, settings.seed)
    if data.own_reference is not None:
        return data.own_reference()
    if data.for_views and not settings.quirks.holds_out:
        raise UserError(
            f"protocol={settings.protocol}: views are whitened by other, clean images: set reference.path to a folder "
            f"of them (reference=, in Python)"
        )
    return data.images


def _require_unseen(
    backbone: Backbone, data: MeasuredData, transforms: Mapping[str, Transform], settings: MeasureSettings
) -> None:
    """Raise UserError where a shaped backbone would be measured on an image that it was shaped by."""
    seen = shaped_on(backbone)
    if not seen:
        return
    sources: list[tuple[ImageSource, Sequence[int] | None]] = [
        (data.view_groups(name).source, None) for name in data.views
    ]
    if transforms:
        sources.append((data.images, choose_images(len(data.images), settings)))
    for source, indices in sources:
        whole = with_short_side(with_interpolation(source, "bilinear"), None)
        for index in range(len(source)) if indices is None else dict.fromkeys(indices):
            if has_one_of(whole, [index], seen):
                raise UserError(
                    f"{source.name_of(index)}: {backbone.provenance.label} was shaped by this image: what is measured "
                    f"on it says nothing of others; measure on images that reference.path of shape did not have"
                )


def _require_out(out: Path | str | None, against: Path | str | None, processes: Processes) -> None:
    if out is None and against is not None:
        raise UserError(f"against={against}: set out, too: runs are compared by their files")
    if out is None and processes.count > 1:
        raise UserError(f"{processes.count} processes share their work by files: set out")


def _metrics(chosen: Any) -> tuple[dict[str, ViewMetric], dict[str, FeatureMetric]]:
    named = {**METRICS, **chosen} if isinstance(chosen, Mapping) else metrics_named(chosen)
    return of_views_and_features(named)


def _transforms(chosen: Any) -> Mapping[str, Transform] | None:
    return chosen if chosen is None or isinstance(chosen, Mapping) else transforms_named(chosen)


def _loaded(backbone: Backbone | nn.Module | BackboneConfig | Path | str, settings: MeasureSettings) -> Backbone:
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, nn.Module):
        return (
            Backbone.of(backbone) if settings.geometry is None else Backbone.of(backbone, settings.geometry.crop_size)
        )
    return load_backbone(backbone, settings.seed)


def _geometry(settings: MeasureSettings, backbone: Backbone) -> ResizeCrop:
    geometry = settings.geometry or ResizeCrop.of_input(backbone.input_spec)
    if geometry.resize < geometry.crop_size:
        raise UserError(f"resize={geometry.resize} is smaller than crop_size={geometry.crop_size}")
    return geometry


def _comparable_layers(
    against: Path | str | None, layers: Iterable[str], twin: bool, settings: MeasureSettings, geometry: ResizeCrop
) -> list[str]:
    """Return which layers to compare with another run, after making sure that they can be."""
    if against is None:
        return []
    shared = compared_layers(Path(against), [layer for layer in layers if not is_twin(layer, twin)])
    here = {key: getattr(settings, key) for key in ("protocol", "k", "seed", "gallery")}
    require_comparable(Path(against), shared[0], {**here, "geometry": geometry._asdict()})
    for layer in shared:
        require_arrays(Path(against) / layer)
    return shared


def _or_all(
    chosen: Mapping[str, Transform] | None, data: MeasuredData, health: Mapping[str, FeatureMetric]
) -> Mapping[str, Transform]:
    """Return the transforms that were chosen; where none were, all of them, or none on images that are for views."""
    transforms = ({} if data.for_views else transforms_named("all")) if chosen is None else chosen
    if not transforms and not data.views and not health:
        raise UserError(NOTHING_TO_MEASURE)
    return transforms


def _own_views(views: Any) -> dict[str, dict[str, str]]:
    """Return hashes of groups of views that no name stands for."""
    if not isinstance(views, Mapping):
        return {}
    found = {name: f"{contents_of(one.source, False)} {list(one.groups)}" for name, one in views.items()}
    return {"views": found}
