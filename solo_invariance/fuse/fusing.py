"""Making one backbone of several."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.fused import FusedBackbone
from solo_invariance.backbones.fused_checkpoint import FusionPlugin, _describe, build_fusion
from solo_invariance.backbones.fusion import FusionHead
from solo_invariance.errors import UserError


def fuse(
    members: Sequence[Backbone],
    plugin: FusionPlugin,
    mode: str,
    options: Mapping[str, Any] | None = None,
    features: Sequence[Tensor] | None = None,
    fitted_on: frozenset[str] = frozenset(),
) -> FusedBackbone:
    """Return the fusion of backbones.

    Args:
        members: At least one.
        plugin: A function of their features, or the class of a head.
        mode: Its name.
        options: Of the head.
        features: Of reference images, one (N, D_i) a member, to fit the head to.
        fitted_on: Digests of these images.

    Raises:
        UserError: A member is a fused backbone, the fusion does not fit the members, or it cannot be fitted.
    """
    for member in members:
        _describe(member)
    fusion = build_fusion(plugin, members, mode, options or {})
    if isinstance(fusion, FusionHead):
        if features is None:
            raise UserError(f"mode={mode} is fitted to reference images: name them, reference.path=FOLDER")
        try:
            fusion.fit(features)
        except ValueError as error:
            raise UserError(f"mode={mode}: {error}") from error
    return FusedBackbone(members, fusion, mode, fitted_on)
