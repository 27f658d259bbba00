"""What is installed, what was found, and what to do about what is missing."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

import torch

from solo_invariance.backbones.solo_learn import find_solo_learn
from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache
from solo_invariance.features.neighbours import load_faiss
from solo_invariance.plugins import KINDS, discover
from solo_invariance.results.files import versions


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Args:
        what: What was looked for.
        state: ``ok``, ``missing`` (something optional) or ``broken``.
        found: What was found.
        advice: What to do about it, where something is to be done.
    """

    what: str
    state: str
    found: str
    advice: str = ""


def doctor() -> list[Finding]:
    """Look at the installation: versions, devices, solo-learn, what is optional, the seams, the cache, the plugins."""
    return [
        Finding("python", "ok", platform.python_version()),
        *(Finding(name, "ok", found) for name, found in versions().items()),
        _devices(),
        _solo_learn(),
        _optional("scikit-learn", "probe.solver=official, of protocol=paper", "pip install 'solo-invariance[paper]'"),
        _optional("lightly", "the embedded host and demo", "pip install 'solo-invariance[lightly]'"),
        _faiss(),
        _hydra(),
        _lightning(),
        _feature_cache(),
        *(finding for kind in KINDS for finding in _plugins(kind)),
    ]


def _devices() -> Finding:
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("devices", "ok", f"{names}; CPU with {torch.get_num_threads()} threads")
    if torch.backends.mps.is_available():
        return Finding("devices", "ok", f"Apple GPU; CPU with {torch.get_num_threads()} threads")
    return Finding(
        "devices", "ok", f"CPU with {torch.get_num_threads()} threads", "no GPU was found: everything runs, slowly"
    )


def _solo_learn() -> Finding:
    advice = "git clone https://github.com/vturrisi/solo-learn and run in it, or set SOLO_LEARN_DIR to it"
    try:
        found = find_solo_learn()
    except UserError as error:
        return Finding("solo-learn", "broken", str(error), advice)
    if found is None:
        return Finding("solo-learn", "missing", "not importable, SOLO_LEARN_DIR is not set", advice)
    return Finding("solo-learn", "ok", f"{found.version} in {found.checkout or found.package}")


def _optional(name: str, purpose: str, advice: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", f"needed for {purpose}", advice)


def _faiss() -> Finding:
    try:
        faiss = load_faiss("search for neighbours")
    except UserError:
        advice = "pip install 'solo-invariance[cpu]' (or [gpu])"
        return Finding("faiss", "missing", "needed for retrieval and nearest neighbours", advice)
    gpus = getattr(faiss, "get_num_gpus", int)()
    return Finding("faiss", "ok", f"{faiss.__version__}, {gpus} GPU" + ("" if gpus == 1 else "s"))


def _hydra() -> Finding:
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    names = {plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)}
    if "SoloInvarianceSearchPath" in names:
        return Finding("Hydra search path", "ok", "augmentations=invariance/NAME is known to solo-learn's scripts")
    return Finding("Hydra search path", "broken", "the plugin was not discovered", "install solo-invariance again")


def _lightning() -> Finding:
    found = [e for e in entry_points(group="lightning.pytorch.callbacks_factory") if e.name == "solo_invariance"]
    if found:
        return Finding("Lightning callbacks", "ok", found[0].value)
    return Finding("Lightning callbacks", "broken", "the entry point is missing", "install solo-invariance again")


def _feature_cache() -> Finding:
    try:
        cache = FeatureCache.default()
    except UserError as error:
        return Finding("feature cache", "broken", str(error))
    if cache is None:
        return Finding("feature cache", "ok", "turned off", "unset SOLO_INVARIANCE_CACHE to keep features")
    found = f"{cache.size() / 1e9:.1f} of at most {cache.max_bytes / 1e9:g} GB in {cache.root}"
    return Finding("feature cache", "ok", found)


def _plugins(kind: Any) -> list[Finding]:
    by_distribution: dict[str, list[str]] = {}
    findings = []
    for plugin in discover(kind):
        try:
            plugin.load()
        except UserError as error:
            findings.append(
                Finding(f"{kind}: {plugin.name}", "broken", str(error), f"mend or uninstall {plugin.distribution}")
            )
        else:
            by_distribution.setdefault(plugin.distribution, []).append(plugin.name)
    working = [Finding(kind, "ok", f"{', '.join(names)} from {source}") for source, names in by_distribution.items()]
    return working + findings
