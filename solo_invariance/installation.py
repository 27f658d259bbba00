"""What is installed, what was found, and what to do about what is missing."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Literal

import timm
import torch
import torchvision
from huggingface_hub.constants import HF_HUB_CACHE

from solo_invariance.backbones.solo_learn import find_solo_learn
from solo_invariance.backbones.sources.torch_hub import hub_directory, trusted_repositories
from solo_invariance.errors import UserError, install_command
from solo_invariance.features import FeatureCache
from solo_invariance.features.neighbours import load_faiss
from solo_invariance.fuse.run import AUTO
from solo_invariance.plugins import KINDS, discover
from solo_invariance.results.files import versions

_SEARCH_PATH, _CALLBACKS = "Hydra search path", "Lightning callbacks"

Group = Literal["versions", "machine", "host", "libraries", "networks", "seams", "plugins"]
State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Args:
        what: What was looked for.
        state: ``ok``, ``missing`` (something optional) or ``broken``.
        found: What was found.
        advice: What to do about it, where something is to be done.
        group: What kind of thing it is.
    """

    what: str
    state: State
    found: str
    advice: str = ""
    group: Group = "machine"


def doctor() -> list[Finding]:
    """Look at the installation: versions, devices, solo-learn, what is optional, the seams, the cache, the plugins."""
    return [
        Finding("python", "ok", platform.python_version(), group="versions"),
        *(Finding(name, "ok", found, group="versions") for name, found in versions().items()),
        _devices(),
        _gpu(),
        _feature_cache(),
        _solo_learn(),
        _optional("lightly", "pretrain and demo, the embedded host"),
        _faiss(),
        _optional("scikit-learn", "probe.solver=official"),
        _optional("transformers", "backbones hf:ORG/NAME"),
        *_networks(),
        _hydra(),
        _lightning(),
        *(finding for kind in KINDS for finding in _plugins(kind)),
    ]


def asked_for(findings: Sequence[Finding], need: Sequence[str] = ()) -> list[str]:
    """Return what somebody asked for and does not have, a line each: what is broken, and what is missing of ``need``.

    Args:
        findings: What ``doctor`` returned.
        need: Names of findings, or of plugins of whatever kind.
    """
    plugins = {plugin.name for kind in KINDS for plugin in discover(kind)} | {AUTO}
    by_name = {finding.what: finding for finding in findings}
    lacking = [f"{one.what} is broken: {one.found}" for one in findings if one.state == "broken"]
    for name in need:
        finding = by_name.get(name)
        if finding is not None and finding.state == "missing":
            lacking.append(f"{name} is missing; {finding.advice}")
        elif finding is None and name not in plugins:
            known = [one.what for one in findings if one.group in ("machine", "host", "libraries")]
            lacking.append(f"{name} is nothing that was found; it is no plugin, and none of {', '.join(known)}")
    return lacking


def _devices() -> Finding:
    return Finding("devices", "ok", f"CPU with {torch.get_num_threads()} threads")


def _gpu() -> Finding:
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("gpu", "ok", names)
    if torch.backends.mps.is_available():
        return Finding("gpu", "ok", "Apple GPU")
    return Finding("gpu", "missing", "none was found: everything runs, slowly", "see what torch was installed for")


def _solo_learn() -> Finding:
    advice = "git clone https://github.com/vturrisi/solo-learn and run in it, or set SOLO_LEARN_DIR to it"
    try:
        found = find_solo_learn()
    except UserError as error:
        return Finding("solo-learn", "broken", str(error), advice, "host")
    if found is None:
        return Finding(
            "solo-learn", "missing", "not here nor above, not importable, SOLO_LEARN_DIR is not set", advice, "host"
        )
    return Finding("solo-learn", "ok", f"{found.version} in {found.checkout or found.package}", group="host")


def _optional(name: str, purpose: str) -> Finding:
    try:
        return Finding(name, "ok", version(name), group="libraries")
    except PackageNotFoundError:
        return Finding(name, "missing", f"needed for {purpose}", install_command(name), "libraries")


def _networks() -> list[Finding]:
    """Where backbones come from by name, besides what is in the other groups."""
    trusted = ", ".join(trusted_repositories())
    sources = {
        "timm:NAME": f"{len(timm.list_models())} networks, {len(timm.list_models(pretrained=True))} kinds of weights",
        "torchvision:NAME": f"{len(torchvision.models.list_models(module=torchvision.models))} networks",
        "hf:ORG/NAME": f"fetched to {HF_HUB_CACHE}",
        "torch.hub:REPO:NAME": f"fetched to {hub_directory()}; trusts {trusted or 'none but those of its own makers'}",
    }
    return [Finding(name, "ok", found, group="networks") for name, found in sources.items()]


def _faiss() -> Finding:
    try:
        faiss = load_faiss("search for neighbours")
    except UserError:
        advice = f"{install_command('faiss-cpu')}, or faiss-gpu"
        return Finding("faiss", "missing", "needed for retrieval and nearest neighbours", advice, "libraries")
    gpus = getattr(faiss, "get_num_gpus", int)()
    found = f"{faiss.__version__}, {gpus} GPU" + ("" if gpus == 1 else "s")
    return Finding("faiss", "ok", found, group="libraries")


def _hydra() -> Finding:
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    names = {plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)}
    if "SoloInvarianceSearchPath" in names:
        return Finding(
            _SEARCH_PATH, "ok", "augmentations=invariance/NAME is known to solo-learn's scripts", group="seams"
        )
    return Finding(_SEARCH_PATH, "broken", "the plugin was not discovered", "install solo-invariance again", "seams")


def _lightning() -> Finding:
    found = [e for e in entry_points(group="lightning.pytorch.callbacks_factory") if e.name == "solo_invariance"]
    if found:
        return Finding(_CALLBACKS, "ok", "families and monitor are known to every Trainer", group="seams")
    return Finding(_CALLBACKS, "broken", "the entry point is missing", "install solo-invariance again", "seams")


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
                Finding(
                    f"{kind}: {plugin.name}",
                    "broken",
                    str(error),
                    f"mend or uninstall {plugin.distribution}",
                    "plugins",
                )
            )
        else:
            by_distribution.setdefault(plugin.distribution, []).append(plugin.name)
    working = [
        Finding(kind, "ok", f"{', '.join(names)} from {source}", group="plugins")
        for source, names in by_distribution.items()
    ]
    if kind == "fusions":
        working.append(Finding(kind, "ok", f"{AUTO}, which chooses among these", group="plugins"))
    return working + findings
