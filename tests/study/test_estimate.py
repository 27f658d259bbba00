"""What a dry run reckons with."""

import pytest

from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.study import StudyConfig
from solo_invariance.study import estimate
from solo_invariance.study.run import checked_plan


def _study(*overrides: str) -> StudyConfig:
    return as_object(compose_command("study", overrides), StudyConfig)


def test_scoring_is_reckoned_for_as_many_features_as_each_backbone_has(monkeypatch: pytest.MonkeyPatch) -> None:
    # Four arms of 128 features, a fusion of three of them and one of two, and each of the six once more at one width.
    a_feature = 1000.0  # so long that images to be rendered and read are nothing beside it
    monkeypatch.setattr(estimate, "_seconds_of_probe", lambda kind, width, train, test, device: a_feature * width)
    plan = checked_plan(_study("study=demo", "seeds=[0]", "study.cost.images_per_second=null"))
    assert [len(one.arms) for one in plan.members.values()] == [1, 1, 1, 1, 3, 2]
    features = 4 * 128 + 3 * 128 + 2 * 128 + 6 * plan.settings.study.width
    evaluation = estimate.dry_run(plan).jobs[-1]
    assert evaluation.seconds == pytest.approx(len(plan.tasks) * a_feature * features, rel=1e-3)
