"""Texts of the repository that are pages, too: the changelog, how to contribute, security."""

import re
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)([^)]+)\)")


def pages() -> dict[str, str]:
    """Return the pages of the texts that are there."""
    texts = {_PAGES[name]: (_ROOT / name) for name in _PAGES}
    return {
        page: _with_links_of_the_site(path.read_text(encoding="utf-8"))
        for page, path in texts.items()
        if path.is_file()
    }


def _with_links_of_the_site(text: str) -> str:
    """Return a text whose links lead to pages of the site, or are the names of files in the repository."""

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        path, _, anchor = target.partition("#")
        if path in _PAGES:
            return f"[{words}]({_PAGES[path]}{'#' if anchor else ''}{anchor})"
        if path.startswith("docs/"):
            return f"[{words}]({target.removeprefix('docs/')})"
        return words if words.startswith("`") else f"{words} (`{path}`)"

    return _LINK.sub(link, text)
