"""Plain data of configurations as what it stands for: a task in a list of tasks, and how a run is scored on some."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.config.composed import as_object, literal
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.transfer import METRICS
from solo_invariance.config.watch_transfer import PROBES, WATCH_TRANSFER, WatchTransferConfig
from solo_invariance.errors import UserError, did_you_mean, none_of, reason_of

_OF_WATCHED = ("probe", "metric")
"""Keys that a watched task has beside those of every task."""


def task_from(entry: Any, usual: TaskConfig | None = None, others: Sequence[str] = ()) -> TaskConfig:
    """Return a task that an entry of ``tasks`` names.

    Args:
        entry: Its name, or a mapping with a name.
        usual: Has what the entry does not say itself; by default, what tasks usually have.
        others: Keys that an entry may have where it is from, for the message.

    Raises:
        UserError: It is neither, or a key or value of it is wrong.
    """
    entry = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"tasks: {entry} is neither a task's name nor a mapping with a name")
    known = [key.name for key in fields(TaskConfig)]
    unknown = next((key for key in entry if key not in known), None)
    if unknown is not None:
        there = none_of(str(unknown), [*known, *others])
        raise UserError(f"tasks: {entry['name']}: there is no key {unknown!r}{there}")
    try:
        defaults = literal(asdict(usual or TaskConfig()))
        return as_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), defaults, literal(entry)), TaskConfig)
    except OmegaConfBaseException as error:
        raise UserError(f"tasks: {entry['name']}: {reason_of(error)}") from error


def watched_task(entry: Any) -> tuple[TaskConfig, str | None, str | None]:
    """Return a task of ``invariance.transfer.tasks``, with its own probe and metric, None where it has none.

    Raises:
        UserError: It is neither a name nor a mapping with a name, or a key or value of it is wrong.
    """
    own: dict[str, Any] = {}
    if isinstance(entry, dict):
        own = {key: entry[key] for key in _OF_WATCHED if entry.get(key) is not None}
        for key, known in (("probe", PROBES), ("metric", METRICS)):
            if key in own and own[key] not in known:
                there = none_of(str(own[key]), known)
                raise UserError(f"tasks: {entry.get('name')}: {key}={own[key]}: there is none{there}")
        entry = {key: value for key, value in entry.items() if key not in _OF_WATCHED}
    return task_from(entry, others=_OF_WATCHED), own.get("probe"), own.get("metric")


def watch_transfer_from(values: Any) -> WatchTransferConfig:
    """Return what a run's configuration says.

    Raises:
        UserError: It is no mapping, a key is unknown, or a value is not what it should be; the message names it.
    """
    if not isinstance(values, Mapping):
        raise UserError(
            f"{WATCH_TRANSFER}={values}: expected keys and values; +{WATCH_TRANSFER.replace('.', '=')} has them"
        )
    known = [key.name for key in fields(WatchTransferConfig)]
    for key in values:
        if key not in known:
            hint = did_you_mean(str(key), known) or f"; there are {', '.join(known)}"
            raise UserError(f"{WATCH_TRANSFER}.{key}: there is no such key{hint}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(WatchTransferConfig), literal(dict(values)))
        config = as_object(merged, WatchTransferConfig)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or ""
        raise UserError(f"{WATCH_TRANSFER}.{key}: {reason_of(error)}") from error
    for entry in config.tasks:
        try:
            watched_task(entry)
        except UserError as error:
            raise UserError(f"{WATCH_TRANSFER}.{error}") from error
    return config
