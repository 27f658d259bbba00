"""Texts of the repository that are pages, too: the changelog, how to contribute, security, the examples."""

import os
import re
from pathlib import Path

from .markdown import toctree

_DOCS = Path(__file__).parents[2]
_ROOT = _DOCS.parent
_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)([^)\s]+)\)")


def homes() -> dict[Path, str]:
    """Return the texts that are pages, and what the pages are called."""
    texts = {_ROOT / f"{name.upper()}.md": f"{name}.md" for name in ("changelog", "contributing", "security")}
    examples = sorted((_ROOT / "examples").glob("*/README.md"))
    return texts | {path: f"examples/{path.parent.name}.md" for path in examples}


def pages() -> dict[str, str]:
    """Return the pages."""
    found = {
        name: with_links_of_the_site(path.read_text(encoding="utf-8"), path.parent, (_DOCS / name).parent)
        for path, name in homes().items()
        if path.is_file()
    }
    examples = [name.removeprefix("examples/").removesuffix(".md") for name in found if name.startswith("examples/")]
    index = ["# Examples", "Distributions and recipes to begin one's own from, in the repository's folder `examples`."]
    index += ["\n".join(f"- [](./{name}.md)" for name in examples), toctree(examples)]
    return {**found, "examples/index.md": "\n\n".join(index) + "\n"}


def with_links_of_the_site(text: str, folder: Path, page: Path) -> str:
    """Return a text whose links lead to pages of the site, to files that it offers, or are names of files.

    Args:
        text: Markdown.
        folder: Where the text is, by which its links go.
        page: The folder of the page that it becomes.
    """
    known = homes()

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        name, hash_sign, anchor = target.partition("#")
        path = Path(os.path.normpath(folder / name))
        home = _DOCS / known[path] if path in known else path
        if home.is_relative_to(_DOCS) or (home.is_file() and home.suffix != ".md"):
            return f"[{words}]({os.path.relpath(home, page)}{hash_sign}{anchor})"
        return words if words.startswith("`") else f"{words} (`{os.path.relpath(path, _ROOT)}`)"

    return _LINK.sub(link, text)
