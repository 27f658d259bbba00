"""How a task is probed, by what the settings, the task and the backbone say."""

import pytest

from solo_invariance.backbones import Backbone
from solo_invariance.plugins import load_plugin
from solo_invariance.transfer import TransferSettings
from solo_invariance.transfer.kinds import kind_named
from solo_invariance.transfer.settings import probe_settings, solver_of


@pytest.mark.parametrize(
    ("settings", "metric"),
    [
        (TransferSettings(), "mean_per_class_accuracy"),
        (TransferSettings(protocol="paper"), "accuracy"),  # as the official code scores Flowers-102
        (TransferSettings(protocol="paper", metric="mean_per_class_accuracy"), "mean_per_class_accuracy"),
    ],
)
def test_the_papers_protocol_scores_as_the_paper_does(
    tiny_backbone: Backbone, settings: TransferSettings, metric: str
) -> None:
    assert probe_settings(settings, load_plugin("tasks", "flowers102"), tiny_backbone).metric == metric


@pytest.mark.parametrize(
    ("settings", "solver"),
    [
        (TransferSettings(), "converged"),
        (TransferSettings(protocol="paper"), "official"),
        (TransferSettings(protocol="paper", solver="converged"), "converged"),
        (TransferSettings(solver="official"), "official"),
    ],
)
def test_the_papers_protocol_fits_classes_as_the_official_code_does(settings: TransferSettings, solver: str) -> None:
    assert solver_of(settings, kind_named("classification"), "logistic") == solver
    assert solver_of(settings, kind_named("regression"), "logistic") is None
    assert solver_of(settings, kind_named("classification"), "ridge") is None
