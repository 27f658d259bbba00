"""Networks of other distributions, by the names of their entry points in the group ``solo_invariance.backbones``."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from solo_invariance.backbones.sources.code import CodeSource, made_by
from solo_invariance.errors import UserError
from solo_invariance.plugins import discover, find_plugin


class Plugins(CodeSource):
    """What a plugin's function returns: a ``DescribedNetwork``."""

    def called(self, name: str) -> str:
        """Return the plugin's name, and the distribution that it is of."""
        plugin = find_plugin("backbones", name, "backbone.name")
        return f"backbones plugin {name!r} of {plugin.distribution}"

    def asks_for(self, name: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return that the plugin is called."""
        return f"run the {self.called(name)}"

    def function(self, name: str) -> Callable[..., Any]:
        """Import the plugin."""
        function: Callable[..., Any] = find_plugin("backbones", name, "backbone.name").load()
        return function

    def network_of(self, function: Callable[..., Any], kwargs: Mapping[str, Any], called: str) -> nn.Module:
        """Return the network that a plugin describes.

        Raises:
            UserError: It describes none.
        """
        made = made_by(function, kwargs, called)
        if not isinstance(made, tuple) or len(made) != 2:
            raise UserError(
                f"{called} returned a {type(made).__name__}, expected DescribedNetwork(network, InputSpec(...))"
            )
        return super().network_of(lambda: made, {}, called)


def is_plugin(name: str) -> bool:
    """Whether a plugin has that name."""
    return any(plugin.name == name for plugin in discover("backbones"))
