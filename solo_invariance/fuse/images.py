"""What a fusion is fitted to and chosen by: reference images, and a task's training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.config.measure import EMBEDDED, ReferenceConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.data.images import ImageSource, KnownImages, name_of_source
from solo_invariance.data.reference_images import drawn_images, rendered_images
from solo_invariance.data.sources import Images, image_source
from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache, digests_of, member_features
from solo_invariance.features.extract import count_missing, require_varied
from solo_invariance.fuse.settings import FuseSettings
from solo_invariance.progress import Progress, no_progress
from solo_invariance.transfer.scorable import require_targets
from solo_invariance.transfer.task_data import TaskData, load_task

_REFERENCE = ReferenceConfig(name=EMBEDDED)  # others than backbones are trained on, measured at or scored on


@dataclass(frozen=True)
class FusionImages:
    """The images of a fusion, with the members' features of them.

    Args:
        mode: The fusion's name, for messages.
        members: On the device to compute on.
        reference: The images that it is fitted to: a folder, ``latent_scenes`` or other images; by default the task's
            training images.
        task_config: Names the task that decides, if one does.
        settings: How to fuse.
        progress: Told how far the work is.
    """

    mode: str
    members: Sequence[Backbone]
    reference: Images | None
    task_config: TaskConfig | None
    settings: FuseSettings
    progress: Progress = no_progress

    def of(self, chosen: Sequence[int]) -> "FusionImages":
        """Return the images of some of the members, in the size that these want."""
        members = [self.members[index] for index in chosen]
        return FusionImages(self.mode, members, self.reference, self.task_config, self.settings, self.progress)

    @property
    def labels(self) -> list[str]:
        """What the members are called."""
        return [member.provenance.label for member in self.members]

    @cached_property
    def task(self) -> TaskData | None:
        """The task that decides, if there is one."""
        if self.task_config is None:
            return None
        return load_task(self.task_config, self._crop_size, "clean", self.settings.extraction.num_workers)

    def required_task(self) -> TaskData:
        """Return the task.

        Raises:
            UserError: There is none, or its targets give nothing to choose by.
        """
        if self.task is None:
            raise UserError(f"mode={self.mode}: name the task that the members are chosen for, task.name=...")
        require_targets(self.task.train.targets, "training", self.task.task.kind, self.task.task.columns)
        return self.task

    @cached_property
    def task_features(self) -> list[Tensor]:
        """Of the task's training images, (N, D_i) a member."""
        return self._features(self.required_task().known_images("train"), "training features")

    def reference_features(self) -> tuple[list[Tensor], frozenset[str]]:
        """Return the features of the reference images, and the digests of all images that were looked at.

        Raises:
            UserError: There are none, or images of the task's test are among them.
        """
        if self.reference is None and self.task is None:
            raise UserError(f"mode={self.mode} is fitted to images: name them, reference.path=FOLDER or task.name=...")
        if self.reference is None:
            return self.task_features, frozenset(self.required_task().train_digests)
        source = self._reference_source(self.reference)
        known = digests_of(source, self.settings.extraction.num_workers)
        digests = frozenset(known)
        if self.task is not None:
            self.task.require_unseen(digests, "the fusion is fitted to")
            digests |= frozenset(self.task.train_digests)
        return self._features(KnownImages(source, known), "reference features"), digests

    def sources(self) -> dict[str, ImageSource]:
        """Return the images that features are computed of, by what they are."""
        found: dict[str, ImageSource] = {}
        if self.task is not None:
            found[f"training images of {self.task.label}"] = self.task.known_images("train")
        if self.reference is not None:
            source = self._reference_source(self.reference)
            found[f"reference images in {name_of_source(source)}"] = source
        return found

    def count_missing(self, source: ImageSource) -> int:
        """Return how many forward passes of members the features of a source's images take."""
        return count_missing(self.members, source, self.settings.extraction, self._cache)

    @property
    def _cache(self) -> FeatureCache | None:
        return FeatureCache.default() if self.settings.cache else None

    def _reference_source(self, images: Images) -> ImageSource:
        wanted = self.settings.reference_images
        if isinstance(images, str) and images == EMBEDDED:
            return rendered_images(wanted, _REFERENCE.size, _REFERENCE.seed)
        source = image_source(images)
        return drawn_images(source, wanted if isinstance(images, str | Path) else None, self.settings.seed)

    @property
    def _crop_size(self) -> int:
        return max(member.input_spec.crop_size for member in self.members)

    def _features(self, source: ImageSource, what: str) -> list[Tensor]:
        settings = self.settings.extraction
        found = member_features(self.members, source, self._crop_size, settings, self._cache, self.progress, what)
        for features, member in zip(found, self.members, strict=True):
            require_varied(features, member)
        return found
