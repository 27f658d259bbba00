"""Few-shot classification in episodes, by the nearest class mean."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_invariance.bootstrap import Interval
from solo_invariance.transfer.intervals import episodes_interval
from solo_invariance.transfer.probes.inputs import check_features, check_labels

# Episodes whose images are drawn and compared together; the draws, so the scores, depend on it.
_EPISODES_AT_ONCE = 25


@dataclass(frozen=True)
class EpisodeScores:
    """The accuracy over episodes.

    Args:
        score: Mean, in [0, 1].
        ci95: Its 95 % interval over episodes, by ``intervals.episodes_interval``.
        accuracies: Of each episode, (E,), float64.
    """

    score: float
    ci95: Interval
    accuracies: Tensor


@torch.no_grad()
def few_shot_episodes(
    features: Tensor,
    labels: Tensor,
    ways: int = 5,
    shots: int = 5,
    queries: int = 15,
    episodes: int = 600,
    seed: int = 0,
    mean: Tensor | None = None,
    unit_length: bool = True,
) -> EpisodeScores:
    """Score how well a few labelled images of new classes tell other images of these classes apart.

    An episode draws some classes and, from each, images to learn from and others to classify, without replacement; an
    image belongs to the class whose mean is nearest by Euclidean distance (Snell, Swersky & Zemel 2017, "Prototypical
    Networks for Few-shot Learning", equations 1 and 2; without learning). Of equally near means, the class that was
    drawn first is taken. Only classes with enough images take part. The seed alone decides the draws.

    Args:
        features: Of test images, (N, D).
        labels: (N,), integers.
        ways: Classes in an episode, two at least.
        shots: Images of each to learn from.
        queries: Images of each to classify.
        episodes: How many, two at least.
        seed: Of the draws.
        mean: Of the training images' features, to be taken off first, (D,).
        unit_length: Whether features are then divided by their length.

    Raises:
        ValueError: Shapes do not fit, a row is not finite (the first is named), too few classes have enough images, or
            a number is too small.
    """
    _check_sizes(ways, shots, queries, episodes)
    features = _prepared(features, mean, unit_length)
    members = _members(check_labels(labels, features)[1], shots + queries, ways)
    generator = torch.Generator().manual_seed(seed)
    accuracies = []
    for start in range(0, episodes, _EPISODES_AT_ONCE):
        rows = _draw(members, min(_EPISODES_AT_ONCE, episodes - start), ways, shots + queries, generator)
        accuracies.append(_accuracies(features, rows.to(features.device), shots))
    return _summary(torch.cat(accuracies))


def require_episodes(
    labels: Tensor, ways: int = 5, shots: int = 5, queries: int = 15, episodes: int = 600, unit_length: bool = True
) -> None:
    """Raise ValueError where labels allow no such episodes; arguments as of ``few_shot_episodes``."""
    _check_sizes(ways, shots, queries, episodes)
    _members(check_labels(labels, labels)[1], shots + queries, ways)


def _prepared(features: Tensor, mean: Tensor | None, unit_length: bool) -> Tensor:
    features = check_features(features)
    if mean is not None:
        if mean.shape != features.shape[1:]:
            raise ValueError(f"mean of shape {tuple(mean.shape)}, expected ({features.shape[1]},)")
        features = features - mean.to(features)
    return normalize(features) if unit_length else features


def _members(encoded: Tensor, needed: int, ways: int) -> Tensor:
    """Return the rows of the images of each class that has enough, (C, most), filled up with -1; on the CPU."""
    classes = [(encoded.cpu() == index).nonzero()[:, 0] for index in range(int(encoded.max()) + 1)]
    enough = [rows for rows in classes if len(rows) >= needed]
    if len(enough) < ways:
        raise ValueError(
            f"ways={ways}, but only {len(enough)} of {len(classes)} classes have the {needed} images that an episode "
            f"takes (shots + queries); the largest has {max(map(len, classes))}"
        )
    return torch.nn.utils.rnn.pad_sequence(enough, batch_first=True, padding_value=-1)


def _draw(members: Tensor, episodes: int, ways: int, images: int, generator: torch.Generator) -> Tensor:
    """Return the rows of the images of each episode and class, (E, W, I): those of the smallest random keys."""
    chosen = torch.rand(episodes, len(members), generator=generator, dtype=torch.float64).argsort(1)[:, :ways]
    rows = members[chosen]
    keys = torch.rand(rows.shape, generator=generator, dtype=torch.float64).masked_fill(rows < 0, 2.0)
    return rows.gather(2, keys.topk(images, dim=2, largest=False).indices)


def _accuracies(features: Tensor, rows: Tensor, shots: int) -> Tensor:
    """Return the accuracy of each episode, (E,)."""
    means = features[rows[:, :, :shots]].mean(2)
    queries = features[rows[:, :, shots:]]
    # The query's own length is the same for all classes.
    distances = (means**2).sum(2)[:, None] - 2 * queries.flatten(1, 2) @ means.mT
    nearest = distances.argmin(2).view(queries.shape[:3])
    return (nearest == torch.arange(means.shape[1], device=rows.device)[:, None]).double().mean((1, 2))


def _summary(accuracies: Tensor) -> EpisodeScores:
    return EpisodeScores(float(accuracies.mean()), episodes_interval(accuracies), accuracies)


def _check_sizes(ways: int, shots: int, queries: int, episodes: int) -> None:
    least = {"ways": (ways, 2), "shots": (shots, 1), "queries": (queries, 1), "episodes": (episodes, 2)}
    for name, (given, smallest) in least.items():
        if given < smallest:
            raise ValueError(f"{name}={given}, expected at least {smallest}")
