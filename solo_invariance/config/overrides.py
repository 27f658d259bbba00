"""A command line's overrides in Hydra's grammar: names and paths stay as they were typed."""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.config.checks import require_text
from solo_invariance.config.kinds import (
    SHORT_FOR,
    command_behind,
    is_path,
    is_section,
    is_text,
    kind_of,
    kinds_of,
    may_be_none,
    members_of,
    open_mappings,
)
from solo_invariance.errors import UserError, did_you_mean

_OVERRIDE = re.compile(r"(?P<sign>\+{0,2}|~)(?P<key>[\w$-]+(?:[./@:][\w$-]+)*)=(?P<value>.*)", re.DOTALL | re.ASCII)
_DELETION = re.compile(r"~[\w$-]+(?:[./@:][\w$-]+)*", re.ASCII)
_ENTRY_OPERATIONS = re.compile(r"augmentations\.\d+\.operations\.")
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_WHOLLY_QUOTED = re.compile(_QUOTED, re.DOTALL)
# As opposed to an apostrophe, a quotation mark ends where the item does.
_QUOTED_ITEM = re.compile(rf"(?:{_QUOTED})(?=\s*(?:[,\]}}:]|$))", re.DOTALL)
_ESCAPED = re.compile(r"\\([()\[\]{}:=, \t])")
_UNQUOTED = re.compile(r"(?!(?:null|true|false|inf|nan)$)[a-z/][\w/.-]*", re.ASCII | re.IGNORECASE)
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_CHOICE = re.compile(r"choice\((.*)\)", re.DOTALL)
_SWEEP = re.compile(r"(?:range|interval|glob|shuffle|sort|tag)\(.*\)", re.DOTALL)
_OPENING, _CLOSING = "([{", ")]}"
_LISTED = 8
_PRESETS = "study"  # a group of configurations, each of which is a section of that name
_GROUP, _OF_GROUP = "+invariance", ("monitor", "transfer")  # configurations of a group that has a section's name


def hydra_arguments(arguments: Sequence[str], schema: type[Any]) -> list[str]:
    """Return a command's arguments in Hydra's grammar, its flags first.

    What a key's kind says is text stays as it was typed: ``out=3.10`` is no number, and blanks, quotes and brackets are
    characters like others. Hydra's own notation still holds: a value wholly in quotes is what is between them, a
    backslash before one of ``()[]{}:=,`` or a blank is dropped (where no file is called as it was typed),
    ``${...}`` is an interpolation, and with ``--multirun`` commas separate the values of a sweep.

    Args:
        arguments: As the shell hands them over.
        schema: The command's configuration.

    Raises:
        UserError: An argument is neither a flag of Hydra's nor ``key=value``, or is the flag by which Hydra would
            unpickle a file; or a value is not of the shape of its key.

    Example:
        >>> from solo_invariance.config.measure import MeasureConfig
        >>> hydra_arguments(["data.path=My Drive/it's", "k=8", "transforms=[hue]"], MeasureConfig)
        ["data.path='My Drive/it\\\\'s'", 'k=8', "transforms=['hue']"]
    """
    flags, overrides = split_off_flags(arguments)
    sweeps = "multirun" in flags or "hydra.mode=MULTIRUN" in overrides
    written = [f"--{name}" if value is True else f"--{name}={value}" for name, value in flags.items()]
    return [*written, *(_override(one, schema, sweeps) for one in overrides)]


def written_out(command: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return a command that is short for another one with some keys as that one, with its arguments.

    Example:
        >>> written_out("demo", ["out=runs/small"]), written_out("fuse", [])
        (('study', ['study=demo', 'out=runs/small']), ('fuse', []))
    """
    typed = {argument.partition("=")[0] for argument in arguments}
    implied = SHORT_FOR[command][1] if command in SHORT_FOR else ()
    return command_behind(command), [*(one for one in implied if one.partition("=")[0] not in typed), *arguments]


def quoted(text: str) -> str:
    """Return a text as Hydra's grammar writes it, whatever its characters."""
    return QuotedString(escape_interpolations(text), Quote.single).with_quotes()


def escape_interpolations(text: str) -> str:
    """Return a text that OmegaConf reads as this one, where it would see interpolations in it."""
    return _INTERPOLATION.sub(r"\1\1\\${", text)


def as_typed(key: str, text: str) -> str:
    """Return an override as it is typed in a shell, for a text of any characters.

    Example:
        >>> print(as_typed("out", "fused.ckpt"), as_typed("out", "My Drive/a=1"))
        out=fused.ckpt "out='My Drive/a=1'"
    """
    if _UNQUOTED.fullmatch(text):
        return f"{key}={text}"
    override = f"{key}={quoted(text)}"
    return shlex.quote(override) if set(override) & set('"$`\\!') else f'"{override}"'


def name_section(key: str, value: str, schema: type[Any]) -> str:
    """Return a key, or, where the value names what a section is about, the key in the section that has the name.

    A section's dataclass says so by ``named_by``, the key that has the name.

    Example:
        >>> from solo_invariance.config.transfer import TransferConfig
        >>> name_section("probe", "knn", TransferConfig)
        'probe.name'
        >>> name_section("probe", "{name: logistic, solver: official}", TransferConfig)
        'probe'
    """
    named_by = getattr(kind_of(key, schema), "named_by", None)
    return key if named_by is None or value.startswith("{") else f"{key}.{named_by}"


def split_off_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return Hydra's flags, which may be cut short or come between, by their names, and all other arguments.

    Args:
        arguments: As the shell hands them over.

    Raises:
        UserError: There is no such flag, its value is none, it is the one that would run what a file says, or it is
            Hydra's way to completion, which ends in an error where a command is more than one word.
    """
    parser = get_args_parser()
    parser.error = _refuse_flags  # type: ignore[method-assign]
    found, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        known = {option for action in parser._actions for option in action.option_strings}
        hint = did_you_mean(unknown[0], known) or "; keys are set without dashes, as in k=16"
        raise UserError(f"{unknown[0]}: there is no such flag{hint}")
    flags = {name.replace("_", "-"): value for name, value in vars(found).items() if value not in (None, False)}
    if "shell-completion" in flags:
        raise UserError(
            '--shell-completion: completion is by eval "$(solo-invariance completion bash)", or zsh; or, in fish, by '
            "solo-invariance completion fish | source"
        )
    if "experimental-rerun" in flags:
        raise UserError("--experimental-rerun is refused: it unpickles a file; type the command again instead")
    return flags, flags.pop("overrides", [])


def _refuse_flags(message: str) -> Any:
    raise UserError(f"{message}; keys are set by key=value, and --help lists them")


def _override(argument: str, schema: type[Any], sweeps: bool) -> str:
    parts = _OVERRIDE.fullmatch(argument)
    if parts is None:
        if _DELETION.fullmatch(argument):
            return argument  # takes a key away
        raise UserError(f"{argument!r}: expected key=value")
    sign, key, value = parts.group("sign", "key", "value")
    if key == _PRESETS and not value.lstrip().startswith("{"):
        return argument  # chooses a configuration, whose name is plain
    if sign == "~" or (sign + key == _GROUP and all(one in _OF_GROUP for one in split_items(value.strip("[] ")))):
        return argument
    whole = HydraConf if key == "hydra" or key.startswith("hydra.") else schema
    key = name_section(key, value, schema)
    kind = whole if key == "hydra" else kind_of(key.removeprefix("hydra."), whole)
    written = _sweep(key, value, kind) if sweeps else _written(key, value, kind)
    is_open = any(f"{key}.".startswith(f"{one}.") for one in open_mappings(schema)) or _ENTRY_OPERATIONS.match(key)
    return f"{'++' if is_open else sign}{key}={written}"


def _sweep(key: str, value: str, kind: Any) -> str:
    """Return the values of a sweep, or the only one."""
    choice = _CHOICE.fullmatch(value.strip())
    if _SWEEP.fullmatch(value.strip()):
        return value
    items = split_items(choice.group(1) if choice else value, kind)
    if len(items) < 2 and not choice:
        return _written(key, value, kind)
    written = ",".join(_written(key, one, kind) for one in items)
    return f"choice({written})" if choice else written


def _written(key: str, value: str, kind: Any) -> str:
    """Return a value in Hydra's grammar."""
    kinds, bare = kinds_of(kind), value.strip()
    if bare == "null" and may_be_none(kind):
        return bare
    for one in kinds:
        if get_origin(one) is list and _is_between("[]", bare):
            return _written_list(key, bare, get_args(one)[0])
        if is_section(one) and _is_between("{}", bare):
            return _written_mapping(key, bare, one)
        if get_origin(one) is dict and _is_between("{}", bare):
            return _as_it_looks(key, bare)
    texts = [one for one in kinds if is_text(one)]
    if texts:
        require_text(value, key)
        if bare in ("[]", "{}", "null"):
            raise UserError(f"{key}={value}: expected text; in quotes, it is text: {as_typed(key, value)}")
        return _text(value, any(map(is_path, texts)))
    if not (bare.startswith("${") and _is_resolvable(bare)):
        _require_shape(key, bare, kind)
    return _as_it_looks(key, _whole_number(bare) if int in kinds else bare)


def _as_it_looks(key: str, value: str) -> str:
    """Return a value that is a number, a list or whatever else it looks like."""
    if _is_readable(value):
        return value
    if _is_between("[]", value):
        return _written_list(key, value, Any)
    return _written_mapping(key, value, Any) if _is_between("{}", value) else quoted(value)


def _require_shape(key: str, value: str, kind: Any) -> None:
    """Refuse a word where the key has keys of its own or is a list."""
    for one in kinds_of(kind):
        if is_dataclass(one) and not value.startswith("{"):
            keys = ", ".join(f"{key}.{name}=..." for name in [*members_of(one)][:_LISTED])
            raise UserError(f"{key}={value}: is a section, set its keys, such as {keys}")
        if (get_origin(one) is dict or is_section(one)) and not value.startswith("{"):
            raise UserError(f"{key}={value}: expected keys and values, '{key}={{name: value}}' or {key}.name=value")
        if get_origin(one) is list:
            item = "..." if value in ("null", "{}", "") else value
            raise UserError(f"{key}={value}: expected a list, '{key}=[{item}]'")


def _text(value: str, is_file: bool) -> str:
    """Return text as it was typed, or as Hydra's notation has it."""
    if is_file and value.strip() and os.path.lexists(value):
        return quoted(value)
    if is_file and (value == "~" or value.startswith("~/")):
        value = os.path.expanduser(value)
    bare = value.strip()
    if _WHOLLY_QUOTED.fullmatch(bare) and _is_readable(bare):
        return bare
    text = _ESCAPED.sub(r"\1", value)
    return QuotedString(text, Quote.single).with_quotes() if _is_resolvable(text) else quoted(text)


def _written_list(key: str, value: str, kind: Any) -> str:
    return f"[{','.join(_written(key, item, kind) for item in split_items(value[1:-1], kind))}]"


def _written_mapping(key: str, value: str, kind: Any) -> str:
    entries = []
    for entry in split_items(value[1:-1]):
        name, colon, inner = entry.partition(":")
        if not colon:
            raise UserError(f"{key}={value}: expected {{name: value}}, a colon after each name")
        name = name.strip().strip("'\"")
        entries.append(f"{name}: {_written(f'{key}.{name}', inner.strip(), kind_of(name, kind))}")
    return f"{{{', '.join(entries)}}}"


def split_items(text: str, kind: Any = Any) -> list[str]:
    r"""Return what commas separate, without blanks around; those in quotes, in brackets or after a backslash do not.

    Apostrophes, and brackets that are not in pairs, are characters like others. Where items may be paths, a file that
    is there, with commas in its name, is one.

    Args:
        text: Between the brackets of a list or a mapping.
        kind: Of the items.

    Example:
        >>> split_items("it's, 'a,b', f(1,2), g(, c\\,d")
        ["it's", "'a,b'", 'f(1,2)', 'g(', 'c\\,d']
    """
    if not text.strip():
        return []
    ends, all_ends = [*_separators(text), len(text)], [*(one.start() for one in re.finditer(",", text)), len(text)]
    may_be_file = any(map(is_path, kinds_of(kind)))
    items, start = [], 0
    while start <= len(text):
        end = next(place for place in ends if place >= start)
        if may_be_file:
            candidates = [place for place in all_ends if place >= start][:_LISTED]
            end = next((place for place in candidates if _is_there(text[start:place])), end)
        items.append(_stripped(text[start:end]))
        start = end + 1
    return items


def _separators(text: str) -> list[int]:
    """Return the places of the commas that are neither quoted, nor escaped, nor in brackets."""
    commas, inside, opened, place, begins = list[int](), set[int](), list[int](), 0, True
    while place < len(text):
        character = text[place]
        item = _QUOTED_ITEM.match(text, place) if begins else None
        if item or character == "\\":
            place, begins = item.end() if item else place + 2, False
            continue
        if character == ",":
            commas.append(place)
        elif character in _OPENING:
            opened.append(place)
        elif character in _CLOSING:
            pairs = [first for first in opened if text[first] == _OPENING[_CLOSING.index(character)]]
            if pairs:
                inside.update(comma for comma in commas if comma > pairs[-1])
                del opened[opened.index(pairs[-1]) :]
        begins = character in "([{,:" or (begins and character.isspace())
        place += 1
    return [comma for comma in commas if comma not in inside]


def _is_there(path: str) -> bool:
    return bool(path.strip()) and os.path.lexists(path.strip())


def _stripped(item: str) -> str:
    """Return an item without the blanks around it, but for one that a backslash keeps."""
    bare = item.strip()
    return f"{bare} " if bare.endswith("\\") and not bare.endswith("\\\\") and item.rstrip() != item else bare


def _is_readable(value: str) -> bool:
    """Whether Hydra's grammar can read a value."""
    try:
        OverridesParser.create().parse_override(f"key={value}")
    except (HydraException, ValueError):  # of whole numbers of thousands of digits
        return False
    return True


def _is_between(brackets: str, value: str) -> bool:
    return len(value) > 1 and value[0] + value[-1] == brackets


def _is_resolvable(text: str) -> bool:
    """Whether all that looks like an interpolation is one."""
    try:
        OmegaConf.create({"key": text})
    except OmegaConfBaseException:
        return False
    return True


def _whole_number(value: str) -> str:
    """Return 1e5 and 16.0 as whole numbers are written."""
    try:
        number = float(value)
        return str(int(number)) if number.is_integer() and not value.strip("+-").isdigit() else value
    except (ValueError, OverflowError):
        return value
