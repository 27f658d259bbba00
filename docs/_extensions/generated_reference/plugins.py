"""What is installed in our entry-point groups."""

import inspect
from typing import Any

from solo_invariance.plugins import KINDS, discover

from .markdown import from_docstring, table

_SAID = {
    "families": "Augmentation families: `Family`, see [`solo_invariance.families`](api/solo_invariance.families.rst).",
    "transforms": "Transforms whose invariance is measured: `Transform`, see [`solo_invariance.measure`](api/solo_invariance.measure.rst).",
    "metrics": "Classes of metrics over views: `ViewMetric`, see [`solo_invariance.measure.metrics`](api/solo_invariance.measure.metrics.rst).",
    "fusions": "Ways to combine members' features: a function of their features, or a `FusionHead`, see "
    "[`solo_invariance.fuse`](api/solo_invariance.fuse.rst).",
    "tasks": "Downstream tasks: `Task`, see [`solo_invariance.transfer.tasks`](api/solo_invariance.transfer.tasks.rst).",
}
_INTRODUCTION = """
Whatever a configuration can name is an entry point of one of these groups, ours as well as yours: a distribution that
declares one is found when it is installed, and nothing of this package changes. `solo-invariance doctor` lists what your
environment has; these tables are of the environment in which this site was built.
"""


def pages() -> dict[str, str]:
    """Return the page."""
    parts = ["# Entry points", _INTRODUCTION]
    for kind in KINDS:
        plugins = discover(kind)
        rows = [[f"`{one.name}`", _says(one.load()), f"`{one.entry_point.value}`"] for one in plugins]
        sources = ", ".join(dict.fromkeys(one.distribution for one in plugins))
        head = ["name", "is", "object"]
        parts += [f"## solo_invariance.{kind}", "", f"{_SAID.get(kind, '')} Here from {sources}.", ""]
        parts += [table(head, rows), ""]
    return {"reference/entry_points.md": "\n".join(parts)}


def _says(plugin: Any) -> str:
    """Return what an object says of itself in a line."""
    if invariant_to := getattr(plugin, "invariant_to", None):
        return f"teaches invariance to {invariant_to}"
    first = from_docstring((inspect.getdoc(plugin) or "").split("\n\n")[0])
    unit, kind = getattr(plugin, "unit", ""), getattr(plugin, "kind", "")
    facts = [fact for fact in (kind, f"in {unit}" if unit else "") if isinstance(fact, str) and fact]
    return f"{first} *{', '.join(facts)}*" if facts else first


