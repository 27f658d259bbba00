"""Which features are taken from a network: those of its output, of inner layers, or of its tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from solo_invariance.backbones.layers import LayerFeatures
from solo_invariance.backbones.tokens import PooledTokens, Pooling, own_pool


def with_features(
    network: nn.Module, layer: str | Sequence[str] | None, pooling: Pooling, called: str | None = None
) -> nn.Module:
    """Return a network that gives chosen features; the network itself, where these are its output.

    Args:
        network: Without any choice yet.
        layer: A layer's name, or several, whose features are put side by side.
        pooling: How tokens become features.
        called: What messages call the network; a network of its class, by default.

    Raises:
        UserError: There is no such layer, or there are no tokens.
    """
    if layer is not None:
        return LayerFeatures(network, layer, pooling)
    return network if pooling.pool is None else PooledTokens(network, pooling, called)


def whole(network: nn.Module) -> nn.Module:
    """Return the network that features were chosen from."""
    return network.network if isinstance(network, LayerFeatures | PooledTokens) else network


def layers_of(network: nn.Module) -> str | tuple[str, ...] | None:
    """Return the layers that were chosen, None where it is the output."""
    return network.names if isinstance(network, LayerFeatures) else None


def pooling_of(network: nn.Module) -> Pooling:
    """Return how tokens become features, as far as it was chosen."""
    return network.pooling if isinstance(network, LayerFeatures | PooledTokens) else Pooling()


def described_pooling(network: nn.Module) -> dict[str, str | None]:
    """Return how tokens become features, as results say it: as was chosen, or as a vision transformer does itself."""
    pooling = pooling_of(network)
    own = own_pool(whole(network)) if layers_of(network) is None else None
    return {
        "pool": pooling.pool or own,
        "tokens": pooling.tokens if pooling.pool in (None, "cls") else pooling.averaged,
    }


def choice_of(network: nn.Module) -> dict[str, Any]:
    """Return what was chosen as plain data, from which ``with_choice`` makes it again."""
    pooling = pooling_of(network)
    layers = layers_of(network)
    return {
        "layer": list(layers) if isinstance(layers, tuple) else layers,
        "pool": pooling.pool,
        "tokens": pooling.tokens,
    }


def with_choice(network: nn.Module, choice: Mapping[str, Any]) -> nn.Module:
    """Return a network that gives the features that ``choice_of`` another one said.

    Args:
        network: Without any choice yet.
        choice: A stranger's, perhaps; what it lacks was not chosen.

    Raises:
        UserError: It does not fit the network.
    """
    layer, pool, tokens = (choice.get(key) for key in ("layer", "pool", "tokens"))
    layers = layer if layer is None or isinstance(layer, str) else [*map(str, layer)]
    return with_features(network, layers, Pooling(pool, tokens))
