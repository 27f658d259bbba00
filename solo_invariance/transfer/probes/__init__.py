"""Probes of frozen features, scikit-learn's way: ``fit(features, targets)``, ``predict(features)``.

They take tensors or NumPy's arrays, give back what they were given, and work with scikit-learn's ``clone`` and
``cross_val_score``.
"""

from solo_invariance.transfer.probes.kernel_ridge import KernelRidgeProbe
from solo_invariance.transfer.probes.logistic import LogisticProbe
from solo_invariance.transfer.probes.multilabel import MultiLabelProbe
from solo_invariance.transfer.probes.nearest_neighbours import KNNProbe
from solo_invariance.transfer.probes.official_logistic import OfficialLogisticProbe
from solo_invariance.transfer.probes.ridge import RidgeProbe

__all__ = ["KNNProbe", "KernelRidgeProbe", "LogisticProbe", "MultiLabelProbe", "OfficialLogisticProbe", "RidgeProbe"]
