import pytest
import torch

from solo_invariance.transfer.kinds import KINDS, Kind, kind_named
from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scores import METRICS

TARGETS = {
    "classification": torch.arange(60) % 3,
    "multilabel": torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) < 0.5,
    "regression": torch.rand(60, 2, generator=torch.Generator().manual_seed(0)),
}
FEATURES = torch.randn(60, 5, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_probe_of_a_kind_fits_its_targets_and_every_metric_scores_it(kind: Kind) -> None:
    for metric in kind.metrics:
        for name, build in kind.probes.items():
            if build is not None:
                settings = ProbeSettings(name, kind.name, metric, folds=2)  # type: ignore[arg-type]
                probe = build(settings, None).fit(FEATURES, TARGETS[kind.name])
                score = METRICS[metric](probe.predict(FEATURES), TARGETS[kind.name], None)
                assert score.isfinite()
    assert kind.usual_metric in kind.metrics
    assert kind.usual_probe in kind.probes


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_ridge_regression_of_a_kinds_columns_that_is_right_has_the_best_score(kind: Kind) -> None:
    truth, columns = kind.as_columns(TARGETS[kind.name], FEATURES)
    assert (len(columns), columns.dtype) == (60, torch.float64)
    for score in (kind.weighting, kind.selection):
        assert float(score.function(columns, truth, torch.ones(60).double())) == pytest.approx(1)


def test_the_metric_that_members_are_chosen_by_has_a_name() -> None:
    assert {kind.name: kind.selection_metric for kind in KINDS.values()} == {
        "classification": "accuracy",
        "multilabel": "mean_average_precision",
        "regression": "r2",
    }


def test_a_kind_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="kind='ranking', expected classification, multilabel or regression"):
        kind_named("ranking")
