"""What backbones that exist say: their scores on the task, family by family, and what goes with their invariances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.composed import as_object, literal
from solo_invariance.errors import UserError
from solo_invariance.report.association import Correlation, spearman
from solo_invariance.report.collect import Row, collect_results
from solo_invariance.report.groups import groups_of, spread_of
from solo_invariance.results import TransferResult

_DRAWS = 1000
_FEWEST_SEEDS = 2
_METRICS = ("width_matched_similarity", "similarity")


@dataclass(frozen=True)
class Known:
    """A backbone that exists.

    Args:
        family: What it was trained with, as its label says.
        source: What loads it.
        seed: Of its weights, where these are random; None for that of the advice.
        invariances: That were measured of it, by transform.
    """

    family: str
    source: BackboneConfig
    seed: int | None = None
    invariances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """Scores of backbones of one family that differ in their seeds.

    Args:
        scores: On the task.
    """

    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the backbones."""
        return spread_of(self.scores).mean

    @property
    def deviation(self) -> float:
        """Their standard deviation; 0 of one."""
        return spread_of(self.scores).deviation

    @property
    def counts(self) -> bool:
        """Whether they are enough to say how much seeds matter."""
        return len(self.scores) >= _FEWEST_SEEDS


def known_in(runs: Sequence[Path | str]) -> list[Known]:
    """Return the backbones that were measured, or scored on whatever, in some directories; fusions are of no family.

    Raises:
        UserError: A directory holds no results, or a result does not say which backbone it is of.
    """
    if not runs:
        return []
    rows = [row for row in collect_results(runs).rows if row.role == "backbone" and not row.is_fused]
    metric = _metric_of(rows)
    return [
        Known(group.label, _config_of(row), row.files[0].seed, _invariances(row, metric))
        for group in groups_of(rows)
        for row in group.rows
    ]


def _metric_of(rows: Sequence[Row]) -> str:
    """Return the similarity that all rows have: the plain one depends on the width."""
    entries = [one for row in rows for one in row.transforms.values()]
    return next((name for name in _METRICS if all(name in one.metrics for one in entries)), _METRICS[-1])


def _invariances(row: Row, metric: str) -> dict[str, float]:
    return {name: one.metrics[metric].mean for name, one in row.transforms.items() if metric in one.metrics}


def _config_of(row: Row) -> BackboneConfig:
    content = row.files[0].config.get("backbone")
    if not isinstance(content, Mapping):
        raise UserError(
            f"{row.files[0].file}: config.backbone does not say which backbone it is of; name it in backbones"
        )
    from omegaconf import OmegaConf

    kept = {key: value for key, value in content.items() if key in BackboneConfig.__dataclass_fields__}
    config = as_object(OmegaConf.merge(OmegaConf.structured(BackboneConfig), literal(kept)), BackboneConfig)
    if config.checkpoint is not None and not Path(config.checkpoint).exists():
        raise UserError(
            f"{row.files[0].file}: its backbone {config.checkpoint} is not there any more; leave its directory out of "
            f"runs, or run advise where that path leads to it"
        )
    return config


def by_family(known: Sequence[Known], scores: Sequence[TransferResult]) -> dict[str, Trained]:
    """Return the scores of each family's backbones."""
    found: dict[str, list[float]] = {}
    for one, result in zip(known, scores, strict=True):
        found.setdefault(one.family, []).append(result.mean_score)
    return {family: Trained(tuple(values)) for family, values in found.items()}


def correlations(known: Sequence[Known], scores: Sequence[TransferResult]) -> dict[str, Correlation]:
    """Return, for each transform, the rank correlation of scores with invariance to it, where six backbones have it."""
    found = {}
    for name in dict.fromkeys(name for one in known for name in one.invariances):
        pairs = [(one, result) for one, result in zip(known, scores, strict=True) if name in one.invariances]
        invariances = [one.invariances[name] for one, _ in pairs]
        families = [one.family for one, _ in pairs]
        correlation = spearman(invariances, [result.mean_score for _, result in pairs], families)
        if correlation is not None:
            found[name] = correlation
    return found


def drawn_means(trained: Sequence[Trained], seed: int) -> NDArray[np.float64]:
    """Return mean scores (B, F) as other seeds might have given them: Student's t, of one deviation for all families.

    Args:
        trained: F families, each of two backbones at least.
        seed: Of the draws.
    """
    if not trained:
        return np.zeros((1, 0))
    counts = np.array([len(one.scores) for one in trained])
    freedom = int((counts - 1).sum())
    deviation = np.sqrt(sum((n - 1) * one.deviation**2 for n, one in zip(counts, trained, strict=True)) / freedom)
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal((_DRAWS, len(trained)))
    spread = deviation * np.sqrt(freedom / generator.chisquare(freedom, _DRAWS))[:, None]
    means: NDArray[np.float64] = np.array([one.mean for one in trained]) + normal * spread / np.sqrt(counts)
    return means
