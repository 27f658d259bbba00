"""Families as plain data: built from it, changed by it, composed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from solo_invariance.errors import none_of
from solo_invariance.families.family import Family
from solo_invariance.families.operations.appearance import (
    ColorJitter,
    Equalize,
    GaussianBlur,
    Grayscale,
    Posterize,
    Solarize,
)
from solo_invariance.families.operations.corruption import JPEG, GaussianNoise, MotionBlur
from solo_invariance.families.operations.illumination import ColorTemperature, SmoothBrightness, SmoothShadow
from solo_invariance.families.operations.occlusion import Erasing
from solo_invariance.families.operations.operation import Operation, operation_name
from solo_invariance.families.operations.spatial import (
    CentreCrop,
    Elastic,
    HorizontalFlip,
    Perspective,
    ResizedCrop,
    Rotation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)

OPERATIONS: Mapping[str, type[Operation]] = {
    operation_name(kind): kind
    for kind in (
        ResizedCrop,
        CentreCrop,
        HorizontalFlip,
        VerticalFlip,
        Rotation,
        Translation,
        Scale,
        Shear,
        Perspective,
        Elastic,
        ColorJitter,
        Grayscale,
        GaussianBlur,
        Solarize,
        Posterize,
        Equalize,
        ColorTemperature,
        SmoothBrightness,
        SmoothShadow,
        Erasing,
        GaussianNoise,
        MotionBlur,
        JPEG,
    )
}
"""Every operation that a family written as data can have, by its name in configurations."""


def build_family(name: str, operations: Sequence[Any], invariant_to: str = "") -> Family:
    """Build a family from plain data.

    Args:
        name: Of the family.
        operations: In order; each a mapping from an operation's name to its numbers, or only the name.
        invariant_to: See ``Family``.

    Raises:
        ValueError: An operation or a number does not exist or may not have its value; the message names it.
    """
    return Family(name, tuple(_operation(index, entry) for index, entry in enumerate(operations)), invariant_to)


def _operation(index: int, entry: Any) -> Operation:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"[{index}]: expected an operation's name with its numbers, such as {{grayscale: {{p: 0.2}}}}")
    ((name, numbers),) = entry.items()
    if name not in OPERATIONS:
        raise ValueError(f"[{index}]: there is no operation {name!r}{none_of(str(name), OPERATIONS)}")
    try:
        return OPERATIONS[name]().with_numbers(_numbers(name, numbers))
    except ValueError as error:
        raise ValueError(f"[{index}].{error}") from error


def with_operations(family: Family, changes: Mapping[str, Any]) -> Family:
    """Return a family with other numbers in some of its operations.

    Args:
        family: To be changed.
        changes: Numbers by operation; every operation of that name is changed.

    Raises:
        ValueError: The family has no such operation, or it has no such number or may not have that value.
    """
    names = [operation.name for operation in family.operations]
    for name, numbers in changes.items():
        if name not in names:
            raise ValueError(f"{name}: {family.name} has no such operation{none_of(name, names)}")
        _numbers(name, numbers)
    return replace(
        family,
        operations=tuple(operation.with_numbers(changes.get(operation.name) or {}) for operation in family.operations),
    )


def compose(families: Sequence[Family]) -> Family:
    """Return the family that does what several do, one after the other; its name joins theirs with ``+``."""
    if len(families) == 1:
        return families[0]
    return Family(
        "+".join(family.name for family in families),
        tuple(operation for family in families for operation in family.operations),
        "; ".join(family.invariant_to for family in families if family.invariant_to),
    )


def _numbers(name: str, numbers: Any) -> Mapping[str, Any]:
    if numbers is None:
        return {}
    if not isinstance(numbers, Mapping):
        raise ValueError(f"{name}={numbers}: expected numbers by name, such as {name}.p=0.5")
    return numbers
