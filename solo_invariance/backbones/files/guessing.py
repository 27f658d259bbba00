"""What network a file's names and shapes look like, to say so where none was named, or another one.

Names are timm's or torchvision's, whatever is before them in the file: layouts have made them so.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import timm
from torch import Tensor

_RESNETS: dict[tuple[tuple[int, ...], int], str] = {
    ((1, 1, 1, 1), 2): "resnet10",
    ((2, 2, 2, 2), 2): "resnet18",
    ((3, 4, 6, 3), 2): "torchvision:resnet34",
    ((3, 4, 6, 3), 3): "resnet50",
    ((3, 4, 23, 3), 3): "torchvision:resnet101",
    ((3, 8, 36, 3), 3): "torchvision:resnet152",
}
"""By the blocks of each stage, and the convolutions of a block."""

_INNER_RESNETS: dict[tuple[tuple[int, ...], int, int], str] = {
    ((3, 4, 6, 3), 128, 128): "torchvision:wide_resnet50_2",
    ((3, 4, 23, 3), 128, 128): "torchvision:wide_resnet101_2",
    ((3, 4, 6, 3), 128, 4): "torchvision:resnext50_32x4d",
    ((3, 4, 23, 3), 256, 8): "torchvision:resnext101_32x8d",
    ((3, 4, 23, 3), 256, 4): "torchvision:resnext101_64x4d",
}
"""By the blocks of each stage, and the shape of the first 3x3 convolution, where that is not the usual one."""

_VITS: dict[int, tuple[str, int]] = {
    192: ("tiny", 12),
    384: ("small", 12),
    768: ("base", 12),
    1024: ("large", 24),
    1280: ("huge", 32),
    1408: ("giant", 40),
    1536: ("giant", 40),
}
"""By the width: what timm calls it, and how many blocks it has."""

_TORCHVISIONS_VITS = {768: "b", 1024: "l", 1280: "h"}

_CONVNEXTS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 6, 2), 40): "atto",
    ((2, 2, 6, 2), 48): "femto",
    ((2, 2, 6, 2), 64): "pico",
    ((2, 2, 8, 2), 80): "nano",
    ((3, 3, 9, 3), 96): "tiny",
    ((3, 3, 27, 3), 96): "small",
    ((3, 3, 27, 3), 128): "base",
    ((3, 3, 27, 3), 192): "large",
    ((3, 3, 27, 3), 256): "xlarge",
}
"""By the blocks of each stage, and the width of the first."""


def resembles(tensors: Mapping[str, Tensor]) -> str | None:
    """Return what to write for the network that a file's tensors look like, such as ``backbone.name=resnet50``.

    Args:
        tensors: By names that end as the network's do.

    Returns:
        None where they look like none that is known by its look.
    """
    shapes = _Shapes({name: tuple(value.shape) for name, value in tensors.items() if not value.is_nested})
    kinds: tuple[Callable[[_Shapes], str | None], ...] = (_resnet, _vit, _torchvisions_vit, _convnext)
    return next((found for kind in kinds if (found := kind(shapes)) is not None), None)


def is_transformers(names: Iterable[str]) -> bool:
    """Whether names are those of a network of Hugging Face transformers.

    Args:
        names: Of tensors.
    """
    return any(".attention.attention.query." in name or "embedder.convolution" in name for name in names)


@dataclass(frozen=True)
class _Shapes:
    """Shapes of tensors by their names."""

    by_name: Mapping[str, tuple[int, ...]]

    def of(self, ending: str) -> tuple[int, ...] | None:
        """Return the first shape whose name ends as a regular expression says, from the beginning of a part."""
        pattern = re.compile(rf"(?:^|\.){ending}$")
        return next((shape for name, shape in self.by_name.items() if pattern.search(name)), None)

    def depths(self, ending: str, stages: int = 4) -> tuple[int, ...]:
        """Return how many blocks there are in each stage, by names that end with the numbers of both."""
        found = [pattern for name in self.by_name if (pattern := re.search(rf"(?:^|\.){ending}$", name))]
        blocks = [(int(one[1]), int(one[2])) for one in found]
        first = min((stage for stage, _ in blocks), default=0)
        steps = sorted({stage - first for stage, _ in blocks})[:stages]
        return tuple(max(block + 1 for stage, block in blocks if stage - first == step) for step in steps)


def _written(name: str, kwargs: Mapping[str, Any]) -> str:
    """Return the keys that say so, as they are typed in a shell."""
    values = {key: f"{value:g}" if isinstance(value, float) else value for key, value in kwargs.items()}
    return " ".join([f"backbone.name={name}", *(f"backbone.kwargs.{key}={value}" for key, value in values.items())])


def _resnet(shapes: _Shapes) -> str | None:
    depths = shapes.depths(r"layer([1-4])\.(\d+)\.conv1\.weight")
    stem, inner = shapes.of(r"conv1\.weight"), shapes.of(r"layer1\.0\.conv2\.weight")
    if stem is None or inner is None or len(stem) != 4 or stem[1] != 3:
        return None
    convolutions = 3 if shapes.of(r"layer1\.0\.conv3\.weight") else 2
    width = stem[0] / 64
    usual = inner[0] == inner[1] == stem[0]
    if not usual and width == 1:
        name = _INNER_RESNETS.get((depths, inner[0], inner[1])) if convolutions == 3 else None
        return None if name is None else _written(name, {})
    found = _RESNETS.get((depths, convolutions))
    return None if found is None else _written(found, {} if width == 1 or ":" in found else {"width": width})


def _vit(shapes: _Shapes) -> str | None:
    patches = shapes.of(r"patch_embed\.proj\.weight")
    blocks = [int(found[1]) for name in shapes.by_name if (found := re.search(r"(?:^|\.)blocks\.(\d+)\.attn\.", name))]
    if patches is None or len(patches) != 4 or patches[1] != 3 or patches[0] not in _VITS or not blocks:
        return None
    size, depth = _VITS[patches[0]]
    name, kwargs = _vits_name(shapes, size, patches[-1]), dict[str, Any]()
    if not timm.is_model(name):
        name, kwargs["patch_size"] = f"vit_{size}_patch16_224", patches[-1]
        if not timm.is_model(name):
            return None
    if max(blocks) + 1 != depth:
        kwargs["depth"] = max(blocks) + 1
    if shapes.of("cls_token") is None:
        kwargs |= {"class_token": False, "global_pool": "avg", "fc_norm": False}
    elif shapes.of(r"fc_norm\.weight") is not None and "beit" not in name:
        kwargs["global_pool"] = "avg"
    side = _side(shapes, patches[-1])
    config = timm.get_pretrained_cfg(name)
    if side is not None and config is not None and side != config.input_size[-1]:
        kwargs["img_size"] = side
    return _written(f"timm:{name}", kwargs)


def _vits_name(shapes: _Shapes, size: str, patch: int) -> str:
    """Return what timm calls a ViT, by what it has beside the usual."""
    registers = shapes.of("reg_token") or shapes.of("register_tokens")
    if shapes.of("storage_tokens") is not None or (shapes.of("pos_embed") is None and registers is not None):
        return f"vit_{size}_patch{patch}_dinov3"
    if shapes.of(r"blocks\.0\.attn\.relative_position_bias_table") is not None:
        return f"beit_{size}_patch{patch}_224"
    if shapes.of("dist_token") is not None:
        return f"deit_{size}_distilled_patch{patch}_224"
    if shapes.of(r"blocks\.0\.ls1\.gamma") is not None and patch == 14:
        return f"vit_{size}_patch14_{'' if registers is None else f'reg{registers[1]}_'}dinov2"
    if shapes.of(r"norm_pre\.weight") is not None:
        return f"vit_{size}_patch{patch}_clip_224"
    return f"vit_{size}_patch{patch}_224"


def _side(shapes: _Shapes, patch: int) -> int | None:
    """Return the side of the images that a ViT's positions are of, in pixels; None where they are of no square."""
    positions = shapes.of("pos_embed")
    if positions is None or len(positions) != 3:
        return None
    # Positions of a token or two may stand before those of the patches.
    return next(
        (
            side * patch
            for tokens in range(3)
            if (side := math.isqrt(positions[1] - tokens)) ** 2 == positions[1] - tokens
        ),
        None,
    )


def _torchvisions_vit(shapes: _Shapes) -> str | None:
    patches = shapes.of(r"conv_proj\.weight")
    positions = shapes.of(r"encoder\.pos_embedding")
    if patches is None or positions is None or patches[0] not in _TORCHVISIONS_VITS:
        return None
    side = math.isqrt(positions[1] - 1) * patches[-1]
    name = f"torchvision:vit_{_TORCHVISIONS_VITS[patches[0]]}_{patches[-1]}"
    return _written(name, {} if side == 224 else {"image_size": side})


def _convnext(shapes: _Shapes) -> str | None:
    for pattern, source in (
        (r"stages\.(\d)\.(?:blocks\.)?(\d+)\.(?:conv_dw|dwconv)\.weight", "timm:"),
        (r"features\.(\d)\.(\d+)\.block\.0\.weight", "torchvision:"),
    ):
        depths = shapes.depths(pattern)
        first = shapes.of(pattern.replace(r"(\d)", "[01]").replace(r"(\d+)", "0"))
        name = _CONVNEXTS.get((depths, first[0])) if first else None
        if name is not None:
            second = "v2" if any(".grn." in one for one in shapes.by_name) else ""
            return _written(f"{source}convnext{second}_{name}", {})
    return None
