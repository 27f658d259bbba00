"""Errors of Hydra's and OmegaConf's in one line of ours: which key or value is wrong, and what is allowed."""

import re
from typing import Any

from solo_invariance.config.kinds import schema_of
from solo_invariance.config.typed import is_known, unknown_key
from solo_invariance.errors import did_you_mean

_QUOTES = "\"'"
_GRAMMAR = re.compile("(extraneous|mismatched) input|no viable alternative|token recognition|missing [A-Z_]+ at")
_TYPED = re.compile(r"Could not override '([^']+)'")
_OPTIONS = re.compile(r"Available options in '[^']*':\n((?:\t.*(?:\n|$))+)")


def explain_config_error(error: BaseException, command: str) -> str:
    """Return one line for an error of Hydra's or OmegaConf's: which key or value is wrong, and what is allowed.

    Args:
        error: As it was raised.
        command: For which a configuration was composed.
    """
    composing = re.match(r"In '(.+)': \w+ raised while composing config", str(error))
    if composing and error.__context__ is not None:
        return f"{composing.group(1)}.yaml: {explain_config_error(error.__context__, command)}"
    if choice := re.match(r"In '[^']*': Could not find '([^']+)'", str(error)):
        return _no_choice(choice.group(1), str(error))
    if there := re.match(r"Could not append to config\. An item is already at '([^']+)'", str(error)):
        return f"+{there.group(1)}: the key is there, set it without the plus, {there.group(1)}=VALUE"
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    key = getattr(cause, "full_key", None)
    message = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    if key and ("not in struct" in message or "not in '" in message):
        typed = _TYPED.match(str(error))
        return _unknown(command, typed.group(1) if typed else key, cause)
    if not_a_group := re.match(r"Could not override '([^']+)'\. No match in the defaults list", message):
        named = not_a_group.group(1)
        if is_known(schema_of(command), named):
            return (
                f"{named}: --config-dir has a folder {named}, which Hydra takes for configurations; name another folder"
            )
        return _unknown(command, named, cause)
    where = f"{key}: " if key and key not in message else ""
    if resolving := re.match(r"(\w+) raised while resolving interpolation: (.*)", message):
        kind, reason = resolving.groups()
        return (
            f"{where}its interpolation cannot be resolved{'' if kind == 'TypeError' else f' ({reason.strip(_QUOTES)})'}"
        )
    if _GRAMMAR.search(message):
        return f"{where}something between ${{ and }} is no interpolation"
    if standing := re.match(r"While dereferencing interpolation '(.*?)': ", message):
        return f"{where}{standing.group(1)} stands for what is no value of this key"
    if chosen := re.search(r"Invalid value '(.*)', expected one of \[(.+)\]", message):
        return f"{where}{message}{did_you_mean(chosen.group(1), chosen.group(2).split(', '))}"
    return f"{where}{message}"


def _unknown(command: str, key: str, error: BaseException) -> str:
    """Return what to say of a key that is none of a command's, or none of those of a mapping within it."""
    if not key.startswith("hydra.") and not is_known(schema_of(command), key):
        return unknown_key(command, key)
    parent: Any = getattr(error, "parent_node", None)
    prefix = key.rpartition(".")[0]
    siblings = [f"{prefix}.{name}" if prefix else str(name) for name in (parent or {})]
    return f"unknown key {key!r} for {command}{did_you_mean(key, siblings)}"


def _no_choice(path: str, message: str) -> str:
    """Return what to say of a configuration that a group does not have."""
    group, _, name = path.rpartition("/")
    options = _OPTIONS.search(message)
    names = [line.strip() for line in options.group(1).splitlines()] if options else []
    said = f"{group}={name}: there is no configuration {path}"
    return f"{said}{did_you_mean(name, names) or ';'} known: {', '.join(names)}" if names else said
