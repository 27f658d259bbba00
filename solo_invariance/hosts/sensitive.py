"""What a run keeps sensitive to: ``invariance.sensitive`` and ``invariance.sensitive_weight`` of its configuration."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_invariance.config.composed import plain
from solo_invariance.errors import UserError
from solo_invariance.families import CropPipeline, SensitivityLoss

KEYS = ("sensitive", "sensitive_weight")
"""Keys of ``invariance`` in a run's configuration."""


class Sensitive(NamedTuple):
    """To what features stay sensitive, though a method would make them ignore it.

    Args:
        operations: Names of operations that the large crops' families have.
        weight: Of the auxiliary loss against the method's.
    """

    operations: tuple[str, ...]
    weight: float

    def content(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"operations": list(self.operations), "weight": self.weight}

    def summary(self) -> str:
        """Return it in a few words."""
        return f"sensitive to {', '.join(self.operations)}, weight {self.weight:g}"


def sensitive_from_config(cfg: DictConfig) -> Sensitive | None:
    """Return what a run keeps sensitive to; None where its configuration asks for nothing of the kind.

    Raises:
        UserError: A key is wrong; the message names it.
    """
    chosen = OmegaConf.select(cfg, "invariance")
    return sensitive_from_section(plain(chosen) if isinstance(chosen, DictConfig) else {})


def sensitive_from_section(section: Mapping[str, Any]) -> Sensitive | None:
    """Return what a run keeps sensitive to, by the section ``invariance`` of its configuration as plain data.

    Raises:
        UserError: A key is wrong; the message names it.
    """
    names, weight = section.get("sensitive"), section.get("sensitive_weight")
    if names is None or names == []:
        if weight is not None:
            raise UserError(f"invariance.sensitive_weight={weight}: to what? add invariance.sensitive=[color_jitter]")
        return None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"invariance.sensitive={names}: expected names of operations, such as [color_jitter]")
    if len(set(names)) < len(names):
        raise UserError(f"invariance.sensitive={names}: an operation is named twice")
    weight = 1.0 if weight is None else weight
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not math.isfinite(weight) or weight <= 0:
        raise UserError(f"invariance.sensitive_weight={weight}: expected a number above 0")
    return Sensitive(tuple(names), float(weight))


def sensitivity_loss(sensitive: Sensitive, pipeline: CropPipeline, num_features: int, seed: int) -> SensitivityLoss:
    """Return the loss for a run's large crops.

    Args:
        sensitive: To what.
        pipeline: The run's crops.
        num_features: D, of the backbone's features.
        seed: Of the run.

    Raises:
        UserError: A large crop's family has no such operation, or there are no two large crops.
    """
    try:
        return SensitivityLoss(sensitive.operations, pipeline.large, num_features, seed=seed)
    except UserError as error:
        raise UserError(f"invariance.sensitive: {error}") from error
