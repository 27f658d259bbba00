"""Checkpoints of runs that are there, solo-learn's or ours, for arms and seeds of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solo_invariance.backbones.files.checkpoint import read_args
from solo_invariance.backbones.load import families_of
from solo_invariance.config.checks import require_checkpoint
from solo_invariance.config.study import StudyConfig
from solo_invariance.errors import UserError, none_of
from solo_invariance.study.plan import Plan, Pretraining


def plan_of(settings: StudyConfig) -> Plan:
    """Return what a study consists of, with the checkpoints that it need not train.

    Raises:
        UserError: A checkpoint is not there, nothing says by what it was trained, no arm of the study is of its family
            and its network, its seed is none of that arm's, or two are of one arm and seed.
    """
    nothing = Plan(settings, {})
    found: dict[Pretraining, Path] = {}
    for path in map(Path, settings.study.checkpoints):
        one = _pretraining_of(nothing, path)
        if one in found:
            raise UserError(
                f"study.checkpoints: {found[one]} and {path} are both of arm {one.arm}, seed {one.seed}; name one"
            )
        found[one] = path
    return Plan(settings, found)


def _pretraining_of(plan: Plan, path: Path) -> Pretraining:
    """Return the arm and the seed of a checkpoint, by the run's configuration beside it."""
    try:
        require_checkpoint(path)
    except UserError as error:
        raise UserError(f"study.checkpoints: {error}") from error
    args = read_args(path)
    file = path.parent / "args.json"
    if args is None:
        raise UserError(f"study.checkpoints: {path}: there is no args.json beside it, which has its family and seed")
    family, seed = families_of(args), args.get("seed")
    if not family:
        raise UserError(
            f"study.checkpoints: {file}: names no family; was it trained with augmentations=invariance/...?"
        )
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UserError(f"study.checkpoints: {file}: seed={seed}: expected a whole number")
    arm = _arm_of(plan, family, args, file)
    seeds = plan.settings.seeds_of(arm)
    if seed not in seeds:
        listed = ",".join(map(str, seeds))
        raise UserError(
            f"study.checkpoints: {file}: seed {seed} is none of arm {arm}'s, seeds=[{listed}]; add it there"
        )
    return Pretraining(arm, seed)


def _arm_of(plan: Plan, family: str, args: Mapping[str, Any], file: Path) -> str:
    """Return the arm of a family; of several, the one that is kept sensitive to the same, and whose network it is."""
    trained = {one.arm: plan.config_of(one) for one in reversed(plan.pretrainings)}
    families = {arm: families_of(_plain(config)) for arm, config in trained.items()}
    same = [arm for arm, one in families.items() if one == family]
    if not same:
        known = dict.fromkeys(families.values())
        raise UserError(
            f"study.checkpoints: {file}: no arm of the study is of family {family!r}{none_of(family, known)}"
        )
    same = [arm for arm in same if _sensitive_to(_plain(trained[arm])) == _sensitive_to(args)] or same
    network = _network_of(args)
    fitting = [arm for arm in same if _network_of(_plain(trained[arm])) == network]
    if len(fitting) != 1:
        networks = ", ".join(f"{arm}: {_network_of(_plain(trained[arm]))}" for arm in same)
        what = "which of them it is, nothing says" if fitting else "none of them is of that"
        raise UserError(
            f"study.checkpoints: {file}: a {network} of family {family!r}, of which there are {networks}; {what}"
        )
    return fitting[0]


def _sensitive_to(args: Mapping[str, Any]) -> list[str]:
    section = args.get("invariance")
    found = section.get("sensitive") if isinstance(section, Mapping) else None
    return [found] if isinstance(found, str) else list(found or [])


def _network_of(args: Mapping[str, Any]) -> str:
    section = args.get("backbone")
    if not isinstance(section, Mapping):
        return "network without a name"
    kwargs = section.get("kwargs") or {}
    return f"{section.get('name')}{kwargs or ''}"


def _plain(config: Any) -> dict[str, Any]:
    from solo_invariance.config.composed import plain

    return plain(config)
