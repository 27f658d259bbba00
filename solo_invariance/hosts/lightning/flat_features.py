"""What a module's backbone gives, as features."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from solo_invariance.errors import UserError, reason_of


class FlatFeatures(nn.Module):
    """A network whose features are (N, D), also where it gives them as maps of one pixel.

    Args:
        network: Is not copied.
        features: Makes them of what it returns, where these are none.
        where: What messages begin with.
    """

    def __init__(self, network: nn.Module, features: Callable[[Any], Tensor] | None, where: str) -> None:
        super().__init__()
        self.network = network
        self.features = features
        self.where = where

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, D) of images (N, 3, S, S).

        Raises:
            UserError: The network gives others.
        """
        return self.as_features(self.network(images))

    def as_features(self, given: Any) -> Tensor:
        """Return features (N, D) of what the network gave.

        Raises:
            UserError: It is none.
        """
        if self.features is not None:
            try:
                given = self.features(given)
            except Exception as error:  # of somebody's own function
                raise UserError(f"{self.where}features: {type(error).__name__}: {reason_of(error)}") from error
        if isinstance(given, Tensor) and given.shape[2:] == (1, 1):
            given = given.flatten(1)
        if not isinstance(given, Tensor) or given.ndim != 2:
            shape = f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
            raise UserError(
                f"{self.where}the backbone gives {shape}, expected features (N, D); features=CALLABLE makes them of "
                f"it, such as lambda output: {_suggested(given)}"
            )
        return given


def _suggested(given: Any) -> str:
    if isinstance(given, Tensor):
        return "output.mean(1)" if given.ndim == 3 else "output.flatten(2).mean(2)" if given.ndim > 3 else "output"
    for name in ("pooler_output", "last_hidden_state", "embedding"):
        if getattr(given, name, None) is not None:
            return f"output.{name}" + (".mean(1)" if name == "last_hidden_state" else "")
    if isinstance(given, Mapping):
        return f"output[{next(iter(given), 'key')!r}]"
    return "output[0]"
