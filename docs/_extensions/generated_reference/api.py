"""The Python API: a page for each package, with all of its public names."""

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any

_FOLDER = "reference/api"
PACKAGES = (
    "solo_invariance",
    "solo_invariance.backbones",
    "solo_invariance.backbones.namings",
    "solo_invariance.backbones.sources",
    "solo_invariance.data",
    "solo_invariance.families",
    "solo_invariance.measure",
    "solo_invariance.measure.transforms",
    "solo_invariance.measure.metrics",
    "solo_invariance.measure.functional",
    "solo_invariance.fuse",
    "solo_invariance.export",
    "solo_invariance.transfer",
    "solo_invariance.transfer.probes",
    "solo_invariance.transfer.tasks",
    "solo_invariance.results",
    "solo_invariance.report",
    "solo_invariance.features",
    "solo_invariance.config",
    "solo_invariance.protocols",
    "solo_invariance.plugins",
)
"""In the order of the pages: a name that several have is described on the first of them."""

FURTHER = {
    "solo_invariance": ("installation:Finding", "processes:Processes"),
    "solo_invariance.backbones": ("backbones.views:DrawnViews",),
    "solo_invariance.data": ("data.reading:ReadingPolicy", "data.view_sets:ViewGroup"),
    "solo_invariance.report": ("report.collect:Row",),
    "solo_invariance.config": (
        "config.families:CanvasName",
        "config.families:SheetDataConfig",
        "config.measure:Budget",
        "config.measure:OnError",
        "config.measure:PrecisionName",
        "config.measure:ViewKind",
        "config.protocol:ProtocolName",
        "config.transfer:ProbeName",
        "config.transfer:SolverName",
    ),
}
"""What public functions take or give, by the page that describes it."""

_INTRODUCTION = """
Every command is a function of the same name: ``from solo_invariance import measure``. Plain arguments or one settings
object go in, typed results come out; with ``out=FOLDER`` a function writes what its command writes, and each goes on
with what the other began. What a page does not list is not public, and may change.
"""


def pages() -> dict[str, str]:
    """Return a page for each package, and their list."""
    home: dict[int, str] = {}
    found = {f"{_FOLDER}/{name}.rst": _page(name, home) for name in PACKAGES}
    title = "Python API"
    index = [title, "=" * len(title), _INTRODUCTION, ".. toctree::", "   :maxdepth: 1", ""]
    index += [f"   {name.removeprefix('solo_invariance.')} <{name}>" for name in PACKAGES]
    return {f"{_FOLDER}/index.rst": "\n".join(index) + "\n", **found}


def public_names(package: str) -> list[str]:
    """Return the names that a package makes public."""
    module = import_module(package)
    names = getattr(module, "__all__", None)
    if names is not None:  # but for former names, which the same package has
        return [name for name in names if getattr(getattr(module, name), "__name__", name) not in {*names} - {name}]
    own = inspect.getmembers(module, lambda one: getattr(one, "__module__", None) == package)
    return [name for name, _ in own if not name.startswith("_")]


def _page(package: str, home: dict[int, str]) -> str:
    module = import_module(package)
    parts = [package, "=" * len(package), "", f".. py:module:: {package}"]
    parts += ["   :no-index:", ""] if callable(module) else [""]  # the function of that name is what is linked to
    parts += [*_introduction(module), ""]
    elsewhere = []
    for name in public_names(package):
        one = getattr(module, name)
        if isinstance(one, ModuleType) and not callable(one):
            continue
        same = one._function if isinstance(one, ModuleType) else one
        if (other := home.setdefault(id(same), f"{package}.{name}")) != f"{package}.{name}":
            elsewhere.append(f"* {_role(one)}`~{other}`")
        else:
            parts += _entry(package, name, one)
    for further in FURTHER.get(package, ()):
        where, name = further.split(":")
        parts += _entry(f"solo_invariance.{where}", name, getattr(import_module(f"solo_invariance.{where}"), name))
    if elsewhere:
        parts += ["Described elsewhere, and to be had from here, too:", "", *elsewhere]
    return "\n".join(parts) + "\n"


def _introduction(module: ModuleType) -> list[str]:
    """Return what the package says of itself, up to its examples."""
    return (inspect.getdoc(module) or "").partition("\nExample:")[0].splitlines()


def _role(one: Any) -> str:
    return ":py:class:" if inspect.isclass(one) else ":py:func:" if callable(one) else ":py:obj:"


def _entry(package: str, name: str, one: Any) -> list[str]:
    if inspect.isclass(one):
        return [
            f".. autoclass:: {package}.{name}",
            "   :members:",
            "   :inherited-members: Module, BaseModel, Metric, Dataset, dict, ABC, ModuleType",
            "",
        ]
    if inspect.isfunction(one) or isinstance(one, ModuleType):
        return [f".. autofunction:: {package}.{name}", ""]
    said = (
        (inspect.getdoc(type(one)) or "").split("\n\n")[0] if type(one).__module__.startswith("solo_invariance") else ""
    )
    kind = type(one).__name__
    lines = [f".. py:data:: {package}.{name}", f"   :type: {kind}", ""]
    return [*lines, *(f"   {line}" for line in said.splitlines()), ""]
