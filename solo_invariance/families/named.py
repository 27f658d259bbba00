"""The families that can be named, of this and of other distributions."""

from solo_invariance.errors import UserError
from solo_invariance.families.family import Family
from solo_invariance.plugins import discover, load_plugin


def families() -> dict[str, Family]:
    """Return every augmentation family that a configuration can name, by its name.

    Raises:
        UserError: A plugin fails to load or is no ``Family``; the message names it and its distribution.

    Example:
        >>> [operation.name for operation in families()["ventral"].operations]
        ['resized_crop', 'horizontal_flip']
    """
    return {plugin.name: family_named(plugin.name) for plugin in discover("families")}


def family_named(name: str, where: str = "") -> Family:
    """Return a family by its name.

    Args:
        name: Of a plugin.
        where: The place in a configuration, for messages.

    Raises:
        UserError: There is none of that name, or what has it is no ``Family``.
    """
    family = load_plugin("families", name, f"{where}family" if where else "")
    if not isinstance(family, Family):
        raise UserError(f"{where}family={name}: the plugin is a {type(family).__name__}, expected a Family")
    return family
