import pytest
import torch
from torch import Tensor

from solo_invariance.config.transfer import FewShotConfig
from solo_invariance.errors import UserError
from solo_invariance.fuse import Standardized, Weighted
from solo_invariance.transfer.probes import RidgeProbe
from solo_invariance.transfer.probes.settings import ProbeSettings
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
