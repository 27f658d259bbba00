"""The backbones of a study: from checkpoints, fusions and ensembles of these, and all of them at one width, too."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from solo_invariance.backbones import Backbone, BackboneConfig, load_backbone, random_init_of
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.errors import UserError
from solo_invariance.features import ExtractionSettings
from solo_invariance.fuse import FuseSettings, fuse
from solo_invariance.measure.named import transforms_named
from solo_invariance.shape import ShapeSettings, shape
from solo_invariance.study.images import StudyImages
from solo_invariance.study.instances import Instance
from solo_invariance.study.plan import Plan, Pretraining, label_of

_KEPT = 512


@dataclass(frozen=True, eq=False)
class StudyBackbones:
    """The backbones that are evaluated.

    Args:
        plan: Of the study.
        checkpoints: Of all arms and seeds that are trained.
        images: Of the study.
        device: To compute on.
    """

    plan: Plan
    checkpoints: Mapping[Pretraining, Path]
    images: StudyImages
    device: str

    def of(self, instance: Instance) -> Backbone:
        """Return a backbone with all of its features: those of its members side by side."""
        parts = self._parts(instance)
        return parts[0] if len(parts) == 1 else self._fused(instance)

    @lru_cache(maxsize=_KEPT)  # noqa: B019 (heads alone: the members are shared)
    def projected(self, instance: Instance) -> Backbone:
        """Return a backbone at the study's width, fitted to the study's ``fuse_reference``.

        Raises:
            UserError: It has fewer features.
        """
        settings, width, parts = self.plan.settings, self.plan.settings.study.width, self._parts(instance)
        there = sum(part.num_features for part in parts)
        if there < width:
            raise UserError(f"study.width={width}: {instance.arm} has {there} features; take {there} at most")
        how = FuseSettings(width, extraction=ExtractionSettings(settings.batch_size, settings.num_workers))
        fused = fuse(parts, "projected", reference=self.images.fuse_reference, settings=how, device=self.device)
        return _labelled(fused, Instance(f"{instance.arm} at {width}-d", instance.seeds))

    def _parts(self, instance: Instance) -> list[Backbone]:
        if self.plan.roles[instance.arm] == "shaped":
            return [self._shaped(instance)]
        return [self._single(part) for part in self.plan.parts(instance)]

    @lru_cache(maxsize=_KEPT)  # noqa: B019
    def _fused(self, instance: Instance) -> Backbone:
        return _labelled(fuse(self._parts(instance), device=self.device), instance)

    @lru_cache(maxsize=_KEPT)  # noqa: B019
    def _shaped(self, instance: Instance) -> Backbone:
        settings, one = self.plan.settings, self.plan.settings.study.shaped[instance.arm]
        (part,) = self.plan.parts(instance)
        how = ShapeSettings(
            one.k, one.options, batch_size=settings.batch_size, reading=ReadingPolicy(settings.num_workers)
        )
        try:
            shaped = shape(
                self._single(part),
                one.mode,
                list(transforms_named(one.transforms)),
                reference=self.images.shape_reference,
                settings=how,
                device=self.device,
            )
        except UserError as error:
            raise UserError(f"study.shaped.{instance.arm}: {error}") from error
        return _labelled(shaped.backbone, instance)

    @lru_cache(maxsize=_KEPT)  # noqa: B019
    def _single(self, one: Pretraining) -> Backbone:
        arm, instance = self.plan.settings.study.arms[one.arm], Instance(one.arm, (one.seed,))
        if arm.role == "untrained":
            like = next(other for other in self.plan.alike(one) if other in self.checkpoints)
            return _labelled(random_init_of(self._single(like), one.seed), instance)
        return load_backbone(BackboneConfig(checkpoint=str(self.checkpoints[one]), label=label_of(instance)))


def _labelled(backbone: Backbone, instance: Instance) -> Backbone:
    backbone.provenance = replace(backbone.provenance, label=label_of(instance))
    return backbone
