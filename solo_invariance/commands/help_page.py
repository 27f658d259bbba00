"""What ``solo-invariance COMMAND --help`` prints. Imports nothing heavy."""

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence

from solo_invariance import __version__
from solo_invariance.config.older import OLDER_OF_DEMO
from solo_invariance.config.reference import COMMANDS, COMPLETION, FLAGS, Key, commands_with, keys_of
from solo_invariance.errors import UserError, did_you_mean

_TITLE = "choose, measure, fuse and transfer the invariances of backbones"
_NAMES = 25  # columns of names; longer ones have a line of their own
_FEWEST, _MOST = 40, 100  # columns that text is wrapped at
_LISTED = 6  # choices that are listed among all keys
_HELP = re.compile(r"-h|--he(?:lp?)?(?:=(?P<topic>.*))?", re.DOTALL)


def topics_asked(arguments: Sequence[str]) -> list[str] | None:
    """Return what a command's arguments ask help on, nothing for all of it; None where they ask for none.

    Example:
        >>> topics_asked(["--help", "backbone"]), topics_asked(["help"]), topics_asked(["k=4"])
        (['backbone'], [], None)
    """
    asking = [_HELP.fullmatch(one) for one in arguments]
    if not any(asking) and arguments[:1] != ["help"]:
        return None
    words = arguments[1:] if arguments[:1] == ["help"] else arguments
    named = [found["topic"] for found in asking if found and found["topic"]]
    return [*named, *(one for one in words if "=" not in one and not one.startswith("-"))]


def overview() -> str:
    """Return what to print where no command is named."""
    width = _width()
    commands = [line for name, about in COMMANDS.items() for line in _columns(name, [about.summary], width, 10)]
    return "\n".join(
        [
            *textwrap.wrap(f"solo-invariance {__version__}: {_TITLE}", width, subsequent_indent="    "),
            "",
            "usage: solo-invariance COMMAND [KEY=VALUE ...] [FLAGS]",
            "",
            *commands,
            "",
            *textwrap.wrap("solo-invariance COMMAND --help explains its keys and flags, with examples.", width),
            *textwrap.wrap(COMPLETION, width),
        ]
    )


def help_page(command: str, topics: Sequence[str] = ()) -> str:
    """Return what to print for a command, or for some of its keys.

    Args:
        command: ``measure``, ``pretrain``, ...
        topics: Names of keys, of sections, or parts of them; all keys by default.

    Raises:
        UserError: Nothing is called so.
    """
    width = _width()
    if topics:
        chosen = {key.name: key for topic in topics for key in _keys_about(command, topic)}
        ordered = [key for key in keys_of(command) if key.name in chosen]
        return "\n".join(_groups(ordered, width, in_full=True)).strip("\n")
    about, keys = COMMANDS[command], keys_of(command)
    title = textwrap.wrap(f"solo-invariance {command}: {about.summary}", width, subsequent_indent="    ")
    usage = f"usage: solo-invariance {command} {'[KEY=VALUE ...] ' if keys else ''}[FLAGS]"
    lines = [*title, "", usage, *_lists_in_quotes(keys, width), "", "examples:"]
    lines += [line for example in about.examples for line in _example(example, width)]
    lines += [*_groups(keys, width), "", "flags:"]
    lines += [line for flag, meaning in FLAGS.items() for line in _columns(flag, [meaning], width)]
    return "\n".join([*lines, "", *textwrap.wrap(COMPLETION, width)])


def _example(example: str, width: int) -> list[str]:
    """Return a command as it is typed, on as many lines as it takes, each but the last with a backslash."""
    lines = textwrap.wrap(example, width - 4, break_long_words=False, break_on_hyphens=False, subsequent_indent="    ")
    return [f"  {line}{' ' + chr(92) if line is not lines[-1] else ''}" for line in lines]


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns - 1, _FEWEST), _MOST)


def _lists_in_quotes(keys: Sequence[Key], width: int) -> list[str]:
    """Return how lists are typed, where a key has lists."""
    with_lists = [key for key in keys if ("list of names" in key.kind and key.choices) or "list of paths" in key.kind]
    if not with_lists:
        return []
    key = min(with_lists, key=lambda one: (one.name.count("."), "family" in one.kind))
    names = [name for name in key.choices if name != "all"] or ["a.ckpt", "b.ckpt"]
    items = key.default.strip("[]") if key.default not in ("null", "[]") else ",".join(names[:2])
    return [f"       Lists go in quotes: '{key.name}=[{items}]'"]


def _keys_about(command: str, topic: str) -> list[Key]:
    """Return the keys that a word is about: it is the name, the section, a part of the name, or of the heading."""
    if command == "demo":  # its own keys, from before it was a study
        topic = OLDER_OF_DEMO.get(topic, topic)
    word = topic.lstrip("+").rstrip(".").lower()
    keys = keys_of(command)
    by_name = [key for key in keys if key.name.lstrip("+").lower() == word]
    by_section = [key for key in keys if key.name.lower().startswith(f"{word}.")]
    by_part = [key for key in keys if word in key.name.lower() or word in key.group.lower()]
    by_choice = [key for key in keys if topic in key.choices]
    within = [key for key in keys if key.kind == "keys and values" and word.startswith(f"{key.name.lower()}.")]
    found = by_name + by_section or by_part or by_choice or within
    if word and found:
        return found
    others = commands_with(topic)
    if others:
        more = f"; it is one of {others[0]}: solo-invariance {others[0]} --help {topic}"
    else:
        names = [key.name for key in keys] + [part for key in keys for part in key.name.split(".")]
        more = did_you_mean(topic, dict.fromkeys(names)) or f"; solo-invariance {command} --help lists them"
    raise UserError(f"{command} has no key {topic!r}{more}")


def _groups(keys: Sequence[Key], width: int, in_full: bool = False) -> Iterator[str]:
    group = None
    for key in keys:
        if key.group != group:
            group = key.group
            yield from ("", group)
        default = key.default.replace(",", ", ") if len(key.default) > _NAMES else key.default  # or it is cut in words
        yield from _columns(key.name, [key.meaning, f"[{_values(key, in_full)}; default: {default}]"], width)


def _values(key: Key, in_full: bool) -> str:
    """Return what a key's values are: what there is to choose from, or of what kind."""
    if not key.choices or key.kind == "true or false":
        return key.kind
    shown = key.choices if in_full or len(key.choices) <= _LISTED + 1 else key.choices[:_LISTED]
    left = len(key.choices) - len(shown)
    listed = ", ".join(shown) + (f" and {left} more: --help {key.name.lstrip('+')}" if left else "")
    return listed if key.kind in ("name", "configuration") else f"{key.kind}: {listed}"


def _columns(name: str, texts: Sequence[str], width: int, names: int = _NAMES) -> list[str]:
    """Return lines with a name on the left, and texts beside it or, where there is no room, below it.

    A text that does not fit behind the one before begins a line.
    """
    narrow = width < 2 * names
    left = " " * (6 if narrow else names + 2)
    lines = list[str]()
    for text in texts:
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += f" {text}"
        else:
            lines += textwrap.wrap(text, width, initial_indent=left, subsequent_indent=left, break_on_hyphens=False)
    if narrow or len(name) >= names:
        return [f"  {name}", *lines]
    return [f"  {name:{names}}{lines[0].lstrip()}", *lines[1:]]
