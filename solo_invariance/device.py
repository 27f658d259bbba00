"""The device to compute on."""

from itertools import chain

import torch
from torch import nn

from solo_invariance.config.checks import require_device
from solo_invariance.errors import UserError, reason_of


def choose_device(name: str) -> torch.device:
    """Return the device that ``device=`` names: ``auto`` is a GPU where there is one.

    Raises:
        UserError: The name is no device, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    require_device(name)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (AssertionError, AttributeError, ImportError, RuntimeError, TypeError) as error:
        reason = reason_of(error)
        raise UserError(f"device={name}: not available here ({reason}); auto takes what there is") from error
    return device


def device_of(network: nn.Module) -> torch.device:
    """Return the device that a network lies on; the CPU where it has neither parameters nor buffers."""
    return next((tensor.device for tensor in chain(network.parameters(), network.buffers())), torch.device("cpu"))
