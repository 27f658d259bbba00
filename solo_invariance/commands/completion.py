"""Completion by Tab, in bash, zsh and fish: of commands, keys step by step, names and files. Imports nothing heavy.

What may come next is asked of this program, so that names of plugins are those that are installed.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from solo_invariance.config.reference import COMMANDS, FLAGS, Key, keys_of
from solo_invariance.errors import UserError, did_you_mean

COMPLETE = "--complete"
"""What the scripts ask by: ``solo-invariance --complete WORD...``, of which the last is to be completed."""

# Readline replaces what stands behind the last "=" or ":", which is $2; the words themselves are read from the line.
_BASH = r"""_solo_invariance() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$' \t\n' candidate quote=
    local -a words
    read -a words <<< "$line"
    [[ $line == *[[:space:]] && $line != *\\[[:space:]] ]] && words+=("")
    words=("${words[@]:1}")
    local last=$((${#words[@]} - 1)) replaced=${2//\\/}
    [[ ${words[last]} == [\'\"]* ]] && quote=${words[last]:0:1}
    words[last]=${words[last]#"$quote"} replaced=${replaced#[\'\"]}
    local before=${words[last]%"$replaced"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate=${candidate#"$before"}
        local space=${candidate##*[! ]}
        candidate=${candidate% }
        if [[ -z $quote ]]; then
            printf -v candidate '%q' "$candidate"
            candidate=${candidate//\\\[/[} candidate=${candidate//\\\]/]}
            candidate=${candidate//\\,/,} candidate=${candidate/#\\\~/\~}$space
        fi
        COMPREPLY+=("$candidate")
    done < <("${1/#\~/$HOME}" --complete "${words[@]}" 2>/dev/null)
}
complete -o nospace -F _solo_invariance solo-invariance
"""

_ZSH = r"""_solo_invariance() {
    local -a found
    found=("${(@f)$(${words[1]/#\~/$HOME} --complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    local -a whole=(${${(M)found:#* }% }) begun=(${found:#* })
    (( $#whole )) && compadd -- "${whole[@]}"
    (( $#begun )) && compadd -S '' -- "${begun[@]}"
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _solo_invariance solo-invariance
"""

_FISH = r"""function __solo_invariance
    set -l words (commandline -opc) (commandline -ct | string unescape)
    test (count $words) -gt (count (commandline -opc)) || set -a words ''
    command $words[1] --complete $words[2..-1] 2>/dev/null | string trim --right --chars ' '
end
complete -c solo-invariance -f -a '(__solo_invariance)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_ALWAYS = ("help", "completion", "--help", "--version")


def script_of(arguments: Sequence[str]) -> str:
    """Return the script that a shell evaluates for completion.

    Args:
        arguments: The shell's name alone.

    Raises:
        UserError: It is none of bash, zsh and fish.
    """
    shell = arguments[0] if len(arguments) == 1 else ""
    if shell not in _SCRIPTS:
        said = " ".join(["completion", *arguments])
        known = ", ".join(_SCRIPTS)
        raise UserError(f"{said}: name one of the shells {known}{did_you_mean(shell, _SCRIPTS)}")
    return _SCRIPTS[shell]


def complete(words: Sequence[str]) -> list[str]:
    """Return what the last word of a command line may become, with a blank at the end where it is finished then.

    Args:
        words: Behind the name of the program; the last may be empty.

    Example:
        >>> complete(["me"]), complete(["measure", "protocol="]), complete(["measure", "refer"])
        (['measure '], ['protocol=paper ', 'protocol=clean '], ['reference.'])
    """
    *before, word = words or [""]
    if not before:
        return _beginning(word, [f"{name} " for name in (*COMMANDS, *_ALWAYS)])
    command, *others = before
    if command in ("help", "--help", "-h"):
        return _topics(others[0], word) if others and others[0] in COMMANDS else _finished(word, COMMANDS)
    if command == "completion":
        return _finished(word, _SCRIPTS)
    if command not in COMMANDS:
        return []
    if any(one in ("help", "--help", "-h") for one in others):
        return _topics(command, word)
    if word.startswith("-"):
        return _beginning(word, [f"{flag} " for flag in _flags()])
    name, equals, value = word.partition("=")
    if not equals:
        return _keys(command, word)
    key = next((key for key in keys_of(command) if key.name in (name, name.lstrip("+"))), None)
    return [] if key is None else [f"{name}={one}" for one in _values(key, value)]


def _keys(command: str, word: str) -> list[str]:
    """Return the keys that begin with a word, as far as the next dot."""
    found = dict[str, None]()
    done = word.rfind(".") + 1
    for key in keys_of(command):
        if key.name.startswith(word):
            step, dot, _ = key.name[done:].partition(".")
            found[f"{word[:done]}{step}{dot or '='}"] = None
    return [*found]


def _values(key: Key, value: str) -> Iterator[str]:
    """Yield what a value may become; in a list, what its last item may."""
    place = max(value.rfind("["), value.rfind(",")) + 1 if value.startswith("[") else 0
    begin, item = value[:place], value[place:]
    taken = value[1:place].split(",") if place else []
    names = [name for name in key.choices if name not in taken]
    if place:
        files = [path.rstrip() for path in _files(item)] if key.is_path else []
        items = [*files, *(name for name in names if name.startswith(item) and name != "all")]
        if len(items) == 1 and not items[0].endswith("/"):
            items = [f"{items[0]},", f"{items[0]}] "]  # which says how a list goes on, and that it may
        yield from (f"{begin}{one}" for one in items)
    elif key.kind.startswith("list") or key.kind == "name or list of names":
        yield from (f"{name} " for name in names if name == "all" and name.startswith(value))
        yield from (f"[{name}" for name in names if name != "all" and not value)
        if key.is_path and not value:
            yield "["
    else:
        yield from (f"{name} " for name in names if name.startswith(item))
        if key.is_path:
            yield from _files(item)


def _files(begin: str) -> Iterator[str]:
    """Yield the files that a path may become; folders go on."""
    folder, _, name = begin.rpartition("/")
    place = f"{folder}/" if "/" in begin else ""
    try:
        entries = sorted(os.scandir(os.path.expanduser(place) or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(name) and (name.startswith(".") or not entry.name.startswith(".")):
            yield f"{place}{entry.name}/" if entry.is_dir() else f"{place}{entry.name} "


def _topics(command: str, word: str) -> list[str]:
    names = [key.name.lstrip("+") for key in keys_of(command)]
    return _finished(word, dict.fromkeys([*(name.partition(".")[0] for name in names), *names]))


def _finished(word: str, names: Iterable[str]) -> list[str]:
    return _beginning(word, [f"{name} " for name in names])


def _beginning(word: str, found: Sequence[str]) -> list[str]:
    return [one for one in found if one.startswith(word)]


def _flags() -> list[str]:
    return [flag for flags in FLAGS for flag in re.findall(r"--[a-z-]+", flags)]
