import pytest
import torch
from torch import Tensor

from solo_invariance.transfer.probes import few_shot
from solo_invariance.transfer.probes.few_shot import few_shot_episodes


def problem(spread: float, count: int = 240, classes: int = 6, size: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes * 3
    centres = torch.randn(classes, size, generator=generator, dtype=torch.float64)
    return centres[labels // 3] + spread * torch.randn(count, size, generator=generator, dtype=torch.float64), labels


def test_classes_far_apart_are_always_told_apart_and_noise_never() -> None:
    features, labels = problem(spread=0.01)
    assert few_shot_episodes(features, labels, episodes=30).score == 1
    noise = torch.randn(240, 10, generator=torch.Generator().manual_seed(1))
    scores = few_shot_episodes(noise, labels, ways=4, episodes=400)
    assert scores.score == pytest.approx(1 / 4, abs=0.02)
    assert scores.ci95[0] < 0.25 < scores.ci95[1]


@pytest.mark.parametrize("unit_length", [True, False])
def test_every_episode_is_the_definitions(unit_length: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(spread=1.5)
    drawn: list[Tensor] = []
    draw = few_shot._draw

    def spied(*args: object) -> Tensor:
        drawn.append(draw(*args))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(few_shot, "_draw", spied)
    mean = features.mean(0)
    scores = few_shot_episodes(features, labels, 3, 2, 4, 30, mean=mean, unit_length=unit_length)
    prepared = features - mean
    if unit_length:
        prepared = prepared / prepared.norm(dim=1, keepdim=True)
    for rows, accuracy in zip(torch.cat(drawn), scores.accuracies.tolist(), strict=True):
        assert len(rows.unique()) == rows.numel() == 3 * 6
        assert (labels[rows] == labels[rows[:, :1]]).all()
        assert len(labels[rows[:, 0]].unique()) == 3
        means = torch.stack([prepared[one[:2]].mean(0) for one in rows])
        hits = [
            int((prepared[image] - means).norm(dim=1).argmin()) == way for way in range(3) for image in rows[way, 2:]
        ]
        assert accuracy == pytest.approx(sum(hits) / 12)
    assert 0.4 < scores.score < 0.95


def test_interval_is_that_of_a_mean_where_it_is_far_from_the_ceiling() -> None:
    scores = few_shot_episodes(*problem(spread=1.5), episodes=100)
    assert scores.score == pytest.approx(float(scores.accuracies.mean()))
    half = 1.96 * float(scores.accuracies.std(correction=1)) / 10
    assert scores.ci95 == pytest.approx((scores.score - half, scores.score + half), abs=half / 20)
    assert scores.accuracies.shape == (100,)


def test_images_are_drawn_evenly() -> None:
    members = few_shot._members(torch.tensor([0] * 6 + [1] * 3 + [2] * 9), 3, 2)
    assert members.shape == (3, 9)
    rows = few_shot._draw(members, 6000, 2, 3, torch.Generator().manual_seed(0))
    shares = rows.flatten().bincount(minlength=18) / 6000
    expected = torch.tensor([3 / 6] * 6 + [1.0] * 3 + [3 / 9] * 9) * 2 / 3
    assert (shares - expected).abs().max() < 0.03


def test_the_seed_alone_decides() -> None:
    features, labels = problem(spread=1.5)
    first = few_shot_episodes(features, labels, episodes=60, seed=3)
    torch.manual_seed(1)
    assert torch.equal(few_shot_episodes(features, labels, episodes=60, seed=3).accuracies, first.accuracies)
    assert not torch.equal(few_shot_episodes(features, labels, episodes=60, seed=4).accuracies, first.accuracies)
    fewer = few_shot_episodes(features, labels, episodes=50, seed=3)
    assert torch.equal(fewer.accuracies, first.accuracies[:50])


def test_more_shots_and_fewer_ways_are_easier() -> None:
    features, labels = problem(spread=2)
    base = few_shot_episodes(features, labels, 4, 1).score
    assert few_shot_episodes(features, labels, 4, 10).score > base + 0.05
    assert few_shot_episodes(features, labels, 2, 1).score > base + 0.05


def test_classes_with_too_few_images_take_no_part() -> None:
    features, labels = problem(spread=0.01)
    rare = torch.cat([labels, torch.tensor([99, 99])])
    padded = torch.cat([features, features[:2]])
    assert torch.equal(
        few_shot_episodes(padded, rare, episodes=20).accuracies,
        few_shot_episodes(features, labels, episodes=20).accuracies,
    )
    with pytest.raises(ValueError, match=r"ways=5, but only 0 of 6 classes have the 41 images .*the largest has 40"):
        few_shot_episodes(features, labels, shots=26)


def test_bad_input_is_refused() -> None:
    features, labels = problem(spread=1.0)
    with pytest.raises(ValueError, match="ways=1, expected at least 2"):
        few_shot_episodes(features, labels, ways=1)
    with pytest.raises(ValueError, match=r"mean of shape \(3,\), expected \(10,\)"):
        few_shot_episodes(features, labels, mean=torch.zeros(3))
    features[4] = float("inf")
    with pytest.raises(ValueError, match="row 4 is not finite"):
        few_shot_episodes(features, labels)
