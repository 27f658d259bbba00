"""``backbone`` of a configuration."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from solo_invariance.config.backbone_names import require_name
from solo_invariance.config.checks import LARGEST_SIDE, Checked, require_checkpoint, require_positive
from solo_invariance.config.kinds import FamilyChoice, FilePath, Names, chosen_from, in_words
from solo_invariance.config.older import with_todays_names
from solo_invariance.errors import UserError
from solo_invariance.plugins import discover

MODELS = ("timm:", "torchvision:", "hf:", "torch.hub:", "python:", "random:")
"""What the names of models begin with."""

CHECKPOINTS = (".ckpt", ".pth", ".pt", ".tar", ".bin", ".safetensors")
"""What files of weights are called."""

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
"""How images may be resized."""

POOLS = ("cls", "mean", "both")
"""What features are of a vision transformer's tokens: the class token, a mean, or the two side by side."""

TOKENS = ("patches", "all")
"""Which tokens a mean is of."""


@dataclass
class ViewsConfig(Checked):
    """Views of each image over which a backbone's features are averaged, at test time; none by default.

    Args:
        family: Whose views: a name, a mapping that writes one out, or a list of these.
        num_views: How many.
    """

    section: ClassVar[str] = "backbone.views."

    family: FamilyChoice = field(default=None, metadata=chosen_from(plugins="families"))
    num_views: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "num_views", prefix="backbone.views.")


@dataclass
class BackboneConfig(Checked):
    """Which backbone.

    Args:
        checkpoint: A host's or fused checkpoint, or any other code's (then ``name`` is needed, unless it says its
            ``arch``).
        name: ``timm:NAME``, ``torchvision:NAME``, ``hf:NAME``, ``torch.hub:REPOSITORY:NAME``,
            ``python:MODULE:CALLABLE``, a plugin's, ``random:`` and one of these; or the architecture of a checkpoint
            without ``args.json``; it overrides that and an ``arch`` that the checkpoint names.
        kwargs: Further arguments for building the network.
        trust: Whether code may be run that ``torch.hub:`` does not trust yet, or that a file names.
        weights: Which of a checkpoint's networks: what its names begin with, or a part of that, such as ``student``; by
            default the one that the method's authors evaluate.
        heads: Names of heads in it, besides those that are known as such: what is neither is refused.
        layer: A layer to take the features from, averaged over positions, or a list of layers, whose features are put
            side by side; the network's output by default.
        crop_size: Side of the input in pixels; by default what the checkpoint, or the model of that name, says.
        mean: Three channel means that the input is normalised with, in [0, 1] units; by default likewise.
        std: Three channel standard deviations; by default likewise.
        interpolation: How images are resized: ``bilinear``, ``bicubic`` or ``nearest``; by default likewise.
        crop_pct: The crop's side as a fraction of the short side that images are resized to, where
            transforms are measured; 7/8 by default.
        label: The name in tables and reports.
        views: Of each image, over which the features are averaged.
    """

    section: ClassVar[str] = "backbone."

    checkpoint: FilePath | None = None
    name: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    trust: bool = False
    weights: str | None = None
    heads: list[str] = field(default_factory=list)
    layer: Names = None
    pool: str | None = field(default=None, metadata=chosen_from(*POOLS))
    tokens: str | None = field(default=None, metadata=chosen_from(*TOKENS))
    crop_size: int | None = None
    mean: Any = field(default=None, metadata=in_words("list of three numbers"))
    std: Any = field(default=None, metadata=in_words("list of three numbers"))
    interpolation: str | None = field(default=None, metadata=chosen_from(*INTERPOLATIONS))
    crop_pct: float | None = None
    label: str | None = None
    views: ViewsConfig = field(default_factory=ViewsConfig)
    key: InitVar[str | None] = None  # what weights was called

    def __post_init__(self, key: str | None) -> None:
        if key is not None:
            named = with_todays_names("backbone", {"key": key, **({} if self.weights is None else {"weights": ""})})
            self.weights = named["weights"]
        super().__post_init__()
        self._check_input()
        for name, value in (("weights" if key is None else "key", self.weights), ("heads", self.heads)):
            if self.checkpoint is None and value:
                raise UserError(f"backbone.{name}: says what of a checkpoint is loaded; set backbone.checkpoint too")
        self._check_pooling()
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

    def _check_pooling(self) -> None:
        for key, choices in (("pool", POOLS), ("tokens", TOKENS)):
            value = getattr(self, key)
            if value is not None and value not in choices:
                raise UserError(f"backbone.{key}={value}: expected one of {', '.join(choices)}")
        if self.tokens is None:
            return
        if self.pool == "cls":
            raise UserError(f"backbone.tokens={self.tokens}: says what a mean is of, and backbone.pool=cls takes none")
        if self.pool is None and self.layer is None:
            raise UserError(
                f"backbone.tokens={self.tokens}: says what a mean is of; set backbone.pool=mean or backbone.layer too"
            )

    def _check_input(self) -> None:
        for key, check in INPUT_CHECKS.items():
            value = getattr(self, key)
            expected = None if value is None else check(value)
            if expected is not None:
                raise UserError(f"backbone.{key}={value}: expected {expected}")
        for key, statistic in (("mean", self.mean), ("std", self.std)):
            if statistic is not None and not 0 <= min(statistic) <= max(statistic) <= 1:
                hint = "; these are for 0 to 255, divide them by 255" if min(statistic) > 1 else ""
                raise UserError(f"backbone.{key}={statistic}: expected numbers between 0 and 1{hint}")


def config_of(source: Path | str) -> BackboneConfig:
    """Return what names a backbone by a single word: a model's name, or the path of a checkpoint, which may look so."""
    is_name = isinstance(source, str) and (source.startswith(MODELS) or source in _plugins())
    if is_name and not os.path.lexists(source):
        return BackboneConfig(name=str(source))
    return BackboneConfig(checkpoint=str(source))


def _plugins() -> set[str]:
    return {plugin.name for plugin in discover("backbones")}


def require_backbone(config: BackboneConfig) -> None:
    """Raise UserError where no backbone is named, or what is named is not there."""
    if config.checkpoint is not None:
        path = Path(config.checkpoint)
        with suppress(OSError):  # whoever reads it says why it cannot be looked at
            if not path.is_dir():
                require_checkpoint(path)
            elif not (path / "config.json").is_file():
                checkpoint_in(path)
    elif config.name is None:
        raise UserError("no backbone: set backbone.checkpoint=FILE or backbone.name=timm:NAME, hf:ORG/NAME, ...")
    if config.name is not None:
        require_name(config.name, config.trust)


def checkpoint_in(folder: Path) -> Path:
    """Return the only checkpoint in a folder that does not say itself what it is, as a run of solo-learn's has it.

    Raises:
        UserError: There is none, or several; the message says what there is.
        OSError: The folder cannot be looked at.
    """
    names = sorted(os.listdir(folder))
    found = [name for name in names if name.lower().endswith(CHECKPOINTS) and (folder / name).is_file()]
    if len(found) == 1:
        return folder / found[0]
    if found:
        last = max(found, key=lambda name: (_epoch(name), (folder / name).stat().st_mtime))
        raise UserError(
            f"checkpoint {folder}: is a directory with {len(found)} checkpoints ({_some(found)}): name one of them, "
            f"backbone.checkpoint={folder / last}"
        )
    holds = f"it has {_some(names)}" if names else "it is empty"
    raise UserError(
        f"checkpoint {folder}: is a directory with neither config.json nor a checkpoint in it ({holds}); name a file, "
        f"or a folder of `export`, timm, transformers or one run of solo-learn"
    )


def _epoch(name: str) -> int:
    """Return the epoch that solo-learn and Lightning write into the names of checkpoints; -1 for others."""
    found = re.findall(r"ep(?:och)?=(\d+)", name)
    return int(found[-1]) if found else -1


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _crop_size(value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return "a whole number of pixels"
    if value < 1:
        return "at least 1"
    return None if value <= LARGEST_SIDE else f"at most {LARGEST_SIDE} pixels"


def _statistic(value: Any) -> str | None:
    numbers = list(value) if isinstance(value, list | tuple) else []
    return None if len(numbers) == 3 and all(map(_is_number, numbers)) else "three numbers"


def _positive_statistic(value: Any) -> str | None:
    return _statistic(value) or (None if min(value) > 0 else "positive numbers")


def _interpolation(value: Any) -> str | None:
    return None if value in INTERPOLATIONS else f"one of {', '.join(INTERPOLATIONS)}"


def _crop_pct(value: Any) -> str | None:
    return None if _is_number(value) and 0.1 <= value <= 1 else "a fraction from 0.1 to 1"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e30 < value < 1e30  # not NaN, and within single precision


INPUT_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "crop_size": _crop_size,
    "mean": _statistic,
    "std": _positive_statistic,
    "interpolation": _interpolation,
    "crop_pct": _crop_pct,
}
"""What says of a value of an input's description what was expected instead; None where it is one."""
