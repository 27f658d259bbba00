"""What may be set: one schema a command, beside the YAML that documents its keys. Imports nothing heavy."""

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.doctor import DoctorConfig
from solo_invariance.config.families import FamiliesConfig
from solo_invariance.config.fuse import FuseConfig, FusionReferenceConfig
from solo_invariance.config.measure import DataConfig, MeasureConfig, ReferenceConfig
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.config.report import ReportConfig
from solo_invariance.config.study import StudyConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.transfer import FewShotConfig, KNNConfig, ProbeConfig, TransferConfig

__all__ = [
    "BackboneConfig",
    "DataConfig",
    "DoctorConfig",
    "FamiliesConfig",
    "FewShotConfig",
    "FuseConfig",
    "FusionReferenceConfig",
    "KNNConfig",
    "MeasureConfig",
    "PretrainConfig",
    "ProbeConfig",
    "ReferenceConfig",
    "ReportConfig",
    "StudyConfig",
    "TaskConfig",
    "TransferConfig",
]
