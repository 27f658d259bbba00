"""Scoring frozen backbones on downstream tasks: ``transfer(backbone, task)``, see ``transfer.run.transfer``."""

from solo_invariance.callable_package import make_callable
from solo_invariance.transfer.own_images import OwnTask
from solo_invariance.transfer.run import TransferResults, transfer
from solo_invariance.transfer.settings import TransferSettings

__all__ = ["OwnTask", "TransferResults", "TransferSettings", "transfer"]

make_callable(__name__, "solo_invariance.transfer.run:transfer")
