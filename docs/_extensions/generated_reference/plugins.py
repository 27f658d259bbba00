"""What is installed in our entry-point groups."""

import inspect
from typing import Any

from solo_invariance.plugins import KINDS, discover

from .markdown import from_docstring, table

_SAID = {
    "families": ("Augmentation families: each a `Family`", "families"),
    "transforms": ("Transforms whose invariance is measured: each a `Transform`", "measure"),
    "metrics": ("Classes of metrics over views: each a `ViewMetric`", "measure.metrics"),
    "fusions": ("Ways to combine members' features: each a function of these, or a `FusionHead`", "fuse"),
    "tasks": ("Downstream tasks: each a `Task`", "transfer.tasks"),
    "layouts": ("Names that codes have for a network's weights in checkpoints: each a `Layout`", "backbones.namings"),
    "backbones": ("Functions that return a backbone's network and its input: each a `DescribedNetwork`", "backbones"),
}
_INTRODUCTION = """
Whatever a configuration can name is an entry point of one of these groups, ours as well as yours: a distribution that
declares one is found when it is installed, and nothing of this package changes. `solo-invariance doctor` lists what
your environment has; these tables are of the environment in which this site was built.
"""


def pages() -> dict[str, str]:
    """Return the page."""
    parts = ["# Entry points", _INTRODUCTION]
    for kind in KINDS:
        plugins = discover(kind)
        rows = [[f"`{one.name}`", _says(one.load()), f"`{one.entry_point.value}`"] for one in plugins]
        sources = ", ".join(dict.fromkeys(one.distribution for one in plugins))
        head = ["name", "is", "object"]
        here = f"Here from {sources}." if sources else "None is installed here."
        parts += [f"## solo_invariance.{kind}", "", f"{_says_of(kind)} {here}", ""]
        parts += [table(head, rows), ""] if rows else []
    return {"reference/entry_points.md": "\n".join(parts)}


def _says_of(kind: str) -> str:
    """Return what the objects of a group are, with where these are described."""
    what, where = _SAID.get(kind, ("", ""))
    module = f"solo_invariance.{where}"
    return f"{what}, see [`{module}`](api/{module}.rst)." if what else ""


def _says(plugin: Any) -> str:
    """Return what an object says of itself in a line."""
    if invariant_to := getattr(plugin, "invariant_to", None):
        return f"teaches invariance to {invariant_to}"
    if source := getattr(plugin, "source", None):
        return f"{source}"
    first = from_docstring((inspect.getdoc(plugin) or "").split("\n\n")[0])
    unit, kind = getattr(plugin, "unit", ""), getattr(plugin, "kind", "")
    facts = [fact for fact in (kind, f"in {unit}" if unit else "") if isinstance(fact, str) and fact]
    return f"{first} *{', '.join(facts)}*" if facts else first
