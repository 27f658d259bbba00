from typing import Any

import pytest
import torch
from torch import Tensor

from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.errors import UserError
from solo_invariance.fuse import Standardized, Weighted
from solo_invariance.transfer.probes import RidgeProbe
from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scorable import require_scorable
from solo_invariance.transfer.scoring import TransferScore, score_features


def _members(widths: tuple[int, ...] = (32, 32, 32), count: int = 300) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    members = [10.0**index * torch.randn(count, width, generator=generator) for index, width in enumerate(widths)]
    read = [
        member / 10.0**index @ torch.randn(member.shape[1], 2, generator=generator)
        for index, member in enumerate(members)
    ]
    return members, torch.stack(read).sum(0) + torch.randn(count, 2, generator=generator)


def _score(features: Tensor, targets: Tensor, **settings: object) -> TransferScore:
    usual: dict = {"probe": "ridge", "kind": "regression", "metric": "r2", "num_members": 3}
    split = ((features[:200], targets[:200]), (features[200:], targets[200:]))
    return score_features(*split, ProbeSettings(**{**usual, **settings}))


def test_open_weights_that_need_not_differ_score_as_members_of_equal_weight() -> None:
    """The penalties that are tried are no less suited to them."""
    members, targets = _members()
    widths = [32, 32, 32]
    standardized = Standardized(widths).fit(members)(members)
    open_ = Weighted(widths).fit(members)(members)
    plain = _score(standardized, targets, scaled=True)
    chosen = _score(open_, targets, scaled=True, open_widths=widths)
    assert plain.score > 0.95
    assert chosen.score == pytest.approx(plain.score, abs=0.01)
    assert len(chosen.details["member_weights"]) == 3


@pytest.mark.parametrize("probe", ["ridge", "kernel_ridge"])
def test_what_a_fusion_says_of_scales_is_kept(probe: str) -> None:
    """A member of weight 0 is not seen; standardising its features would bring its noise back."""
    members, targets = _members((32, 64))
    members[1] = torch.randn(300, 64, generator=torch.Generator().manual_seed(1))
    targets = members[0][:, :2] + 0 * targets
    fused = Weighted([32, 64], weights=[1.0, 1e-4]).fit(members)(members)
    alone = Weighted([32], weights=[1.0]).fit(members[:1])(members[:1])
    kept = _score(fused, targets, probe=probe, scaled=True, num_members=1)
    lost = _score(fused, targets, probe=probe, scaled=False, num_members=1)
    expected = _score(alone, targets, probe=probe, scaled=True, num_members=1)
    assert kept.score == pytest.approx(expected.score, abs=0.02)
    assert lost.score < kept.score


def test_a_gpu_that_is_too_small_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    members, targets = _members()
    fit, calls = RidgeProbe.fit, []

    def full(self: RidgeProbe, *arguments: Tensor) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("full")
        return fit(self, *arguments)

    monkeypatch.setattr(RidgeProbe, "fit", full)
    assert _score(members[0], targets).score < 1
    assert len(calls) == 2


def test_a_metric_of_another_kind_is_refused() -> None:
    members, targets = _members()
    with pytest.raises(UserError, match="metric=accuracy: for regression, expected r2"):
        _score(members[0], targets, metric="accuracy")


def test_episodes_are_of_test_images_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    features = torch.nn.functional.one_hot(labels).float() + 0.01 * torch.randn(60, 3, generator=generator)
    settings = ProbeSettings(
        "few_shot", "classification", "accuracy", few_shot=FewShotConfig(ways=3, shots=1, queries=2, episodes=20)
    )
    noise = torch.randn(40, 3, generator=generator)
    scored = score_features((noise, torch.arange(40) % 3), (features, labels), settings)
    assert scored.score == 1
    assert scored.metric == "3_way_1_shot_accuracy"
    assert scored.arrays["episodes"].shape == (20,)


@pytest.mark.parametrize(("rows", "split"), [(slice(None), "training"), (slice(200, None), "test")])
def test_a_target_that_is_constant_is_refused(rows: slice, split: str) -> None:
    members, targets = _members()
    targets[rows, 1] = 3.5
    with pytest.raises(UserError, match=f"target 2 of 2 is 3.5 for all {split} images: nothing to predict"):
        _score(members[0], targets)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_score_does_not_depend_on_its_targets_units(scale: float) -> None:
    members, targets = _members()
    expected = _score(members[0], targets.double())
    found = _score(members[0], 1e9 * scale + scale * targets.double())
    assert found.score == pytest.approx(expected.score, abs=1e-6)
    assert found.ci95 == pytest.approx(expected.ci95, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t * 1e200, r"target 1 of 2 \(x\) reaches .*e\+2\d\d, expected at most 1e\+100: scale it down"),
        (lambda t: t * 1e-200, r"target 1 of 2 \(x\) varies by .*e-2\d\d alone, expected 1e-100: scale it up"),
        (lambda t: t * 1e-6 + 1e9, r"target 1 of 2 \(x\) is 1e\+09 for all training images, up to rounding: nothing"),
        (lambda t: t[:, :0], "there are no targets"),
    ],
)
def test_targets_that_float64_has_no_room_for_are_refused(change, message: str) -> None:  # type: ignore[no-untyped-def]
    targets = change(torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    settings = ProbeSettings("ridge", "regression", "r2")
    with pytest.raises(UserError, match=message):
        require_scorable(targets, targets, settings, ["x", "y"])


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([0] * 20, {}, "all 20 labels are 0, expected at least two classes"),
        ([0, 1] * 2, {}, "folds=5 for 4 images"),
        ([0, 1] * 10, {"probe": "knn", "knn": KNNConfig(k=17)}, "k=17, expected 1 to 16"),
        ([0, 1] * 20, {"probe": "few_shot", "few_shot": FewShotConfig(ways=3)}, "ways=3, but only 2 of 2 classes"),
    ],
)
def test_classes_that_no_probe_can_be_fitted_to_are_refused_without_features(
    labels: list[int], settings: dict[str, Any], message: str
) -> None:
    classes = torch.tensor(labels)
    usual: dict[str, Any] = {"probe": "logistic", "kind": "classification", "metric": "accuracy"}
    with pytest.raises(UserError, match=message):
        require_scorable(classes, classes, ProbeSettings(**{**usual, **settings}))


def test_labels_that_no_test_image_has_are_refused_without_features() -> None:
    labels = torch.eye(10, 2).bool()
    with pytest.raises(UserError, match="no test image has any of the labels"):
        require_scorable(labels, torch.zeros(4, 2).bool(), ProbeSettings("logistic", "multilabel", "r2"))
