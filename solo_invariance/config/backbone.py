"""``backbone`` of a configuration."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from solo_invariance.config.checks import Checked, require_positive
from solo_invariance.config.kinds import FamilyChoice, FilePath, Names
from solo_invariance.errors import UserError


@dataclass
class ViewsConfig(Checked):
    """Views of each image over which a backbone's features are averaged, at test time; none by default.

    Args:
        family: Whose views: a name, a mapping that writes one out, or a list of these.
        num_views: How many.
    """

    section: ClassVar[str] = "backbone.views."

    family: FamilyChoice = None
    num_views: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "num_views", prefix="backbone.views.")


@dataclass
class BackboneConfig(Checked):
    """Which backbone.

    Args:
        checkpoint: A host or fused checkpoint, one of MoCo's own code, or a bare state dict (then ``name`` is needed).
        name: ``timm:NAME``, ``torchvision:NAME``, ``random:NAME``, or the architecture of a checkpoint without
            ``args.json``; it overrides that and the ``arch`` of MoCo's checkpoints.
        kwargs: Further arguments for building the network.
        layer: A layer to take the features from, averaged over positions, or a list of layers, whose features are put
            side by side; the network's output by default.
        crop_size: Side of the input in pixels, where the checkpoint does not say it.
        label: The name in tables and reports.
        views: Of each image, over which the features are averaged.
    """

    section: ClassVar[str] = "backbone."

    checkpoint: FilePath | None = None
    name: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    layer: Names = None
    crop_size: int | None = None
    label: str | None = None
    views: ViewsConfig = field(default_factory=ViewsConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "crop_size", prefix=self.section)
        if self.layer is None:
            return
        layers = self.layer if isinstance(self.layer, list) else [self.layer]
        if not layers or not all(isinstance(layer, str) and layer for layer in layers):
            raise UserError(
                f"backbone.layer={self.layer!r}: expected a layer's name or a list of names, such as [layer3,layer4]"
            )
        if len(set(layers)) < len(layers):
            twice = next(layer for layer in layers if layers.count(layer) > 1)
            raise UserError(f"backbone.layer={self.layer!r}: names {twice} twice")
