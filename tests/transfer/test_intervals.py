import math

import pytest
import torch
from scipy.stats import binom, multinomial, norm
from torch import Tensor

from solo_invariance.transfer.intervals import (
    accuracy_interval,
    episodes_interval,
    mean_per_class_interval,
    paired_accuracy_interval,
    paired_mean_per_class_interval,
)
from solo_invariance.transfer.scores import accuracy, mean_per_class_accuracy

Z = float(norm.ppf(0.975))


def right(count: int, images: int) -> tuple[Tensor, Tensor]:
    """Predictions of which as many are right, and targets, of one class."""
    targets = torch.zeros(images, dtype=torch.int64)
    return (torch.arange(images) >= count).long(), targets


def agresti_coull(count: int, images: int) -> tuple[float, float]:
    share = (count + Z**2 / 2) / (images + Z**2)
    half = Z * math.sqrt(share * (1 - share) / (images + Z**2))
    return max(0, share - half), min(1, share + half)


@pytest.mark.parametrize(("count", "images"), [(0, 30), (7, 30), (29, 30), (30, 30), (1960, 2000)])
def test_the_interval_of_an_accuracy_is_agrestis_and_coulls(count: int, images: int) -> None:
    assert accuracy_interval(*right(count, images)) == pytest.approx(agresti_coull(count, images), abs=1e-6)
    # Of one class, the accuracy within it is the accuracy.
    assert mean_per_class_interval(*right(count, images)) == pytest.approx(agresti_coull(count, images), abs=1e-6)


@pytest.mark.parametrize("images", [10, 30, 200])
@pytest.mark.parametrize("accuracy", [0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.997])
def test_it_covers_at_every_accuracy(images: int, accuracy: float) -> None:
    """Exactly: the probability of the numbers of right images whose interval holds the accuracy."""
    intervals = [accuracy_interval(*right(count, images)) for count in range(images + 1)]
    held = [low <= accuracy <= high for low, high in intervals]
    assert float(binom.pmf(range(images + 1), images, accuracy) @ held) > 0.929


@pytest.mark.parametrize(("better", "worse"), [(0.02, 0.0), (0.02, 0.02), (0.1, 0.02), (0.3, 0.1)])
def test_paired_differences_cover_near_the_ceiling(better: float, worse: float) -> None:
    """Exactly: over the numbers of images that ours alone, and theirs alone, gets right, of 30."""
    targets, covered = torch.zeros(30, dtype=torch.int64), 0.0
    for ups in range(31):
        for downs in range(31 - ups):
            ours = ((torch.arange(30) >= ups) & (torch.arange(30) < ups + downs)).long()
            theirs = (torch.arange(30) < ups).long()
            low, high = paired_accuracy_interval(ours, theirs, targets)
            if low <= better - worse <= high:
                shares = (better, worse, 1 - better - worse)
                covered += float(multinomial.pmf([ups, downs, 30 - ups - downs], 30, shares))
    assert covered > 0.93


def test_paired_accuracies_are_bonetts_and_prices() -> None:
    """Of 50 images, ours alone gets 6 right and theirs alone 2."""
    targets = torch.zeros(50, dtype=torch.int64)
    ours = ((torch.arange(50) >= 10) & (torch.arange(50) < 12)).long()
    theirs = (torch.arange(50) < 6).long()
    up, down = 7 / 52, 3 / 52
    half = Z * math.sqrt((up + down - (up - down) ** 2) / 52)
    expected = (up - down - half, up - down + half)
    assert paired_accuracy_interval(ours, theirs, targets) == pytest.approx(expected, abs=1e-6)
    assert paired_mean_per_class_interval(ours, theirs, targets) == pytest.approx(expected, abs=1e-6)
    low, high = paired_accuracy_interval(theirs, ours, targets)
    assert (-high, -low) == pytest.approx(expected, abs=1e-6)


def draw_per_class(seed: int, sizes: Tensor, accuracies: Tensor) -> tuple[Tensor, Tensor]:
    targets = torch.arange(len(sizes)).repeat_interleave(sizes)
    draws = torch.rand(len(targets), generator=torch.Generator().manual_seed(seed))
    return torch.where(draws < accuracies[targets], targets, -1), targets


@pytest.mark.parametrize("case", ["ceiling", "one image", "unequal"])
def test_the_interval_of_per_class_accuracies_covers(case: str) -> None:
    sizes, accuracies = {
        "ceiling": (torch.full((5,), 6), torch.full((5,), 0.98)),
        "one image": (torch.full((100,), 1), torch.full((100,), 0.8)),
        "unequal": (torch.tensor([4] * 10 + [100] * 10), torch.tensor([0.6] * 10 + [0.95] * 10)),
    }[case]
    truth, covered, widths = float(accuracies.mean()), 0, []
    for seed in range(400):
        low, high = mean_per_class_interval(*draw_per_class(seed, sizes, accuracies))
        covered += low <= truth <= high
        widths.append(high - low)
    # A binomial error of 0.011; and no wider than 1.4 times what the true variance asks for, away from the ceiling.
    assert covered / 400 > 0.91
    error = float((accuracies * (1 - accuracies) / sizes).sum()) ** 0.5 / len(sizes)
    assert case == "ceiling" or sum(widths) / 400 < 1.4 * 2 * Z * error


def test_classes_of_unequal_sizes_that_score_alike_count_as_their_harmonic_mean() -> None:
    """5 of 10 and 20 of 40: the mean of both has the variance of an accuracy of 4 / (1 / 10 + 1 / 40) = 32 images."""
    targets = torch.tensor([3] * 10 + [8] * 40)
    predictions = torch.tensor([3] * 5 + [8] * 5 + [8] * 20 + [3] * 20)
    assert mean_per_class_interval(predictions, targets) == pytest.approx(agresti_coull(16, 32), abs=1e-6)


def test_many_images_in_every_class_are_sure_of_their_own_variance() -> None:
    """Half of the classes are always right: their images add nothing to the variance, as a pooled share would say."""
    sizes, accuracies = torch.full((10,), 1000), torch.tensor([1.0, 0.5] * 5)
    low, high = mean_per_class_interval(*draw_per_class(0, sizes, accuracies))
    assert high - low == pytest.approx(2 * Z * math.sqrt(5 * 0.25 / 1000) / 10, rel=0.03)
    other = draw_per_class(1, sizes, accuracies)[0]
    one, targets = draw_per_class(0, sizes, accuracies)
    low, high = paired_mean_per_class_interval(one, other, targets)
    assert high - low == pytest.approx(2 * Z * math.sqrt(5 * 0.5 / 1000) / 10, rel=0.05)


def test_episodes_away_from_the_ceiling_have_the_usual_interval_and_at_it_are_not_certain() -> None:
    accuracies = 0.7 + 0.05 * torch.randn(600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = Z * float(accuracies.std()) / 600**0.5
    mean = float(accuracies.mean())
    assert episodes_interval(accuracies) == pytest.approx((mean - half, mean + half), abs=half / 20)
    low, high = episodes_interval(torch.ones(600))
    assert (low, high) == pytest.approx(agresti_coull(600, 600), abs=1e-6)
    nearly = torch.ones(600)
    nearly[:5] = 74 / 75  # five wrong queries of 45 000
    low, high = episodes_interval(nearly)
    assert (low, high) == pytest.approx(agresti_coull(44995, 45000), abs=2e-5)


def test_episodes_that_all_score_the_same_are_no_more_certain_than_their_number() -> None:
    """The variance of 600 times a fifth is 1e-33 in floating point, and not 0."""
    level = 0.2
    half = 1.96 * (level * (1 - level) / 600) ** 0.5
    found = episodes_interval(torch.full((600,), level, dtype=torch.float64))
    assert found == pytest.approx((level - half, level + half), abs=half / 10)


@pytest.mark.parametrize("seed", range(40))
def test_every_accuracy_is_in_its_interval(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(4, (10 + seed,), generator=generator)
    levels = torch.randint(2, (4,), generator=generator) if seed % 2 else torch.rand(4, generator=generator)
    ours, theirs = (
        torch.where(torch.rand(len(classes), generator=generator) < levels[classes], classes, -1) for _ in range(2)
    )
    for metric, interval, paired in (
        (accuracy, accuracy_interval, paired_accuracy_interval),
        (mean_per_class_accuracy, mean_per_class_interval, paired_mean_per_class_interval),
    ):
        low, high = interval(ours, classes)
        assert low <= float(metric(ours, classes)) <= high
        low, high = paired(ours, theirs, classes)
        assert low <= float(metric(ours, classes) - metric(theirs, classes)) <= high
