"""Checkpoints of runs that are there, solo-learn's or ours, for arms and seeds of a study."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_invariance.backbones.files.checkpoint import read_args
from solo_invariance.backbones.load import families_of
from solo_invariance.config.checks import require_checkpoint
from solo_invariance.config.composed import plain
from solo_invariance.config.study import StudyConfig
from solo_invariance.errors import UserError, none_of
from solo_invariance.hosts.embedded.methods import fill_in
from solo_invariance.hosts.sensitive import KEYS as SENSITIVE_KEYS
from solo_invariance.hosts.sensitive import sensitive_from_section
from solo_invariance.study.plan import Plan, Pretraining

_READ = tuple(f"invariance.{key}" for key in SENSITIVE_KEYS)  # keys whose values are not compared as they are written


def plan_of(settings: StudyConfig) -> Plan:
    """Return what a study consists of, with the checkpoints that it need not train.

    Raises:
        UserError: A checkpoint is not there, nothing says by what it was trained, no arm of the study is of its family
            and its network, its seed is none of that arm's, or two are of one arm and seed.
    """
    found: dict[Pretraining, Path] = {}
    configs = _configs_of(Plan(settings, {})) if settings.study.checkpoints else {}
    for path in map(Path, settings.study.checkpoints):
        one = _pretraining_of(settings, configs, path)
        if one in found:
            raise UserError(
                f"study.checkpoints: {found[one]} and {path} are both of arm {one.arm}, seed {one.seed}; name one"
            )
        found[one] = path
    return Plan(settings, found)


def _configs_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return how each arm is trained, but for its seed; keys that are open are filled in, as ``args.json`` has them."""
    any_seed = {one.arm: one for one in plan.pretrainings}
    configs = {arm: plan.config_of(one) for arm, one in any_seed.items()}
    for config in configs.values():
        fill_in(config)
    return {arm: plain(config) for arm, config in configs.items()}


def _pretraining_of(settings: StudyConfig, configs: Mapping[str, Mapping[str, Any]], path: Path) -> Pretraining:
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
    arm = _arm_of(settings, configs, family, args, file)
    seeds = settings.seeds_of(arm)
    if seed not in seeds:
        listed = ",".join(map(str, seeds))
        raise UserError(
            f"study.checkpoints: {file}: seed {seed} is none of arm {arm}'s, seeds=[{listed}]; add it there"
        )
    return Pretraining(arm, seed)


def _arm_of(
    settings: StudyConfig, configs: Mapping[str, Mapping[str, Any]], family: str, args: Mapping[str, Any], file: Path
) -> str:
    """Return the arm of a family; of several, the one whose network it is, and whose own keys have the run's values."""
    families = {arm: families_of(config) for arm, config in configs.items()}
    same = [arm for arm, one in families.items() if one == family]
    if not same:
        known = dict.fromkeys(families.values())
        raise UserError(
            f"study.checkpoints: {file}: no arm of the study is of family {family!r}{none_of(family, known)}"
        )
    try:
        alike = [arm for arm in same if _kind_of(configs[arm]) == _kind_of(args)]
    except UserError as error:
        raise UserError(f"study.checkpoints: {file}: {error}") from error
    own = dict.fromkeys(key for arm in alike for key in _leaves(settings.study.arms[arm].pretrain) if key not in _READ)
    keys = [*own] if len(alike) > 1 else []  # one alone may have been trained longer, or by another rate
    ran, kinds = _kind_of(args, keys), {arm: _kind_of(configs[arm], keys) for arm in same}
    fitting = [arm for arm, kind in kinds.items() if kind == ran]
    if len(fitting) != 1:
        listed = "; ".join(f"{arm}: {kind}" for arm, kind in kinds.items())
        what = "which of them it is, nothing says" if fitting else "none of them is of that"
        raise UserError(f"study.checkpoints: {file}: a {ran} of family {family!r}, of which there are {listed}; {what}")
    return fitting[0]


def _kind_of(config: Mapping[str, Any], keys: Sequence[str] = ()) -> str:
    """Return what was trained and what it was kept sensitive to, and the values of keys.

    Raises:
        UserError: What it is kept sensitive to is wrong.
    """
    section = config.get("invariance")
    sensitive = sensitive_from_section(section if isinstance(section, Mapping) else {})
    kept = [] if sensitive is None else [sensitive.summary()]
    return ", ".join([_network_of(config), *kept, *(f"{key}={_at(config, key)}" for key in keys)])


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _at(config: Mapping[str, Any], key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _network_of(args: Mapping[str, Any]) -> str:
    section = args.get("backbone")
    if not isinstance(section, Mapping):
        return "network without a name"
    kwargs = section.get("kwargs") or {}
    return f"{section.get('name')}{kwargs or ''}"
