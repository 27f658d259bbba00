import pytest
import torch
from sklearn import metrics
from torch import Tensor

from solo_invariance.bootstrap import bootstrap_interval, paired_interval
from solo_invariance.transfer.scores import (
    Metric,
    accuracy,
    difference_interval,
    mean_average_precision,
    mean_per_class_accuracy,
    r2,
    r2_of_targets,
    score_interval,
)


def draw_classes(seed: int, count: int = 200, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count,), generator=generator) ** 2
    guesses = torch.randint(classes, (count,), generator=generator) ** 2
    right = torch.rand(count, generator=generator) < 0.6
    return torch.where(right, targets, guesses), targets


def draw_numbers(seed: int, count: int = 200, targets: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = 100 + torch.randn(count, targets, generator=generator, dtype=torch.float64) * torch.arange(1, targets + 1)
    return truth + 0.7 * torch.randn(count, targets, generator=generator, dtype=torch.float64), truth


@pytest.mark.parametrize("seed", range(3))
def test_class_scores_equal_scikit_learn(seed: int) -> None:
    predictions, targets = draw_classes(seed)
    assert float(accuracy(predictions, targets)) == pytest.approx(metrics.accuracy_score(targets, predictions))
    expected = metrics.balanced_accuracy_score(targets, predictions)
    assert float(mean_per_class_accuracy(predictions, targets)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_r2_equals_scikit_learn(seed: int) -> None:
    predictions, targets = draw_numbers(seed)
    assert float(r2(predictions, targets)) == pytest.approx(metrics.r2_score(targets, predictions), abs=1e-12)
    expected = metrics.r2_score(targets[:, 0], predictions[:, 0])
    assert float(r2(predictions[:, 0], targets[:, 0])) == pytest.approx(expected, abs=1e-12)


def test_r2_of_the_mean_is_zero_and_of_the_truth_is_one() -> None:
    _, targets = draw_numbers(0)
    assert float(r2(targets, targets)) == 1
    assert float(r2(targets.mean(0).expand_as(targets), targets)) == pytest.approx(0, abs=1e-12)


def test_r2_of_a_constant_target_is_one_where_exact_and_zero_elsewhere() -> None:
    constant = torch.full((7, 1), 0.1, dtype=torch.float64)
    _, varying = draw_numbers(0, count=7, targets=1)
    assert float(r2(constant, constant)) == 1
    assert float(r2(constant + 1e-3, constant)) == 0
    assert float(r2(torch.cat([constant, varying], 1), torch.cat([constant, varying], 1))) == 1
    assert metrics.r2_score(torch.full((7,), 0.5), torch.full((7,), 0.75)) == 0


def test_leading_axes_are_scored_one_by_one() -> None:
    predictions, targets = zip(*(draw_numbers(seed) for seed in range(4)), strict=True)
    together = r2(torch.stack(predictions), targets[0])
    assert torch.allclose(together, torch.stack([r2(one, targets[0]) for one in predictions]))
    classes, truth = draw_classes(0)
    assert accuracy(torch.stack([classes, truth]), truth).tolist() == [float(accuracy(classes, truth)), 1.0]


@pytest.mark.parametrize("metric", [accuracy, mean_per_class_accuracy, r2])
def test_a_weight_is_a_number_of_copies(metric: Metric) -> None:
    predictions, targets = draw_numbers(0) if metric is r2 else draw_classes(0)
    copies = torch.randint(3, (4, len(targets)), generator=torch.Generator().manual_seed(0))
    for row, score in zip(copies, metric(predictions, targets, copies.double()), strict=True):
        repeated = metric(predictions.repeat_interleave(row, 0), targets.repeat_interleave(row, 0), None)
        assert float(score) == pytest.approx(float(repeated), abs=1e-12)


def test_a_class_without_images_is_left_out_of_the_mean() -> None:
    predictions, targets = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])
    assert float(mean_per_class_accuracy(predictions, targets)) == 0.75
    first_class_alone = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert mean_per_class_accuracy(predictions, targets, first_class_alone).tolist() == [1.0]


def test_score_interval_is_the_score_with_its_interval() -> None:
    predictions, targets = draw_classes(0)
    for metric in (accuracy, mean_per_class_accuracy):
        score, interval = score_interval(predictions, targets, metric.__name__)
        assert score == float(metric(predictions, targets))
        assert interval == pytest.approx(bootstrap_interval(metric, predictions, targets, 4000), abs=0.015)
    numbers = draw_numbers(0)
    assert score_interval(*numbers, "r2", seed=1)[1] == bootstrap_interval(r2, *numbers, seed=1)


def test_an_interval_goes_no_further_than_scores_can() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(6, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(6, 1, generator=generator, dtype=torch.float64)
    for size in (0.0, 0.01, 0.3):
        score, (low, high) = score_interval(truth + size * noise, truth, "r2")
        assert low <= score <= high <= 1
    labels = torch.rand(8, 30, generator=generator) < 0.3
    labels[0] = True
    for size in (0.1, 0.6, 1e9):
        scores = labels + size * torch.randn(8, 30, generator=generator)
        score, (low, high) = score_interval(scores, labels, "mean_average_precision")
        assert 0 <= low <= score <= high <= 1
    # Of one image that is far off, and of labels that are ranked low, the moved percentiles lie beyond.
    truth = torch.arange(8.0, dtype=torch.float64)[:, None]
    predictions = truth + 3 * (truth == 0)
    assert bootstrap_interval(r2, predictions, truth)[1] > 1
    assert score_interval(predictions, truth, "r2")[1][1] == 1
    ranked, labels = -truth, (truth == 2) | (truth == 5)
    assert bootstrap_interval(mean_average_precision, ranked, labels)[0] < 0
    assert score_interval(ranked, labels, "mean_average_precision")[1][0] == 0


def test_r2_keeps_the_digits_of_targets_with_an_offset() -> None:
    predictions, truth = draw_numbers(0)
    for offset in (0.0, 1e9, 1e12):
        expected = metrics.r2_score((truth + offset).numpy(), (predictions + offset).numpy())
        assert float(r2(predictions + offset, truth + offset)) == pytest.approx(expected, abs=1e-3)
    for scale in (1e-30, 1e30):
        assert float(r2(scale * predictions, scale * truth)) == pytest.approx(float(r2(predictions, truth)))


def test_difference_interval_is_that_of_the_metric() -> None:
    first, targets = draw_classes(0)
    second = draw_classes(1)[0]
    for metric in (accuracy, mean_per_class_accuracy):
        found = difference_interval(first, second, targets, metric.__name__)
        assert found == pytest.approx(paired_interval(metric, first, second, targets, 4000), abs=0.02)
    ours, truth = draw_numbers(0)
    theirs, others = draw_numbers(1)
    expected = paired_interval(r2, ours, theirs, truth, seed=3, targets_b=others)
    assert difference_interval(ours, theirs, truth, "r2", 3, others) == expected


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ValueError, match=r"metric='top5', expected one of accuracy, mean_per_class_accuracy, r2"):
        score_interval(torch.zeros(3), torch.zeros(3), "top5")


@pytest.mark.parametrize("metric", [accuracy, mean_per_class_accuracy, r2])
def test_unequal_lengths_are_both_named(metric: Metric) -> None:
    with pytest.raises(ValueError, match="3 images were predicted, but 4 have targets"):
        metric(torch.zeros(3, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), None)


def test_r2_names_unequal_targets_and_too_few_images() -> None:
    with pytest.raises(ValueError, match="2 targets were predicted, but there are 3"):
        r2(torch.zeros(5, 2), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least 2 images, there are 1"):
        r2(torch.zeros(1, 2), torch.zeros(1, 2))


def draw_labels(seed: int, count: int = 150, labels: int = 4, levels: int = 0) -> tuple[Tensor, Tensor]:
    """Scores and labels; with ``levels``, many scores are equal."""
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(count, labels, generator=generator) < torch.linspace(0.05, 0.6, labels)
    values = positive + 1.5 * torch.randn(count, labels, generator=generator, dtype=torch.float64)
    return (values * levels).round() if levels else values, positive


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_equals_scikit_learn(seed: int, levels: int) -> None:
    values, positive = draw_labels(seed, levels=levels)
    expected = metrics.average_precision_score(positive.numpy(), values.numpy(), average="macro")
    assert float(mean_average_precision(values, positive)) == pytest.approx(expected, abs=1e-12)
    weights = torch.randint(4, (150,), generator=torch.Generator().manual_seed(seed)).double()
    expected = metrics.average_precision_score(positive.numpy(), values.numpy(), sample_weight=weights.numpy())
    assert mean_average_precision(values, positive, weights[None]).tolist() == pytest.approx([expected], abs=1e-12)


def test_average_precision_counts_labels_with_positives_alone() -> None:
    values, positive = draw_labels(0, labels=3)
    positive[:, 1] = False
    kept = [0, 2]
    assert float(mean_average_precision(values, positive)) == pytest.approx(
        float(mean_average_precision(values[:, kept], positive[:, kept]))
    )
    first_alone = positive[:, 0].double()[None]
    assert mean_average_precision(values, positive * torch.tensor([True, False, False]), first_alone).tolist() == [1.0]
    with pytest.raises(ValueError, match="no image has any of the labels"):
        mean_average_precision(values, torch.zeros_like(positive))


def test_average_precision_of_a_resample_without_a_labels_positives_leaves_it_out() -> None:
    values, positive = torch.tensor([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]]), torch.tensor([[0, 1], [1, 0], [0, 0]]).bool()
    without_first_image = torch.tensor([[0.0, 1.0, 1.0]])
    assert mean_average_precision(values, positive, without_first_image).tolist() == [1.0]


def test_average_precision_names_unequal_labels() -> None:
    with pytest.raises(ValueError, match="2 labels were predicted, but there are 3"):
        mean_average_precision(torch.zeros(5, 2), torch.ones(5, 3))


def test_r2_of_targets_is_scikit_learns() -> None:
    predictions, targets = draw_numbers(2)
    expected = metrics.r2_score(targets, predictions, multioutput="raw_values")
    assert r2_of_targets(predictions, targets).tolist() == pytest.approx(expected.tolist())
