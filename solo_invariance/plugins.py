"""Plugins: everything that can be named in a configuration, ours and other people's, found by entry points."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from solo_invariance.errors import UserError, none_of, reason_of

Kind = Literal["families", "transforms", "metrics", "fusions", "shapers", "tasks", "backbones", "layouts"]
KINDS: tuple[Kind, ...] = ("families", "transforms", "metrics", "fusions", "shapers", "tasks", "backbones", "layouts")


@dataclass(frozen=True)
class Plugin:
    """One entry point of one of our groups.

    Args:
        kind: What it is, the end of the group's name.
        name: What configurations call it.
        distribution: The installed distribution that it came from, with its version.
        entry_point: Where its object is.
    """

    kind: Kind
    name: str
    distribution: str
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import the plugin and return its object.

        Raises:
            UserError: Importing it fails; the message names the plugin, its distribution and the reason.
        """
        try:
            return self.entry_point.load()
        except Exception as error:  # whatever a stranger's module raises must not take the rest down
            reason = reason_of(error)
            raise UserError(
                f"{self.kind} plugin {self.name!r} of {self.distribution} ({self.entry_point.value}) fails to load: "
                f"{type(error).__name__}: {reason}"
            ) from error


@lru_cache(maxsize=len(KINDS))
def discover(kind: Kind) -> tuple[Plugin, ...]:
    """Return the plugins of one kind in the order of their names, without importing any of them."""
    return tuple(sorted(_found(kind), key=lambda plugin: (plugin.name, plugin.distribution)))


def _found(kind: Kind) -> Iterator[Plugin]:
    for entry_point in entry_points(group=f"solo_invariance.{kind}"):
        dist = entry_point.dist
        distribution = f"{dist.name} {dist.version}" if dist is not None else "an unknown distribution"
        yield Plugin(kind, entry_point.name, distribution, entry_point)


def load_plugin(kind: Kind, name: str, where: str = "") -> Any:
    """Return the object that a configuration names.

    Args:
        kind: What it is.
        name: Of the plugin.
        where: The key that named it, for messages; the kind by default.

    Raises:
        UserError: No plugin, or more than one, has that name, or it fails to load.
    """
    return find_plugin(kind, name, where).load()


def find_plugin(kind: Kind, name: str, where: str = "") -> Plugin:
    """Return the plugin that a configuration names, without importing it.

    Args:
        kind: What it is.
        name: Of the plugin.
        where: The key that named it, for messages; the kind by default.

    Raises:
        UserError: No plugin, or more than one, has that name.
    """
    plugins = discover(kind)
    matching = [plugin for plugin in plugins if plugin.name == name]
    if len(matching) > 1:
        sources = " and ".join(plugin.distribution for plugin in matching)
        raise UserError(f"{where or kind}: {name!r} is ambiguous, it comes from {sources}; uninstall or rename one")
    if not matching:
        names = [plugin.name for plugin in plugins]
        raise UserError(f"{where or kind}: there is no {name!r}{none_of(name, names)}")
    return matching[0]


def names_chosen(kind: Kind, chosen: Any, example: str) -> list[str]:
    """Return the names that a key chooses, none of them twice.

    Args:
        kind: Of the plugins, which the key is called like.
        chosen: A list of names, or ``all``.
        example: Of a list, for messages.

    Raises:
        UserError: It is neither.
    """
    if chosen == "all":
        return [plugin.name for plugin in discover(kind)]
    listed = isinstance(chosen, Iterable) and not isinstance(chosen, str)
    if not listed or not all(isinstance(name, str) for name in chosen):
        raise UserError(f"{kind}={chosen}: expected all, or a list such as {example}")
    return list(dict.fromkeys(chosen))
