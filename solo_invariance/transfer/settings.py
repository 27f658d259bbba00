"""How backbones are scored on tasks, and what that means for one backbone and one task."""

from dataclasses import dataclass, field
from typing import cast

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.config.checks import require_at_least, require_positive
from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.errors import UserError
from solo_invariance.protocols import LogisticSolver, ProtocolName, protocol_named
from solo_invariance.transfer.kinds import Kind, kind_named
from solo_invariance.transfer.probes.official_logistic import require_scikit_learn
from solo_invariance.transfer.probes.settings import ProbeKind, ProbeSettings
from solo_invariance.transfer.tasks import Task


@dataclass(frozen=True)
class TransferSettings:
    """How to score backbones; whatever the task and the backbone.

    Args:
        probe: What is trained on frozen features: ``logistic`` (classes and labels), ``ridge``, ``kernel_ridge``
            (numbers), ``knn`` or ``few_shot`` (classes); None for the task's usual one.
        solver: Of logistic regression on classes: ``official`` has the numbers of the paper's code
            (``OfficialLogisticProbe``, which needs scikit-learn), ``converged`` those of the estimator; None for the
            protocol's, ``official`` with ``paper``.
        metric: The score's name, None for the task's usual one.
        protocol: ``paper`` keeps the official code's quirks, ``clean`` repairs them; see ``solo_invariance.protocols``.
        folds: Of the cross-validation that chooses what a probe leaves open.
        knn: How nearest neighbours vote, for ``probe="knn"``.
        few_shot: What an episode is, for ``probe="few_shot"``.
        seed: Of random weights, of the folds, of the episodes and of the bootstrap.
        batch_size: Images in one forward pass, None for what is fastest on the device.
        num_workers: Threads that read images.

    Raises:
        UserError: A number is too small, or there is no such protocol.
    """

    probe: ProbeKind | None = None
    solver: LogisticSolver | None = None
    metric: str | None = None
    protocol: ProtocolName = "clean"
    folds: int = 5
    knn: KNNConfig = field(default_factory=KNNConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    seed: int = 0
    batch_size: int | None = None
    num_workers: int = 4

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        require_at_least(0, self, "seed", "num_workers")
        if self.folds < 2:
            raise UserError(f"folds={self.folds}: cross-validation needs at least 2")
        try:
            protocol_named(self.protocol)
        except ValueError as error:
            raise UserError(str(error)) from error


def require_fitting(settings: TransferSettings, task: Task, name: str) -> None:
    """Raise UserError where a probe, a metric or a setting does not suit a task's targets.

    Args:
        settings: How to score.
        task: What the targets are.
        name: What messages call the task.
    """
    try:
        kind = kind_named(task.kind)
    except ValueError as error:
        raise UserError(f"task.name={name}: {error}") from error
    if settings.probe is not None and settings.probe not in kind.probes:
        expected = " or ".join(kind.probes)
        raise UserError(f"probe={settings.probe}: task.name={name} is {kind.name}, take {expected}")
    if settings.metric is not None and settings.metric not in kind.metrics:
        expected = " or ".join(kind.metrics)
        raise UserError(f"metric={settings.metric}: task.name={name} is {kind.name}, take {expected}")
    if settings.solver is not None and settings.probe not in (None, "logistic"):
        raise UserError("probe.solver: is read by probe=logistic alone")
    if settings.solver == "official" and settings.protocol != "paper":
        raise UserError("probe.solver=official: is the paper's; set protocol=paper, too")
    if solver_of(settings, kind, settings.probe or task.probe or kind.usual_probe) == "official":
        require_scikit_learn()
    for probe, usual in (("knn", KNNConfig()), ("few_shot", FewShotConfig())):
        if getattr(settings, probe) != usual and settings.probe != probe:
            raise UserError(f"{probe}: is read by probe={probe} alone")


def solver_of(settings: TransferSettings, kind: Kind, probe: str) -> LogisticSolver | None:
    """Return how logistic regression is fitted, None for a probe that is something else or is not on classes."""
    if probe != "logistic" or not kind.has_classes:
        return None
    return settings.solver or protocol_named(settings.protocol).logistic_solver


def probe_settings(settings: TransferSettings, task: Task, backbone: Backbone | None = None) -> ProbeSettings:
    """Return how to probe one backbone's features on one task, by all that the backbone says of them.

    A fused backbone's features need a grid of penalties for as many members as it has, keep their scale where the
    fusion was fitted to give them one, and may leave the members' weights to each task. Without these, the same
    features get another penalty and another score.

    Args:
        settings: How to score.
        task: What the targets are, and how they are usually scored.
        backbone: Plain, layered or fused; None for a plain one that is not there yet.
    """
    published = task.paper_metric if protocol_named(settings.protocol).takes_published_metric else None
    kind = kind_named(task.kind)
    probe = settings.probe or task.probe or kind.usual_probe
    return ProbeSettings(
        probe=cast(ProbeKind, probe),
        solver=solver_of(settings, kind, probe) or "converged",
        kind=task.kind,
        metric=settings.metric or published or task.metric,
        protocol=settings.protocol,
        folds=settings.folds,
        num_members=1 if backbone is None else _num_members(backbone),
        scaled=backbone is not None and backbone.scales_features,
        open_widths=None if backbone is None else backbone.open_widths,
        knn=settings.knn,
        few_shot=settings.few_shot,
        seed=settings.seed,
    )


def _num_members(backbone: Backbone) -> int:
    """Return how many backbones' features there are: the paper shifts its penalties by that, of a wide one, too."""
    return len(backbone.members) or max(1, round(backbone.width_factor))
