"""How the API's objects are described: packages that are verbs as functions, results by their fields."""

import inspect
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx


def _function_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Take the docstring of the function that a call of ``solo_invariance.measure``, which is a package, calls."""
    if what == "function" and inspect.ismodule(obj):
        lines[:] = [*(inspect.getdoc(obj._function) or "").splitlines(), ""]


def _no_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the signature of a model, which repeats its fields with all that checks them."""
    return ("", "") if inspect.isclass(obj) and issubclass(obj, BaseModel) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Change docstrings before they are read as Google's."""
    app.connect("autodoc-process-docstring", _function_docstring, priority=100)
    app.connect("autodoc-process-signature", _no_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
