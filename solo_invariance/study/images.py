"""The images of a study, read or rendered once for all of its backbones."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from solo_invariance.config.measure import EMBEDDED, DataConfig
from solo_invariance.config.study import PresetConfig, StudyImagesConfig, ViewSetConfig, view_sets_of
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reference_images import drawn_images, rendered_images
from solo_invariance.data.sources import Images, image_source
from solo_invariance.errors import UserError
from solo_invariance.measure import ResizeCrop, ViewGroups
from solo_invariance.measure.sources import MeasuredData, measured_data


class ToMeasure(NamedTuple):
    """What ``measure`` is given.

    Attributes:
        images: A source, or a configuration of files; None for views alone.
        views: By name.
        reference: What features are whitened by; None for what ``measure`` takes itself.
        data: What the images are called in results.
    """

    images: Images | DataConfig | None
    views: dict[str, ViewGroups]
    reference: ImageSource | None
    data: DataConfig


@dataclass(frozen=True, eq=False)
class StudyImages:
    """The images that a preset names.

    Args:
        preset: It.
    """

    preset: PresetConfig

    @cached_property
    def view_sets(self) -> dict[str, ViewSetConfig]:
        """The view sets of files, by their labels."""
        return view_sets_of(self.preset.measure.views)

    @lru_cache(maxsize=4)  # noqa: B019 (of few sizes, for as long as the study)
    def to_measure(self, geometry: ResizeCrop) -> ToMeasure:
        """Return the images of transforms and the embedded view sets.

        Args:
            geometry: Sizes of images and crops.
        """
        how = self.preset.measure
        config = DataConfig(**vars(how.data))
        reference = self.reference(how.reference)
        if config.name != EMBEDDED:
            return ToMeasure(config, {}, reference, config)
        chosen = [entry for entry in how.views if isinstance(entry, str)]
        data = measured_data(config, geometry, chosen, how.protocol.value)
        own = reference or (None if data.own_reference is None else data.own_reference())
        return ToMeasure(data.images, {name: data.view_groups(name) for name in data.views}, own, config)

    @lru_cache(maxsize=16)  # noqa: B019
    def views_to_measure(self, label: str, geometry: ResizeCrop) -> ToMeasure:
        """Return a view set of files.

        Args:
            label: Its.
            geometry: Sizes of images and crops.
        """
        entry = self.view_sets[label]
        data: MeasuredData = measured_data(entry.data, geometry, None, self.preset.measure.protocol.value)
        return ToMeasure(
            None, {label: data.view_groups(str(entry.data.name))}, self.reference(entry.reference), entry.data
        )

    @cached_property
    def fuse_reference(self) -> ImageSource:
        """What projections to one width are fitted to.

        Raises:
            UserError: The preset names none.
        """
        found = self.reference(self.preset.fuse_reference)
        if found is None:
            raise UserError("study.fuse_reference: set its path, or name: latent_scenes")
        return found

    @cached_property
    def shape_reference(self) -> ImageSource:
        """What shaped arms are fitted to.

        Raises:
            UserError: The preset names none.
        """
        found = self.reference(self.preset.shape_reference)
        if found is None:
            raise UserError("study.shape_reference: set its path, or name: latent_scenes")
        return found

    def reference(self, images: StudyImagesConfig) -> ImageSource | None:
        """Return images that something is fitted to; None where none are named."""
        return self._named(images.path, images.name, images.num_images, images.size, images.seed)

    @lru_cache(maxsize=8)  # noqa: B019
    def _named(self, path: str | None, name: str | None, num_images: int, size: int, seed: int) -> ImageSource | None:
        if name is not None:
            return rendered_images(num_images, size, seed)
        return None if path is None else drawn_images(image_source(Path(path)), num_images, seed)
