"""The mean embedding of a backbone: its features, averaged over views of the image at test time."""

from collections.abc import Mapping, Sequence
from typing import Any

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.backbones.views import DrawnViews
from solo_invariance.errors import UserError
from solo_invariance.families.family import Family
from solo_invariance.families.from_config import family_from_config


def mean_embedding(
    backbone: Backbone,
    family: Family | str | Mapping[str, Any] | Sequence[Any],
    num_views: int = 32,
    seed: int = 0,
) -> Backbone:
    """Return a backbone whose features are another one's, averaged over views of the image that a family draws.

    It makes a backbone about as invariant as one that was trained with the family, at ``num_views`` times the cost. An
    early version of the paper's official code (Ericsson et al. 2022) compares it with fusions, over 32 views by the
    ventral or the dorsal family, cut from the square that the network sees, without a seed. It gave the ventral views
    to the network without normalising them, and could not make the dorsal ones; these mistakes are not repeated. Of a
    fused backbone, each member's features are averaged, then fused, as there.

    Args:
        backbone: Plain, layered or fused; it stays as it is, and shares its weights with what is returned.
        family: The family, its name, a mapping that writes one out, or a list of these, which are composed.
        num_views: How many views of each image.
        seed: Of what is drawn, which is the same for every image.

    Raises:
        UserError: There is no such family, no view, or the backbone averages over views already.

    Example:
        >>> from solo_invariance.backbones import load_backbone
        >>> backbone = load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=32)
        >>> mean_embedding(backbone, "ventral", num_views=2).describe()["views"]["num_views"]
        2
    """
    given = family if isinstance(family, Family | str | Mapping) else list(family)
    chosen = given if isinstance(given, Family) else family_from_config(given, where="backbone.views.")
    return averaged(backbone, DrawnViews(chosen, num_views, seed))


def averaged(backbone: Backbone, views: DrawnViews) -> Backbone:
    """Return the backbone that averages over views, its members, where it is a fused one."""
    if backbone.views is not None:
        raise UserError(f"{backbone.provenance.label}: its features are averaged over views already")
    if not isinstance(backbone.network, FusedNetwork):
        return backbone.averaged_over(views)
    network = backbone.network.with_members([averaged(member, views) for member in backbone.members])
    return Backbone(network, backbone.architecture, backbone.input_spec, backbone.provenance)
