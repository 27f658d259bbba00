"""What network a file's names and shapes look like, to say so where another one was asked for."""

import re
from collections.abc import Mapping

from torch import Tensor

_RESNETS: dict[tuple[tuple[int, ...], int], str] = {
    ((1, 1, 1, 1), 2): "resnet10",
    ((2, 2, 2, 2), 2): "resnet18",
    ((3, 4, 6, 3), 2): "torchvision:resnet34",
    ((3, 4, 6, 3), 3): "resnet50",
    ((3, 4, 23, 3), 3): "torchvision:resnet101",
    ((3, 8, 36, 3), 3): "torchvision:resnet152",
}
_VITS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}
_BLOCK = re.compile(r"(?:^|\.)layer([1-4])\.(\d+)\.conv([123])\.weight$")


def resembles(tensors: Mapping[str, Tensor]) -> str | None:
    """Return what to write for the network that a file's tensors look like, such as ``backbone.name=resnet50``.

    Args:
        tensors: By their names in the file, whatever is before the network's own.

    Returns:
        None where they look like none that is known by its look.
    """
    if any(".attention.attention.query." in name or "embedder.convolution" in name for name in tensors):
        return (
            "a network of Hugging Face transformers, whose names are its own; save timm's network of the same weights"
        )
    return _resnet(tensors) or _vit(tensors)


def _resnet(tensors: Mapping[str, Tensor]) -> str | None:
    blocks = [tuple(map(int, found.groups())) for found in map(_BLOCK.search, tensors) if found]
    if not blocks:
        return None
    depths = tuple(max((block + 1 for at, block, _ in blocks if at == stage), default=0) for stage in (1, 2, 3, 4))
    name = _RESNETS.get((depths, max(convolution for _, _, convolution in blocks)))
    stem = _shape(tensors, r"(?:^|\.)conv1\.weight$", 3)
    if name is None or stem is None:
        return None
    width = stem[0] / 64
    wide = "" if width == 1 or ":" in name else f" backbone.kwargs={{width: {width:g}}}"
    return f"backbone.name={name}{wide}"


def _vit(tensors: Mapping[str, Tensor]) -> str | None:
    patches = _shape(tensors, r"(?:^|\.)patch_embed\.proj\.weight$", 3)
    if patches is None or patches[0] not in _VITS or not any(re.search(r"blocks\.\d+\.attn\.", n) for n in tensors):
        return None
    return f"backbone.name=timm:vit_{_VITS[patches[0]]}_patch{patches[-1]}_224"


def _shape(tensors: Mapping[str, Tensor], name: str, channels: int) -> tuple[int, ...] | None:
    """Return the shape of the first convolution of so many input channels whose name ends so."""
    for found, value in tensors.items():
        if re.search(name, found) and not value.is_nested and value.ndim == 4 and value.shape[1] == channels:
            return tuple(value.shape)
    return None
