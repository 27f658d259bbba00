"""What is measured on: images in any of their forms, and groups of views of one thing."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor

from solo_invariance.config.measure import EMBEDDED, DataConfig, ReferenceConfig, require_data
from solo_invariance.data.images import ImageFiles, ImageSource, TensorImages, digest_of, identify
from solo_invariance.data.latent_scenes.dataset import VIEW_SETS, view_groups
from solo_invariance.data.reference_images import drawn_images, rendered_images
from solo_invariance.data.sources import Images, image_source, with_short_side
from solo_invariance.data.view_sets import UNPUBLISHED, ViewSet, read_view_set
from solo_invariance.errors import UserError
from solo_invariance.measure.loop.groups import Group, ViewGroups
from solo_invariance.measure.transforms.transform import ResizeCrop
from solo_invariance.protocols import ProtocolName
from solo_invariance.results.files import fingerprint_of

_REFERENCE_SEED = 1_000_000
_ASSUMED_SPATIAL = (
    "view_folders: taken for spatial views, in which pixels move, since data.kind was left open; where their values "
    "change, set data.kind=appearance, and another out."
)
VIEW_KINDS: dict[str, Literal["spatial", "appearance"]] = {
    "pose": "spatial",
    "light_direction": "appearance",
    "light_hue": "appearance",
}


def sized_source(images: Images, short_side: int) -> ImageSource:
    """Return images, with their short side resized where they are not of a source that cannot.

    Args:
        images: A folder; a tensor (N, 3, H, W), uint8 or of floats in [0, 1]; a dataset of images, or of tuples that
            begin with one; or another source.
        short_side: In pixels.

    Raises:
        UserError: They are in none of these forms, or a folder has none.
    """
    source = with_short_side(image_source(images, short_side), short_side)
    if isinstance(images, Tensor) and isinstance(source, TensorImages):
        # Runs are compared image by image, which are known by their names.
        digest = hashlib.sha256(source.images.contiguous().numpy().tobytes()).hexdigest()[:8]
        source.name = f"tensor {digest} image"
    return source


@dataclass(frozen=True)
class MeasuredData:
    """The images and views of a measurement.

    Args:
        images: With their short side at ``geometry.resize``.
        groups: What gives each view set's groups, by its name; with their short side at the crop's size, since nothing
            of a view is to be cut off that could be kept.
        num_views: How many views each view set has, by its name.
        for_views: Whether the images are there for their views: transforms are measured only where they are asked for.
        known_by_name: Whether images of the same names are the same images.
        own_reference: What gives other images of the same kind, to whiten by where no others are given.
        cautions: What was taken for granted about the images, in sentences.
    """

    images: ImageSource
    groups: Mapping[str, Callable[[], ViewGroups]] = field(default_factory=dict)
    num_views: Mapping[str, int] = field(default_factory=dict)
    for_views: bool = False
    known_by_name: bool = True
    own_reference: Callable[[], ImageSource] | None = None
    cautions: tuple[str, ...] = ()

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the view sets."""
        return tuple(self.groups)

    def view_groups(self, name: str) -> ViewGroups:
        """Return a view set's groups."""
        return self.groups[name]()


def measured_data(
    images: Images | DataConfig | None,
    geometry: ResizeCrop,
    views: Sequence[str] | Mapping[str, ViewGroups] | None = None,
    protocol: ProtocolName = "clean",
) -> MeasuredData:
    """Return what is measured on.

    Args:
        images: In any of their forms; or what a configuration calls them: a folder, a view set in a folder, or the
            embedded dataset. None, where the views are given as groups: their images.
        geometry: Sizes of images and crops.
        views: Which of the view sets to measure, all by default; or groups of views, by name.
        protocol: Whether a view set has the groups of the official code.

    Raises:
        UserError: What was given contradicts itself, or a folder is not what was expected.
    """
    if isinstance(views, Mapping):
        return _own_views(images, geometry, views)
    if images is None or isinstance(images, DataConfig):
        return _configured(images or DataConfig(), geometry, views, protocol)
    _choose((), views)
    return MeasuredData(sized_source(images, geometry.resize), known_by_name=isinstance(images, str | Path))


def reference_images(reference: Images | ReferenceConfig, short_side: int, seed: int) -> ImageSource:
    """Return reference images as a source, with their short side resized.

    Args:
        reference: In any of their forms; or a configuration that names a folder, or the embedded dataset.
        short_side: In pixels.
        seed: Of the draw, where so many of a folder are wanted.

    Raises:
        UserError: They are in none of these forms, or a folder has none.
    """
    if not isinstance(reference, ReferenceConfig):
        return sized_source(reference, short_side)
    if reference.name is not None:
        count = reference.num_images or DataConfig().num_images
        return rendered_images(count, reference.size, reference.seed, short_side)
    assert reference.path is not None
    return drawn_images(sized_source(reference.path, short_side), reference.num_images, seed)


def contents_of(source: ImageSource, known_by_name: bool) -> str:
    """Return a hash of what images are known by: their names, or what their pixels are computed from."""
    known = identify if known_by_name else digest_of
    return fingerprint_of({"images": [known(source, index) for index in range(len(source))]})


def _own_views(
    images: Images | DataConfig | None, geometry: ResizeCrop, views: Mapping[str, ViewGroups]
) -> MeasuredData:
    groups = {name: partial(one.sized, geometry.crop_size) for name, one in views.items()}
    counts = {name: sum(len(group.images) for group in one.groups) for name, one in views.items()}
    if images is None and views:
        source = next(iter(views.values())).source
        return MeasuredData(sized_source(source, geometry.resize), groups, counts, for_views=True, known_by_name=False)
    data = measured_data(images, geometry, ())
    return replace(data, groups=groups, num_views=counts)


def _configured(
    data: DataConfig, geometry: ResizeCrop, views: Sequence[str] | None, protocol: ProtocolName
) -> MeasuredData:
    require_data(data)
    if data.name is None:
        assert data.path is not None
        _choose((), views)
        return MeasuredData(image_source(data.path, geometry.resize))
    if data.name == EMBEDDED:
        return _embedded(data, geometry, views)
    found = _view_set(data, geometry, views, protocol)
    assumed = data.kind is None and data.name in UNPUBLISHED
    return replace(found, cautions=(_ASSUMED_SPATIAL,)) if assumed else found


def _embedded(data: DataConfig, geometry: ResizeCrop, views: Sequence[str] | None) -> MeasuredData:
    if data.path is not None:
        raise UserError(f"data: {EMBEDDED} is embedded; set data.path or data.name={EMBEDDED}, one of them")
    chosen = _choose(VIEW_SETS, views)
    groups = {view: partial(_rendered_groups, view, data, geometry.crop_size) for view in chosen}
    images = rendered_images(data.num_images, data.size, data.seed, geometry.resize)
    counts = dict.fromkeys(groups, data.num_groups * data.num_views)
    return MeasuredData(images, groups, counts, own_reference=partial(_own_reference, data, geometry.resize))


def _own_reference(data: DataConfig, short_side: int) -> ImageSource:
    """Return other scenes than are measured, of the same number."""
    return rendered_images(data.num_images, data.size, data.seed + _REFERENCE_SEED, short_side)


def _rendered_groups(name: str, data: DataConfig, size: int) -> ViewGroups:
    thing = f"{name} (seed {data.seed}, {data.num_views} views) group"
    pixels = view_groups(name, data.num_groups, data.num_views, size=size, seed=data.seed)
    groups = [
        Group(f"{thing} {index}", tuple(range(index * data.num_views, (index + 1) * data.num_views)))
        for index in range(data.num_groups)
    ]
    return ViewGroups(VIEW_KINDS[name], TensorImages(pixels.flatten(0, 1), name=f"{name} view"), groups)


def _view_set(
    data: DataConfig, geometry: ResizeCrop, views: Sequence[str] | None, protocol: ProtocolName
) -> MeasuredData:
    name = str(data.name)
    if data.path is None:
        raise UserError(f"data.name={name}: set data.path to the folder that the view set is in")
    kind = None if data.kind is None else data.kind.name
    view_set = read_view_set(name, Path(data.path), kind, protocol)  # type: ignore[arg-type]
    groups = {view: partial(_groups_of_files, view_set, geometry.crop_size) for view in _choose((name,), views)}
    counts = dict.fromkeys(groups, sum(len(group.paths) for group in view_set.groups))
    return MeasuredData(ImageFiles.of(view_set.paths, geometry.resize), groups, counts, for_views=True)


def _choose(known: Sequence[str], views: Sequence[str] | None) -> tuple[str, ...]:
    chosen = tuple(known if views is None else views)
    for name in chosen:
        if not known:
            raise UserError("views: a folder of images has no view sets; set data.name too")
        if name not in known:
            raise UserError(f"views: there is no {name!r}; choose from {', '.join(known)}")
    return chosen


def _groups_of_files(view_set: ViewSet, size: int) -> ViewGroups:
    paths = view_set.paths
    places = {path: index for index, path in enumerate(paths)}
    return ViewGroups(view_set.kind, ImageFiles.of(paths, size), list(_groups(view_set, places)))


def _groups(view_set: ViewSet, places: dict[Path, int]) -> Iterator[Group]:
    for group in view_set.groups:
        try:
            size = sum(path.stat().st_size for path in group.paths)  # as images are told apart
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
        yield Group(f"{group.name} ({size} bytes)", tuple(places[path] for path in group.paths))
