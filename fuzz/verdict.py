"""Is what a command did what a careful program does?"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fuzz.case import Case
from fuzz.odd_values import CANARY
from fuzz.running import HUNG, Outcome, Place
from solo_invariance.errors import UserError
from solo_invariance.results.reading import read_result

# What commands say before their work, which may turn out to be impossible.
_PLANNED = re.compile(
    "solo-invariance [a-z]+: loading|solo-invariance: (?:families|monitor): |"
    "(?:study|arms|seeds|evaluate|measure|transfer|fuse|pretrain|images|how|work|task|out|time) {3,}"
)
_PREFIX = "solo-invariance: error: "
_LONGEST = 1200
_ASKED = ("need=", "expect=")  # with which exit code 1 is an answer: no
# What libraries say of themselves, and nobody who runs a command can make use of.
_JARGON = re.compile(
    r"Traceback|LexerNoViableAlt|no viable alternative|mismatched input|extraneous input|token recognition|"
    r"missing (EQUAL|BRACE|BRACKET)|HYDRA_FULL_ERROR|object_type=|full_key|reference_type|DictConfig|ListConfig|"
    r"ValidationError|validation error|pydantic|NoneType|\[Errno|object at 0x|<class '|KeyError|TypeError\(|"
    r"AnyNode|UnsupportedInterpolationType|omegaconf\.|hydra\.[a-z]+\.[A-Z]|torch\.nn\.|_pickle|WeightsUnpickler|"
    r"at::|c10|Exception raised from|"
    r"set_int_max_str_digits|\bnan values\b|index out of range|list index|has no attribute|not subscriptable|"
    r"positional argument|unexpected keyword|unhashable|not iterable|codec can't"
)
_SAYS_SO = re.compile(r"constant|finite|NaN|nan|few|degenerate|zero|same", re.IGNORECASE)
_IGNORED = re.compile(r"^(stdout|stderr|cache(/.*)?|home(/cache.*)?|tmp/torchinductor.*)$")
_RESULTS = ("invariance.json", "transfer.json", "invariance_comparison.json", "transfer_comparison.json")

Seen = Mapping[str, tuple[int, int, int]]
"""Size, time and kind of each file, by its path."""


def look(place: Place) -> Seen:
    """Return what lies in a case's folders."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(place.root)):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            try:
                about = os.lstat(path)
            except OSError:  # of a path that is too long for the system, whose beginning was looked at
                continue
            relative = os.fsdecode(os.path.relpath(path, os.fsencode(place.root)))
            is_folder = name in folders and not os.path.islink(path)
            found[relative] = (0, 0, 1) if is_folder else (about.st_size, about.st_mtime_ns, 0)
    return {path: about for path, about in found.items() if not _IGNORED.match(path)}


def faults(case: Case, outcome: Outcome, place: Place, before: Seen) -> list[str]:
    """Return everything that is wrong with what a command did; nothing where it is clean."""
    after = look(place)
    return [*_payloads(place, after), *_ending(case, outcome, place, before, after)]


def _ending(case: Case, outcome: Outcome, place: Place, before: Seen, after: Seen) -> Iterator[str]:
    if outcome.code == HUNG:
        yield "does not end"
    elif outcome.code == 1 and any(one.startswith(_ASKED) for one in case.arguments):
        return
    elif outcome.code == 2:
        yield from _refusal(case, outcome, place.work)
        yield from _litter(_changed(before, after))
    elif outcome.code == 0:
        yield from _success(case, outcome, place, before, after)
    else:
        last = (outcome.err.strip().splitlines() or ["nothing on stderr"])[-1]
        yield f"exit code {outcome.code}: {last[:200]}"


def _refusal(case: Case, outcome: Outcome, work: Path) -> Iterator[str]:
    lines = complaints(outcome.err) or [""]
    line = lines[-1]
    if len(lines) > 1:
        yield f"{len(lines)} lines on stderr, the first: {lines[0][:200]}"
    if not line.startswith(_PREFIX):
        yield f"no error line of ours: {line[:200]}"
        return
    message = line.removeprefix(_PREFIX)
    if len(message) > _LONGEST:
        yield f"a line of {len(message)} characters: {message[:100]}"
    if unprintable := [character for character in message if not character.isprintable()]:
        yield f"unprintable characters: {unprintable[:5]!r}"
    said = _without(message, case.arguments)
    if found := _JARGON.search(said):
        yield f"jargon ({found.group()}): {message[:300]}"
    if case.named and not any(_is_in(name, message) for name in case.named) and not _begins_with_a_path(message, work):
        yield f"names none of {', '.join(case.named)[:80]}: {message[:300]}"


def complaints(err: str) -> list[str]:
    """Return the lines on standard error, but for those that say what is ahead, before there is anything to refuse."""
    return [line for line in err.split("\n") if line and not _PLANNED.match(line)]


def _is_in(name: str, message: str) -> bool:
    """Return whether a message says a name, as it is or with what cannot be printed written out."""
    return any(" ".join(form.split()) in message for form in (name, repr(name)[1:-1], ascii(name)[1:-1]))


def _begins_with_a_path(message: str, work: Path) -> bool:
    """Return whether a message begins with a file or folder that is there, as an interpolation or ``.`` may name it."""
    begin = message.partition(": ")[0]
    return bool(begin) and len(begin) < 200 and os.path.lexists(work / begin)


def _litter(paths: list[str]) -> Iterator[str]:
    if paths:
        yield f"litter: {len(paths)} files and folders, {', '.join(paths[:4])}"


def _without(message: str, arguments: Sequence[str]) -> str:
    """Return a message without what it repeats of what was typed."""
    for value in sorted({argument.partition("=")[2] for argument in arguments}, key=len, reverse=True):
        if len(value) > 2:
            message = message.replace(value, "")
    return message


def _success(case: Case, outcome: Outcome, place: Place, before: Seen, after: Seen) -> Iterator[str]:
    if noise := [line for line in outcome.err.splitlines() if re.search(r"Warning|Error|Traceback", line)]:
        yield f"exit code 0 with this on stderr: {noise[0][:200]}"
    changed = _changed(before, after)
    if gone := [path for path in changed if path not in after and not Path(path).name.startswith("rows-")]:
        yield f"removed: {', '.join(gone[:4])}"
    new = [path for path in changed if path in after and after[path][2] == 0]
    for path in new:
        name = Path(path).name
        if re.search(r"\.(lock|tmp|partial)$", name) or path.startswith("tmp/"):
            yield from _litter([path])
        try:
            yield from _content(place.root / path)
        except OSError as error:
            yield f"{path}: {error}"
    if case.senseless and not _SAYS_SO.search(outcome.out + outcome.err):
        yield f"exit code 0, and nothing said about it: {outcome.out.strip()[-200:]}"


def _content(path: Path) -> Iterator[str]:
    """Yield what is wrong with a file that a command wrote."""
    if path.suffix == ".json":
        try:
            json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
        except ValueError as error:
            yield f"{path.name}: {error}"
            return
        if path.name in _RESULTS:
            try:
                read_result(path)
            except UserError as error:
                yield f"{path.name} is not what our reader accepts: {error}"
    elif path.suffix in (".html", ".htm"):
        yield from page_faults(path.read_text(encoding="utf-8", errors="replace"))


def _no_constant(name: str) -> Any:
    raise ValueError(f"holds {name}")


def _changed(before: Seen, after: Seen) -> list[str]:
    gone = [path for path in before if path not in after]
    return sorted(path for path, about in after.items() if before.get(path) != about) + sorted(gone)


def _payloads(place: Place, after: Seen) -> Iterator[str]:
    for path in after:
        if Path(path).name == CANARY:
            yield f"a payload was executed: {path}"
            (place.root / path).unlink(missing_ok=True)


class _Page(HTMLParser):
    """Finds elements and attributes that can only come from text that was not escaped."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "img") or CANARY in tag:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            address = (value or "").strip().lower()
            if name.startswith("on") or CANARY in name or '"' in name or "<" in name:
                self.found.append(f"<{tag} {name}>")
            if name in ("href", "src", "xlink:href") and re.match(r"(javascript|data|vbscript):", address):
                self.found.append(f"<{tag} {name}={address[:20]}>")
        if tag == "style":
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            self.inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if self.inside and CANARY in data:
            self.found.append("text in <style>")

    def handle_comment(self, data: str) -> None:
        if CANARY in data:
            self.found.append("text in a comment")


def page_faults(text: str) -> list[str]:
    """Return what a page holds that some text smuggled in."""
    page = _Page()
    page.feed(text)
    page.close()
    return [f"not escaped in the page: {found}" for found in dict.fromkeys(page.found)]
