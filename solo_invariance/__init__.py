"""Choose, measure, fuse and transfer the invariances of self-supervised backbones.

Every command of ``solo-invariance`` is a function of the same name here: ``families``, ``pretrain``, ``measure``,
``fuse``, ``shape``, ``export``, ``transfer``, ``advise``, ``study``, ``report``, ``doctor`` and ``demo``, with
``load_backbone`` and ``compare`` beside them.
Importing this package imports nothing heavy, each name is looked up when it is used.

Example:
    >>> from solo_invariance import load_backbone
    >>> load_backbone("random:resnet18").num_features
    512
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solo_invariance.advise.run import advise
    from solo_invariance.advise.settings import AdviseSettings
    from solo_invariance.backbones import Backbone, load_backbone, mean_embedding
    from solo_invariance.comparison import compare
    from solo_invariance.config.pretrain import PretrainConfig
    from solo_invariance.config.study import StudyConfig
    from solo_invariance.config.task import TaskConfig
    from solo_invariance.errors import UserError
    from solo_invariance.export.run import export
    from solo_invariance.families.named import families
    from solo_invariance.fuse.run import fuse
    from solo_invariance.fuse.settings import FuseSettings
    from solo_invariance.hosts.embedded.pretrain import pretrain
    from solo_invariance.hosts.lightning.invariance_monitor import InvarianceMonitor
    from solo_invariance.hosts.lightning.transfer_monitor import TransferMonitor
    from solo_invariance.installation import doctor
    from solo_invariance.measure.run import measure
    from solo_invariance.measure.settings import MeasureSettings
    from solo_invariance.report.page import build_report as report
    from solo_invariance.results import read_result
    from solo_invariance.shape.run import shape
    from solo_invariance.shape.settings import ShapeSettings
    from solo_invariance.study.demo import demo
    from solo_invariance.study.run import study
    from solo_invariance.transfer.own_images import OwnTask
    from solo_invariance.transfer.run import transfer
    from solo_invariance.transfer.settings import TransferSettings

__version__ = "0.1.0"

_HOMES = {
    "AdviseSettings": "solo_invariance.advise.settings",
    "Backbone": "solo_invariance.backbones",
    "FuseSettings": "solo_invariance.fuse.settings",
    "InvarianceMonitor": "solo_invariance.hosts.lightning.invariance_monitor",
    "MeasureSettings": "solo_invariance.measure.settings",
    "OwnTask": "solo_invariance.transfer.own_images",
    "PretrainConfig": "solo_invariance.config.pretrain",
    "ShapeSettings": "solo_invariance.shape.settings",
    "StudyConfig": "solo_invariance.config.study",
    "TaskConfig": "solo_invariance.config.task",
    "TransferMonitor": "solo_invariance.hosts.lightning.transfer_monitor",
    "TransferSettings": "solo_invariance.transfer.settings",
    "UserError": "solo_invariance.errors",
    "compare": "solo_invariance.comparison",
    "demo": "solo_invariance.study.demo",
    "doctor": "solo_invariance.installation",
    "load_backbone": "solo_invariance.backbones",
    "mean_embedding": "solo_invariance.backbones",
    "pretrain": "solo_invariance.hosts.embedded.pretrain",
    "read_result": "solo_invariance.results",
}
# Packages that are called by their names; see ``callable_package``.
_VERBS = ("advise", "export", "families", "fuse", "measure", "report", "shape", "study", "transfer")

__all__ = [
    "AdviseSettings",
    "Backbone",
    "FuseSettings",
    "InvarianceMonitor",
    "MeasureSettings",
    "OwnTask",
    "PretrainConfig",
    "ShapeSettings",
    "StudyConfig",
    "TaskConfig",
    "TransferMonitor",
    "TransferSettings",
    "UserError",
    "advise",
    "compare",
    "demo",
    "doctor",
    "export",
    "families",
    "fuse",
    "load_backbone",
    "mean_embedding",
    "measure",
    "pretrain",
    "read_result",
    "report",
    "shape",
    "study",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | {*__all__})
