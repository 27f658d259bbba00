"""How the API's objects are described: packages that are verbs as functions, results by their fields."""

import inspect
import re
from importlib import import_module
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.application import Sphinx


def _docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Take the docstring of the function that a call of ``solo_invariance.measure``, which is a package, calls."""
    if what == "function" and inspect.ismodule(obj):
        lines[:] = [*(inspect.getdoc(obj._function) or "").splitlines(), ""]
    if what == "property":  # or what is before a colon of its first line would be taken for its type
        lines.insert(0, "")


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Leave out the signature of a model, which repeats its fields with all that checks them, and kinds of texts."""
    if inspect.isclass(obj) and issubclass(obj, BaseModel):
        return "", ""
    return signature and (re.sub(r"(?:\w+\.)?Annotated\[str, ?'path'\]", "str", signature), returns)


def _not_public(app: Sphinx, env: Any, node: addnodes.pending_xref, words: nodes.Node) -> nodes.Node | None:
    """Leave a type that is named, and that no page describes, without a link; None where there is none such."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or not module.startswith("solo_invariance"):
        return None
    try:
        return words if hasattr(import_module(module), name) else None
    except ImportError:
        return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Change docstrings before they are read as Google's."""
    app.connect("autodoc-process-docstring", _docstring, priority=100)
    app.connect("autodoc-process-signature", _signature)
    app.connect("missing-reference", _not_public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
