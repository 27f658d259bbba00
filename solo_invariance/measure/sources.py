"""What ``data`` of the measuring command names: images, and groups of views."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from solo_invariance.config.measure import DataConfig, MeasureConfig
from solo_invariance.data.images import ImageFiles, ImageSource, TensorImages
from solo_invariance.data.latent_scenes.dataset import VIEW_SETS, LatentScenes, view_groups
from solo_invariance.data.view_sets import VIEW_SET_NAMES, ViewSet, read_view_set
from solo_invariance.errors import UserError
from solo_invariance.measure import Geometry, Group, ViewGroups

EMBEDDED = "latent_scenes"
VIEW_KINDS: dict[str, Literal["spatial", "appearance"]] = {
    "pose": "spatial",
    "light_direction": "appearance",
    "light_hue": "appearance",
}


@dataclass(frozen=True)
class MeasuredData:
    """The images and views of a measurement.

    Args:
        config: What names them.
        geometry: Their sizes.
        images: With their short side at ``geometry.resize``.
        views: Names of the view sets to measure.
        view_set: The one in files, if any.
    """

    config: DataConfig
    geometry: Geometry
    images: ImageSource
    views: tuple[str, ...]
    view_set: ViewSet | None

    def view_groups(self, name: str) -> ViewGroups:
        """Return a view set's groups, at the crop's size: nothing of a view is cut off that could be kept."""
        if self.view_set is not None:
            return _groups_of_files(self.view_set, self.geometry.crop_size)
        config = self.config
        thing = f"{name} (seed {config.seed}, {config.num_views} views) group"
        pixels = view_groups(name, config.num_groups, config.num_views, size=self.geometry.crop_size, seed=config.seed)
        groups = [
            Group(f"{thing} {index}", tuple(range(index * config.num_views, (index + 1) * config.num_views)))
            for index in range(config.num_groups)
        ]
        return ViewGroups(VIEW_KINDS[name], TensorImages(pixels.flatten(0, 1), name=f"{name} view"), groups)


def measured_data(settings: MeasureConfig, geometry: Geometry) -> MeasuredData:
    """Return what a configuration measures on.

    Raises:
        UserError: A key is missing or contradicts another, or a folder is not what was expected.
    """
    data = settings.data
    if data.name is None:
        if data.path is None:
            raise UserError(f"data: set data.path=FOLDER or data.name={EMBEDDED}")
        return MeasuredData(data, geometry, ImageFiles(Path(data.path), geometry.resize), _views(settings, ()), None)
    if data.name == EMBEDDED:
        if data.path is not None:
            raise UserError(f"data: {EMBEDDED} is embedded; set data.path or data.name={EMBEDDED}, one of them")
        scenes = LatentScenes(data.num_images, size=data.size, seed=data.seed)
        # Runs are compared image by image, which are known by their names.
        name = f"{EMBEDDED} (seed {data.seed}, {data.size} pixels) image"
        images = TensorImages(scenes.images, geometry.resize, name=name)
        return MeasuredData(data, geometry, images, _views(settings, VIEW_SETS), None)
    return _view_set(settings, geometry, data.name)


def _view_set(settings: MeasureConfig, geometry: Geometry, name: str) -> MeasuredData:
    data = settings.data
    if name not in VIEW_SET_NAMES:
        raise UserError(f"data.name={name}: choose the embedded {EMBEDDED}, or a view set: {', '.join(VIEW_SET_NAMES)}")
    if data.path is None:
        raise UserError(f"data.name={name}: set data.path to the folder that the view set is in")
    view_set = read_view_set(name, Path(data.path), None if data.kind is None else data.kind.name)  # type: ignore[arg-type]
    images = ImageFiles.of(view_set.paths, geometry.resize)
    return MeasuredData(data, geometry, images, _views(settings, (name,)), view_set)


def _views(settings: MeasureConfig, known: tuple[str, ...]) -> tuple[str, ...]:
    chosen = known if settings.views is None else tuple(settings.views)
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
        size = sum(path.stat().st_size for path in group.paths)  # as images are told apart
        yield Group(f"{group.name} ({size} bytes)", tuple(places[path] for path in group.paths))
