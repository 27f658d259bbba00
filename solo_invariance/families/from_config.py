"""From what a configuration says to a family."""

from collections.abc import Callable, Mapping
from typing import Any

from solo_invariance.errors import UserError
from solo_invariance.families import Family, build_family, compose, with_operations
from solo_invariance.families.named import family_named


def family_from_config(chosen: Any, operations: Any = None, where: str = "") -> Family:
    """Return the family that a configuration asks for.

    Args:
        chosen: A family's name; a mapping with ``operations`` (a list) and optionally ``name`` and ``invariant_to``,
            which is a family written out; or a list of these, which are composed.
        operations: Other numbers for some of its operations, by operation; or None.
        where: The place in the configuration, for messages.

    Raises:
        UserError: Something is unknown or may not have its value; the message names the key.
    """
    choices = chosen if isinstance(chosen, list) else [chosen]
    if not choices:
        raise UserError(f"{where}family=[]: expected at least one family; identity changes nothing")
    family = compose([_family(choice, where) for choice in choices])
    if operations is None:
        return family
    if not isinstance(operations, Mapping):
        raise UserError(f"{where}operations={operations}: expected numbers by operation; a whole family goes to family")
    return _or_refuse(f"{where}operations.", lambda: with_operations(family, operations))


def _family(choice: Any, where: str) -> Family:
    if isinstance(choice, Mapping):
        return _written_out(choice, f"{where}family")
    return family_named(str(choice), where)


def _written_out(content: Mapping[Any, Any], where: str) -> Family:
    unknown = [str(key) for key in content if key not in ("name", "invariant_to", "operations")]
    if unknown:
        raise UserError(f"{where}.{unknown[0]}: a family written out has name, invariant_to and operations")
    operations = content.get("operations")
    if not isinstance(operations, list):
        raise UserError(f"{where}.operations={operations}: expected a list of operations")
    name, invariant_to = str(content.get("name", "custom")), str(content.get("invariant_to", ""))
    return _or_refuse(f"{where}.operations", lambda: build_family(name, operations, invariant_to))


def _or_refuse(where: str, build: Callable[[], Family]) -> Family:
    try:
        return build()
    except ValueError as error:
        raise UserError(f"{where}{error}") from error
