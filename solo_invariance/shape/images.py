"""A backbone's features of reference images, of what transforms make of them, and by a column of a table."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.resize_crop import ResizeCrop
from solo_invariance.backbones.shaping import FactorMoments, OrbitFeatures
from solo_invariance.backbones.views import OrbitViews, Steps
from solo_invariance.data.images import ImageSource, KnownImages, TensorImages
from solo_invariance.data.reading import ImageReader, by_shape
from solo_invariance.data.sources import with_interpolation, with_short_side
from solo_invariance.errors import UserError
from solo_invariance.features.checks import require_finite_features
from solo_invariance.features.digests import distinct_images, known_images
from solo_invariance.features.feature_stream import FeatureStream, suitable_batch_size
from solo_invariance.measure.statistics.reference import clean_views, require_short_side
from solo_invariance.measure.transforms.transform import Transform
from solo_invariance.progress import Progress, no_progress
from solo_invariance.shape.moments import ColumnSums, TransformSums
from solo_invariance.shape.settings import ShapeSettings
from solo_invariance.transfer.tasks.splits import stratified_split

# Whatever the batch size: so many images are worked on at a time.
_CHUNK = 32
_NONE = TensorImages(torch.empty(0, 3, 1, 1, dtype=torch.uint8))


class Column(NamedTuple):
    """A column of a table of images.

    Args:
        name: Of the column.
        groups: Its values, in their order.
        values: (N,), the number of each image's value.
    """

    name: str
    groups: Sequence[str]
    values: Tensor


class ShapingImages:
    """The reference images of a shaper: four of five, by default, to fit it to, and the others to tell what it reaches.

    An image that repeats counts once.

    Args:
        backbone: That is to be shaped, on the device to compute on.
        source: N images; None for none, where the shaper is not fitted.
        transforms: Those that are asked for, by name.
        column: The column that is asked for, if any.
        settings: How to shape.
        progress: Told how many images are done.

    Attributes:
        transforms: Those that are asked for, with their steps; None without one.
        groups: The values of the column that is asked for; empty without one.
        seed: Of whatever a shaper draws.
        digests: What the images are known by.
        fitted: Which images a shaper is fitted to, by their indices.
        others: Which are held out.

    Raises:
        UserError: There are too few images, or a value of the column has fewer than two.
    """

    def __init__(
        self,
        backbone: Backbone,
        source: ImageSource | None,
        transforms: Mapping[str, Transform],
        column: Column | None,
        settings: ShapeSettings,
        progress: Progress = no_progress,
    ) -> None:
        self.backbone = backbone
        self.settings = settings
        self.seed = settings.seed
        self.groups: Sequence[str] = () if column is None else list(column.groups)
        self._geometry = _with_even_margin(ResizeCrop.of_input(backbone.input_spec))
        self._transforms = transforms
        self._grids = {name: one.grid(settings.k, self._geometry, "clean") for name, one in transforms.items()}
        self.transforms = self._as_views()
        self._column = column
        # In their own size, by which whatever else they are used for knows them.
        whole = _NONE if source is None else with_short_side(with_interpolation(source, "bilinear"), None)
        known = distinct_images(whole, settings.reading.num_workers)
        self.digests = frozenset(known.digests)
        self.source: KnownImages = known
        self._values = None if column is None or source is None else _of_distinct(column.values, whole, known)
        self.fitted, self.others = self._split() if source is not None else ([], [])
        self._progress = progress
        self._moments: dict[str, FactorMoments] | None = None

    def moments(self) -> Mapping[str, FactorMoments]:
        """Return the moments of each factor, by its name; one pass over the images, the first time."""
        if self._moments is None:
            self._moments = self.moments_of(self.backbone, self.fitted, "reference")
        return self._moments

    def orbits(self) -> Iterator[OrbitFeatures]:
        """Yield the features of all images that a shaper is fitted to, some at a time; one pass over them."""
        return (features for _, features in self.features_of(self.backbone, self.fitted, "reference"))

    def values_of(self, indices: Sequence[int]) -> Tensor:
        """Return the numbers of the column's values that some images have, (n,)."""
        if self._values is None:
            raise ValueError("there is no column")
        return self._values[list(indices)]

    @property
    def num_views(self) -> int:
        """How many forward passes an image takes."""
        return 1 + sum(map(len, self._grids.values()))

    @property
    def factors(self) -> list[str]:
        """The names of the transforms and the column that are asked for."""
        return [*self._transforms, *([] if self._column is None else [self._column.name])]

    def num_levels(self, name: str) -> int:
        """Return how many steps a transform has, or values the column."""
        return len(self._grids[name]) if name in self._grids else len(self.groups)

    def weights(self, name: str) -> Tensor:
        """Return how much each step of a transform stands for, (K,)."""
        return self._transforms[name].weights(self._grids[name])

    def coordinates(self, name: str) -> Tensor:
        """Return what tells the steps of a transform apart, (K, C)."""
        return self._transforms[name].coordinates(self._grids[name]).double()

    def moments_of(self, backbone: Backbone, indices: Sequence[int], what: str) -> dict[str, FactorMoments]:
        """Return the moments of each factor, by its name, of a backbone's features of some images.

        Args:
            backbone: On the device to compute on, of the same input.
            indices: Of the images.
            what: What to call the work.
        """
        sums: dict[str, TransformSums] = {}
        by_value: ColumnSums | None = None
        for rows, features in self.features_of(backbone, indices, what):
            width, device = features.clean.shape[1], features.clean.device
            for name, views in features.views.items():
                if name not in sums:
                    sums[name] = TransformSums(width, self.coordinates(name), self.weights(name)).to(device)
                sums[name].update(views)
            if self._values is not None:
                by_value = by_value or ColumnSums(width, len(self.groups)).to(device)
                by_value.update(features.clean, self._values[rows].to(device))
        found = {name: _on_cpu(one.compute()) for name, one in sums.items()}
        if self._column is not None and by_value is not None:
            found[self._column.name] = _on_cpu(by_value.compute())
        return found

    def features_of(
        self, backbone: Backbone, indices: Sequence[int], what: str
    ) -> Iterator[tuple[list[int], OrbitFeatures]]:
        """Yield indices and features of some images, and of what the transforms make of them, some at a time.

        Args:
            backbone: On the device to compute on, of the same input.
            indices: Of the images.
            what: What to call the work.

        Raises:
            UserError: An image is unreadable, or features of it are not finite; the message names it.
        """
        stream = self._stream(backbone)
        waiting: deque[list[int]] = deque()
        held: list[Tensor] = []
        done = 0
        for features in stream.stream(self._views(stream.device, indices, waiting)):
            require_finite_features(features, self.source, waiting[0])
            held.append(features)
            if len(held) == self.num_views:
                rows = waiting.popleft()
                done += len(rows)
                self._progress(what, done, len(indices))
                yield rows, self._by_transform(held)
                held = []

    def _stream(self, backbone: Backbone) -> FeatureStream:
        device = backbone.mean.device
        size = self.settings.batch_size or suitable_batch_size(device, self._geometry.crop_size)
        return FeatureStream(backbone, size, self.settings.precision)

    def _views(self, device: torch.device, indices: Sequence[int], waiting: deque[list[int]]) -> Iterator[Tensor]:
        """Make the views of images: the images themselves, then each transform at each of its steps."""
        how = self.backbone.input_spec.interpolation
        sized = with_short_side(with_interpolation(self.source, how), self._geometry.resize)
        chunks = [[*indices[start : start + _CHUNK]] for start in range(0, len(indices), _CHUNK)]
        reader = ImageReader(sized, self.settings.reading, len(indices))
        for chunk, (positions, images) in zip(chunks, reader.units(chunks), strict=True):
            require_short_side(images, self._geometry.resize, sized, [chunk[one] for one in positions])
            for places, stack in by_shape(images):
                rows = [chunk[positions[place]] for place in places]
                pixels = stack.to(device)
                waiting.append(rows)
                yield clean_views(pixels, self._geometry)
                shown = pixels.float().div(255)
                for name, transform in self._transforms.items():
                    of_rows = torch.stack([transform.parameters_of_row(self._grids[name], row) for row in rows], dim=1)
                    for parameters in of_rows:
                        yield transform.apply(shown, parameters, self._geometry)

    def _by_transform(self, held: Sequence[Tensor]) -> OrbitFeatures:
        clean, *views = held
        split = iter(views)
        of_each = {name: torch.stack([next(split) for _ in grid], dim=1) for name, grid in self._grids.items()}
        return OrbitFeatures(clean, of_each)

    def _as_views(self) -> OrbitViews | None:
        if not self._transforms:
            return None
        steps = {}
        for name, transform in self._transforms.items():
            rows = transform.parameters_of_row(self._grids[name], 0).tolist()
            steps[name] = Steps(tuple(map(tuple, rows)), tuple(transform.weights(self._grids[name]).tolist()))
        return OrbitViews(steps)

    def _split(self) -> tuple[list[int], list[int]]:
        classes = torch.zeros(len(self.source), dtype=torch.int64) if self._values is None else self._values
        counts = classes.bincount(minlength=max(1, len(self.groups)))
        if int(counts.min()) < 2:
            which = f"{self.groups[int(counts.argmin())]} has" if self.groups else "there are"
            raise UserError(
                f"reference: {which} {int(counts.min())} images, at least 2 are needed: one to look at last"
            )
        fitted, others = stratified_split(classes, self.settings.held_out, self.settings.seed)
        return fitted.tolist(), others.tolist()


def _with_even_margin(geometry: ResizeCrop) -> ResizeCrop:
    """Return sizes with as much cut off on one side as on the other, so that a flip of the image flips the crop."""
    crop_size = geometry.crop_size
    return ResizeCrop(crop_size + 2 * round((geometry.resize - crop_size) / 2), crop_size)


def _of_distinct(values: Tensor, source: ImageSource, known: KnownImages) -> Tensor:
    """Return the values (n,) of the distinct images of a source.

    Raises:
        UserError: An image is there twice, with two values.
    """
    digests = [*known_images(source).digests]
    first = {digest: index for index, digest in reversed([*enumerate(digests)])}
    for index, digest in enumerate(digests):
        if values[index] != values[first[digest]]:
            raise UserError(f"{source.name_of(index)}: is {source.name_of(first[digest])}, with another value")
    return values[torch.tensor([first[digest] for digest in known.digests])]


def _on_cpu(moments: FactorMoments) -> FactorMoments:
    return moments._replace(**{name: getattr(moments, name).cpu() for name in moments._fields[:-1]})
