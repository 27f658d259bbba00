"""Scoring frozen backbones on downstream tasks: ``transfer(backbone, "hue")``, see ``transfer.run.transfer``.

Imports nothing heavy: the tasks in here are plugins.
"""

from typing import TYPE_CHECKING, Any

from solo_invariance.callable_package import make_callable

if TYPE_CHECKING:
    from solo_invariance.transfer.own_images import OwnTask
    from solo_invariance.transfer.run import TransferResults, transfer
    from solo_invariance.transfer.settings import TransferSettings

_HOMES = {
    "OwnTask": "solo_invariance.transfer.own_images",
    "TransferResults": "solo_invariance.transfer.run",
    "TransferSettings": "solo_invariance.transfer.settings",
    "transfer": "solo_invariance.transfer.run",
}

__all__ = ["OwnTask", "TransferResults", "TransferSettings", "transfer"]

make_callable(__name__, "solo_invariance.transfer.run:transfer")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
