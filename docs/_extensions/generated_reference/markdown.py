"""What the generated pages are made of."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; texts in cells may hold bars and line breaks."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def toctree(names: Iterable[str]) -> str:
    """Return a tree of pages that is not shown on this one."""
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])


def from_docstring(text: str) -> str:
    """Return a docstring's sentence as Markdown: literals in one backtick, and no line breaks."""
    return " ".join(re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL).split())


def text(words: str) -> str:
    """Return words that mean nothing but themselves, but for literals: names and paths in them are no markup."""
    parts = re.split(r"(`[^`]*`)", words)
    return "".join(one if one.startswith("`") else re.sub(r"([*_<>\[\]{}$~\\])", r"\\\1", one) for one in parts)


def _cell(words: str) -> str:
    return " ".join(words.replace("|", r"\|").split())
