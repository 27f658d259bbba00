"""What the callbacks for any Lightning program are told about the module that they watch."""

from collections.abc import Sequence
from typing import Any

from solo_invariance.backbones import InputSpec
from solo_invariance.errors import UserError


def input_from(label: str, crop_size: Any, mean: Any, std: Any) -> InputSpec:
    """Return the input of a backbone by the arguments of a callback.

    Args:
        label: How messages begin.
        crop_size: Side of the images, in pixels.
        mean: Three channel means, in [0, 1] units; None for none.
        std: Three channel standard deviations; None for none.

    Raises:
        UserError: One of them is not what it should be; the message names it.
    """
    statistics = {"mean": (0.0, 0.0, 0.0) if mean is None else mean, "std": (1.0, 1.0, 1.0) if std is None else std}
    plain = {key: list(value) if isinstance(value, Sequence) else value for key, value in statistics.items()}
    if crop_size is None:
        raise UserError(f"{label}: crop_size is None, expected the side of the backbone's images, in pixels")
    try:
        spec = InputSpec.from_mapping({"crop_size": crop_size, **plain})
    except ValueError as error:
        raise UserError(f"{label}: {error}") from error
    for key, statistic in (("mean", spec.mean), ("std", spec.std)):
        if not 0 <= min(statistic) <= max(statistic) <= 1:
            raise UserError(f"{label}: {key} is {list(statistic)}, expected numbers in [0, 1]; divide by 255, perhaps")
    return spec


def require_place(label: str, backbone: Any, prefix: Any, features: Any) -> None:
    """Raise UserError where what says how to find and name things is not what it should be.

    Args:
        label: How messages begin.
        backbone: The attribute of the module, dotted where it lies deeper.
        prefix: Of the numbers' names.
        features: Makes features of what the backbone returns, or None.
    """
    if not isinstance(backbone, str) or "" in backbone.split("."):
        given = repr(backbone) if isinstance(backbone, str) else f"a {type(backbone).__name__}"
        raise UserError(
            f"{label}: backbone is {given}, expected the name of an attribute of the module, such as 'model.encoder'"
        )
    if not isinstance(prefix, str):
        raise UserError(f"{label}: prefix is {prefix!r}, expected a text such as 'teacher/'")
    if features is not None and not callable(features):
        raise UserError(f"{label}: features={features!r}: expected a callable")
