"""What backbones that exist say: their scores on the task, family by family, and what goes with their invariances."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.composed import as_object, literal
from solo_invariance.errors import UserError
from solo_invariance.features.digests import digest_of_backbone
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
        family: What it was trained with, as its run's configuration says, or else its label.
        source: What loads it.
        seed: Of its weights, where these are random; None for that of the advice.
        invariances: That were measured of it, by transform.
        network: Its architecture and width.
        weights: Their hash.
    """

    family: str
    source: BackboneConfig
    seed: int | None = None
    invariances: Mapping[str, float] = field(default_factory=dict)
    network: str = ""
    weights: str = ""

    def load(self, seed: int) -> Backbone:
        """Return it; ``seed`` is of random weights that have none of their own."""
        return load_backbone(self.source, seed if self.seed is None else self.seed)


def told_apart(known: Sequence[Known], seed: int) -> list[Known]:
    """Return backbones by their weights: one that is there twice counts once, with all that was measured of it.

    Those of another network than most are of a family of their own: scores of different networks differ by more than
    by seeds.

    Args:
        known: As they were named; each is loaded, and let go.
        seed: Of random weights that have none of their own.

    Raises:
        UserError: One cannot be loaded.
    """
    found: dict[str, Known] = {}
    for one in known:
        net = one.load(seed)
        origin = net.provenance
        weights = origin.sha256 or digest_of_backbone(net)
        own = replace(
            one,
            family=origin.family or one.family or origin.label,
            network=f"{net.architecture.name}, {net.num_features}-d",
            weights=f"{weights} {one.source.layer or ''} {one.source.weights or ''}".strip(),
        )
        before = found.setdefault(own.weights, own)
        found[own.weights] = replace(before, invariances={**own.invariances, **before.invariances})
    networks = Counter(one.network for one in found.values())
    usual = max(networks, key=lambda name: networks[name], default="")
    return [
        one if one.network == usual else replace(one, family=f"{one.family} ({one.network})") for one in found.values()
    ]


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
    """Return the backbones that were measured, or scored on whatever, in some directories.

    Fusions are of no family; nor are weights that no file has and no name brings, such as a study's untrained ones.

    Raises:
        UserError: A directory holds no results, or a file of weights is not there any more.
    """
    if not runs:
        return []
    competing = [row for row in collect_results(runs).rows if row.role == "backbone" and not row.is_fused]
    sources = {row.label: source for row in competing if (source := _source_of(row)) is not None}
    rows = [row for row in competing if row.label in sources]
    metric = _metric_of(rows)
    return [
        Known(group.label, sources[row.label], row.files[0].seed, _invariances(row, metric))
        for group in groups_of(rows)
        for row in group.rows
    ]


def _metric_of(rows: Sequence[Row]) -> str:
    """Return the similarity that all rows have: the plain one depends on the width."""
    entries = [one for row in rows for one in row.transforms.values()]
    return next((name for name in _METRICS if all(name in one.metrics for one in entries)), _METRICS[-1])


def _invariances(row: Row, metric: str) -> dict[str, float]:
    return {name: one.metrics[metric].mean for name, one in row.transforms.items() if metric in one.metrics}


def _source_of(row: Row) -> BackboneConfig | None:
    """Return what loads a backbone, of the first of its results that says it; None where none does."""
    for file in row.files:
        content = file.config.get("backbone")
        if isinstance(content, Mapping) and (content.get("checkpoint") or ":" in str(content.get("name"))):
            known = {key: content[key] for key in BackboneConfig.__dataclass_fields__ if content.get(key) is not None}
            config = OmegaConf.merge(OmegaConf.structured(BackboneConfig), literal(known))
            return _there(as_object(config, BackboneConfig), file.file)
    return None


def _there(config: BackboneConfig, file: Path | None) -> BackboneConfig:
    if config.checkpoint is not None and not Path(config.checkpoint).exists():
        raise UserError(
            f"{file}: its backbone {config.checkpoint} is not there any more; leave its directory out of runs, or run "
            f"advise where that path leads to it"
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
