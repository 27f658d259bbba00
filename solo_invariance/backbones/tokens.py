"""The tokens of vision transformers: which stand for the image, which for its patches, and features pooled of them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.errors import UserError

_PREFIX = re.compile(r"(cls|class|dist|reg|register|storage)_tokens?")
_CLASS = re.compile(r"(cls|class)_token\d*")


@dataclass(frozen=True)
class Pooling:
    """How the tokens (N, T, C) of a vision transformer become features.

    Args:
        pool: ``cls`` takes the class token, ``mean`` the mean of tokens, ``both`` the two side by side; None leaves
            the output as the network makes it, and takes the mean of a layer's tokens.
        tokens: What the mean is of: ``patches``, or ``all``, class and register tokens included; None for the patches
            where ``pool`` is given, and all where it is not.
    """

    pool: str | None = None
    tokens: str | None = None

    @property
    def averaged(self) -> str:
        """Which tokens the mean is of."""
        return self.tokens or ("all" if self.pool is None else "patches")

    def of(self, tokens: Tensor, kinds: "TokenKinds", where: str) -> Tensor:
        """Return features (N, C) of tokens (N, T, C), or (N, 2C) of both.

        Args:
            tokens: Of square images.
            kinds: Of the network's tokens.
            where: What has them, to begin messages with.

        Raises:
            UserError: There is no class token among them, or it is not known which are of patches.
        """
        prefix = kinds.before_patches(tokens.shape[1])
        found = []
        if self.pool in ("cls", "both"):
            if not kinds.has_class or prefix in (None, 0):
                raise UserError(f"backbone.pool={self.pool}: {where} has no class token; backbone.pool=mean needs none")
            found.append(tokens[:, 0])
        if self.pool != "cls":
            if self.averaged == "patches" and prefix in (None, tokens.shape[1]):
                raise UserError(
                    f"backbone.pool={self.pool}: none of the {tokens.shape[1]} tokens of {where} are known to be of "
                    f"patches; backbone.tokens=all takes the mean of all"
                )
            found.append((tokens[:, prefix:] if self.averaged == "patches" else tokens).mean(dim=1))
        return torch.cat(found, dim=1)


@dataclass(frozen=True)
class TokenKinds:
    """Which tokens stand before those of the patches in a network's sequences.

    Args:
        prefix: How many: class, distillation and register tokens.
        has_class: Whether the first of them is a class token.
    """

    prefix: int
    has_class: bool

    @classmethod
    def of(cls, network: nn.Module) -> "TokenKinds":
        """Return a network's, as it says itself, as timm's do, or as its parameters' names and shapes say."""
        tokens = {name.rpartition(".")[2]: value for name, value in network.named_parameters()}
        counted = sum(value.shape[-2] for name, value in tokens.items() if _PREFIX.fullmatch(name) and value.ndim > 1)
        has_class = bool(getattr(network, "has_class_token", any(map(_CLASS.fullmatch, tokens))))
        return cls(int(getattr(network, "num_prefix_tokens", counted or has_class)), has_class)

    def before_patches(self, length: int) -> int | None:
        """Return how many tokens of a sequence stand before those of a square image's patches; None if unknown.

        Some layers have the patches alone, before the others join them; and some have those others alone.
        """
        if length == self.prefix:
            return length
        for prefix in (self.prefix, 0):
            if length > self.prefix and math.isqrt(length - prefix) ** 2 == length - prefix:
                return prefix
        return None


def own_pool(network: nn.Module) -> str | None:
    """Return how a vision transformer pools its tokens itself, as timm and torchvision say it; None for other networks.

    Args:
        network: ``token`` and ``avg`` are timm's words for what is ``cls`` and ``mean`` here; it has others, too.
    """
    if TokenKinds.of(network).prefix == 0 and not hasattr(network, "num_prefix_tokens"):
        return None
    word = getattr(network, "global_pool", "token" if _has_encoder(network) else None)
    return {"token": "cls", "avg": "mean"}.get(word, word) if isinstance(word, str) else None


class PooledTokens(nn.Module):
    """A vision transformer whose features are pooled of its last tokens, after its last norm, in a chosen way.

    What the network has after its own pooling (another norm, say) is applied to what was pooled here, too.

    Args:
        network: It tells its last tokens (N, T, C): a method ``forward_features`` returns them, as in timm, or a
            mapping of them by DINOv2's names; or a module ``encoder`` does, as in torchvision.
        pooling: In which way.
        called: What messages call the network; a network of its class, by default.

    Raises:
        UserError: It is no such network.
    """

    def __init__(self, network: nn.Module, pooling: Pooling, called: str | None = None) -> None:
        super().__init__()
        self._called = called or f"a {type(network).__name__}"
        self.network = network
        self.pooling = pooling
        self._kinds = TokenKinds.of(network)
        if not callable(getattr(network, "forward_features", None)) and not _has_encoder(network):
            raise self._no_tokens()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, C) of images (N, 3, S, S), or (N, 2C) of the class token and the mean.

        Raises:
            UserError: The network has no tokens at its end, or none of the kind that is asked for.
        """
        tokens = _last_tokens(self.network, images)
        if not isinstance(tokens, Tensor) or tokens.ndim != 3:
            raise self._no_tokens()
        pooled = self.pooling.of(tokens, self._kinds, "the network")
        return torch.cat([self._rest(part, tokens) for part in pooled.split(tokens.shape[2], dim=1)], dim=1)

    def _rest(self, pooled: Tensor, tokens: Tensor) -> Tensor:
        """Return what the network makes of a pooled token (N, C)."""
        head = getattr(self.network, "forward_head", None)
        if head is None or getattr(self.network, "attn_pool", None) is not None:
            return pooled
        # Tokens that are all equal: whichever way the network pools them, if it does, the pooled token comes out.
        rest: Tensor = head(pooled[:, None].expand(tokens.shape), pre_logits=True)
        return rest if rest.ndim == 2 else rest[:, 0]

    def _no_tokens(self) -> UserError:
        return UserError(
            f"backbone.pool={self.pooling.pool}: {self._called} has no tokens at its end, as vision transformers have; "
            f"leave backbone.pool out"
        )


def _has_encoder(network: nn.Module) -> bool:
    return isinstance(getattr(network, "encoder", None), nn.Module) and TokenKinds.of(network).prefix > 0


def _last_tokens(network: nn.Module, images: Tensor) -> Any:
    forward = getattr(network, "forward_features", None)
    if forward is None:
        return _output_of(network, "encoder", images)
    tokens = forward(images)
    if isinstance(tokens, Mapping) and "x_norm_patchtokens" in tokens:
        parts = [tokens["x_norm_clstoken"][:, None], tokens.get("x_norm_regtokens"), tokens["x_norm_patchtokens"]]
        return torch.cat([part for part in parts if part is not None], dim=1)
    return tokens


def _output_of(network: nn.Module, layer: str, images: Tensor) -> Any:
    seen: list[Any] = []
    with network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output)):
        network(images)
    return seen[0]
