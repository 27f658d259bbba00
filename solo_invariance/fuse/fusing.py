"""Making one backbone of several."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.files.description import build_fusion
from solo_invariance.backbones.files.fused_checkpoint import require_single
from solo_invariance.backbones.fused import FusedNetwork, as_backbone
from solo_invariance.backbones.fusion import FusionPlugin
from solo_invariance.errors import UserError


def fit_fusion(
    members: Sequence[Backbone],
    plugin: FusionPlugin,
    mode: str,
    options: Mapping[str, Any] | None = None,
    features: Sequence[Tensor] | None = None,
    fitted_on: frozenset[str] = frozenset(),
) -> Backbone:
    """Return the fusion of backbones, fitted to features that are given; ``fuse`` computes them.

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
        require_single(member)
    fusion = build_fusion(plugin, members, mode, options or {})
    if fusion.is_fitted:
        if features is None:
            raise UserError(f"mode={mode} is fitted to reference images: name them, reference.path=FOLDER")
        try:
            fusion.fit(features)
        except ValueError as error:
            raise UserError(f"mode={mode}: {error}") from error
    return as_backbone(FusedNetwork(members, fusion, mode, fitted_on))
