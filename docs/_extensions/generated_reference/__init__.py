"""Pages that are written from the code whenever the site is built, beside those that are written by hand."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from . import api, commands, plugins, repository, results, solo_learn


def pages() -> dict[str, str]:
    """Return all generated files, by their paths below the site's folder."""
    return {
        **commands.pages(),
        **solo_learn.pages(),
        **results.pages(),
        **api.pages(),
        **plugins.pages(),
        **repository.pages(),
    }


def _write(app: Sphinx) -> None:
    """Write what has changed: what has not keeps its time, and is not read again."""
    for name, text in pages().items():
        path = Path(app.srcdir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _lead_to_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links to texts of the repository lead to the pages that they are here."""
    folder = Path(app.srcdir, name).parent
    if "](../" in source[0]:
        source[0] = repository.with_links_of_the_site(source[0], folder, folder)


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before the others are read."""
    app.connect("builder-inited", _write)
    app.connect("source-read", _lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
