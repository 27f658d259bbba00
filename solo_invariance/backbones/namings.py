"""Layouts of checkpoints whose networks have other names than ours: each makes these the network's, and no more.

What lies around a network in a file, and where, is found without a layout. A layout is an entry point of the group
``solo_invariance.layouts``: a callable that is given the state dict of a network, by the names that the file has
behind whatever they all begin with, and our network, and that returns the same tensors by the names that timm or
torchvision have for them. What it does not know it returns as it is: it is for whoever reads the file to say that
something is left over. Where it returns another state dict than the network's, the next layout is asked.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import torch
from torch import Tensor, nn

Layout = Callable[[Mapping[str, Tensor], nn.Module], Mapping[str, Tensor]]
"""From a state dict of a file, and the network, to the same tensors by the network's names."""

_PIECE = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True)
class Renaming:
    """A layout that is a table: what in names becomes what.

    Args:
        source: The code whose names these are, and its file.
        rules: Regular expressions and what takes the place of each match, one behind the other. A name that becomes
            ``NAME[0]``, ``NAME[1]``, ... is a piece of the tensor ``NAME``, along its first dimension.

    Example:
        >>> layout = Renaming("nobody's", ((r"^query\\.(\\w+)$", r"qk.\\1[0]"), (r"^key\\.(\\w+)$", r"qk.\\1[1]")))
        >>> halves = {"key.weight": torch.ones(1, 2), "query.weight": torch.zeros(1, 2)}
        >>> layout(halves, nn.Identity())["qk.weight"].tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """

    source: str
    rules: tuple[tuple[str, str], ...]

    def __call__(self, state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
        """Return tensors by the names that the rules give them.

        Args:
            state: A state dict, by the file's names.
            network: Of any kind.

        Raises:
            ValueError: Two tensors get one name.
        """
        found: dict[str, dict[int, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            for pattern, new in self.rules:
                name = re.sub(pattern, new, name)
            piece = _PIECE.fullmatch(name)
            name, place = (piece[1], int(piece[2])) if piece else (name, 0)
            if place in found[name]:
                raise ValueError(f"two tensors become {name}")
            found[name][place] = value
        return {
            name: pieces[0] if list(pieces) == [0] else torch.cat([pieces[place] for place in sorted(pieces)])
            for name, pieces in found.items()
        }


def numbered_children(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors of ``torch.nn.Sequential(*network.children())``, by which lightly's examples take off heads.

    Args:
        state: A state dict whose names begin with the children's numbers.
        network: Whose children they are.
    """
    children = {str(number): name for number, (name, _) in enumerate(network.named_children())}

    def renamed(name: str) -> str:
        first, dot, rest = name.partition(".")
        return f"{children.get(first, first)}{dot}{rest}"

    return {renamed(name): value for name, value in state.items()}


def converted_by_timm(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Return a state dict as timm's own conversion for the network has it: of CLIP's names, DINOv2's registers, ...

    Args:
        state: A state dict of a code whose networks timm has, too.
        network: One of timm's; others have no conversion.

    Raises:
        ValueError: The conversion makes positions or patches of another size of the file's: another network.
    """
    module = sys.modules[type(network).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None or not module.__name__.startswith("timm."):
        return state
    with redirect_stdout(StringIO()):  # it says what it tries
        converted: Mapping[str, Tensor] = convert(dict(state), network)
    for name, value in converted.items():
        if _is_resampled(name, value, state):
            raise ValueError(f"{name} is of another size")
    return converted


def _is_resampled(name: str, value: Tensor, state: Mapping[str, Tensor]) -> bool:
    """Whether timm's conversion made positions or patches of another size of a file's.

    What it may take off is the positions of a token or two, which stand before the others.
    """
    if "pos" in name:
        sizes = {one.numel() for own, one in state.items() if "pos" in own}
        return sizes.isdisjoint(value.numel() + tokens * value.shape[-1] for tokens in range(3))
    # The same numbers in whatever order: as a convolution or as a linear layer, of pixels first or of channels.
    return "patch" in name and not any(_has_numbers_of(one, value) for one in state.values())


def _has_numbers_of(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and torch.equal(one.flatten().sort().values, other.flatten().sort().values)


cifar = Renaming(
    "ResNets for small images: https://github.com/kuangliu/pytorch-cifar, lightly's ResNetGenerator (resnet.py)",
    ((r"\.shortcut\.", ".downsample."),),
)
dinov2 = Renaming(
    "https://github.com/facebookresearch/dinov2, dinov2/models/vision_transformer.py: the blocks in block_chunks lists",
    ((r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),),
)
lightly_train = Renaming(
    "https://github.com/lightly-ai/lightly-train, _models/torchvision/convnext.py: torchvision's without their head",
    ((r"^_features\.", "features."),),
)
mmpretrain = Renaming(
    "https://github.com/open-mmlab/mmpretrain, mmpretrain/models/backbones/vision_transformer.py",
    (
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"^layers\.(\d+)\.", r"blocks.\1."),
        (r"\.ln([12])\.", r".norm\1."),
        (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
        (r"^ln1\.", "norm."),
    ),
)
transformers_vit = Renaming(
    "https://github.com/huggingface/transformers, models/{vit,vit_mae,vit_msn,deit,ijepa,dinov2,...}, and "
    "what version 5 calls these in memory",
    (
        (r"^embeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
        (r"^embeddings\.distillation_token$", "dist_token"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^(encoder\.layer|encoder\.layers|layers?)\.(\d+)\.", r"blocks.\2."),
        (r"\.attention\.(?:attention\.)?(?:query|q_proj)\.(\w+)$", r".attn.qkv.\1[0]"),
        (r"\.attention\.(?:attention\.)?(?:key|k_proj)\.(\w+)$", r".attn.qkv.\1[1]"),
        (r"\.attention\.(?:attention\.)?(?:value|v_proj)\.(\w+)$", r".attn.qkv.\1[2]"),
        (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        (r"\.mlp\.weights_in\.", ".mlp.w12."),
        (r"\.mlp\.gate_proj\.(\w+)$", r".mlp.w12.\1[0]"),
        (r"^(blocks.*\.mlp)\.up_proj\.(\w+)$", r"\1.w12.\2[1]"),
        (r"\.mlp\.(weights_out|down_proj)\.", ".mlp.w3."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
        (r"^layernorm\.", "norm."),
    ),
)
_transformers_dinov3 = Renaming(
    "https://github.com/huggingface/transformers, models/dinov3_vit/modeling_dinov3_vit.py",
    (
        (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
        (r"^embeddings\.register_tokens$", "storage_tokens"),
        (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
        (r"^(?:model\.)?layer\.(\d+)\.", r"blocks.\1."),
        (r"\.attention\.q_proj\.(\w+)$", r".attn.qkv.\1[0]"),
        (r"\.attention\.k_proj\.(\w+)$", r".attn.qkv.\1[1]"),
        (r"\.attention\.v_proj\.(\w+)$", r".attn.qkv.\1[2]"),
        (r"\.attention\.o_proj\.", ".attn.proj."),
        (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
        (r"\.mlp\.up_proj\.", ".mlp.fc1."),
        (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    ),
)


def transformers_dinov3(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors of a DINOv3 of transformers by the names of Meta's code, which timm knows.

    Its keys have no bias, where Meta's have one of zeros.

    Args:
        state: A state dict, by the names that transformers has.
        network: Of any kind.
    """
    biases = [name for name in state if name.endswith(".attention.q_proj.bias")]
    zeros = {name.replace(".q_proj.", ".k_proj."): torch.zeros_like(state[name]) for name in biases}
    return _transformers_dinov3({**zeros, **state}, network)


transformers_resnet = Renaming(
    "https://github.com/huggingface/transformers, models/resnet/modeling_resnet.py",
    (
        (r"^embedder\.embedder\.convolution\.", "conv1."),
        (r"^embedder\.embedder\.normalization\.", "bn1."),
        *((rf"^encoder\.stages\.{stage}\.layers\.", f"layer{stage + 1}.") for stage in range(4)),
        *((rf"\.layer\.{layer}\.convolution\.", f".conv{layer + 1}.") for layer in range(3)),
        *((rf"\.layer\.{layer}\.normalization\.", f".bn{layer + 1}.") for layer in range(3)),
        (r"\.shortcut\.convolution\.", ".downsample.0."),
        (r"\.shortcut\.normalization\.", ".downsample.1."),
    ),
)
transformers_convnext = Renaming(
    "https://github.com/huggingface/transformers, models/convnext/modeling_convnext.py",
    (
        (r"^embeddings\.patch_embeddings\.", "stem.0."),
        (r"^embeddings\.layernorm\.", "stem.1."),
        (r"^encoder\.stages\.(\d)\.downsampling_layer\.", r"stages.\1.downsample."),
        (r"^encoder\.stages\.(\d)\.layers\.", r"stages.\1.blocks."),
        (r"\.dwconv\.", ".conv_dw."),
        (r"\.layernorm\.", ".norm."),
        (r"\.pwconv([12])\.", r".mlp.fc\1."),
        (r"\.layer_scale_parameter$", ".gamma"),
        (r"^layernorm\.", "head.norm."),
    ),
)

RENAMINGS = (
    cifar,
    dinov2,
    lightly_train,
    mmpretrain,
    transformers_vit,
    _transformers_dinov3,
    transformers_resnet,
    transformers_convnext,
)
"""Our own tables."""
