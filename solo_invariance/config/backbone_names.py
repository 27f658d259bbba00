"""Names of backbones: what is wrong with one as far as that is told by what lies here, before anything is imported."""

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from solo_invariance.errors import UserError, install_command

_GITHUB = re.compile(r"[\w.-]+/[\w.-]+?(?::[\w./-]+)?")


def require_name(name: str, trust: bool) -> None:
    """Raise UserError where a name is not written as its source's are, or names a file or module that is not there.

    Args:
        name: ``hf:PATH``, ``python:MODULE:CALLABLE``, ...
        trust: Whether code may be run that nobody trusts yet.
    """
    source, colon, rest = name.removeprefix("random:").partition(":")
    if colon and source in _CHECKS:
        _CHECKS[source](rest, trust)


def is_local(name: str) -> bool:
    """Whether a name is that of a folder here and not that of a model on a hub, which two words with a slash may be."""
    return name.startswith(("/", "./", "../", "~", ".\\")) or name in (".", "..") or Path(name).is_dir()


def repository_and_entry(name: str) -> tuple[str, str]:
    """Return the repository, or the path of a folder, and the entry that a name of ``torch.hub:`` has.

    Raises:
        UserError: It has not both.
    """
    repository, _, entry = name.rpartition(":")
    if not repository or not entry or not (is_local(repository) or _GITHUB.fullmatch(repository)):
        raise UserError(
            f"backbone.name=torch.hub:{name}: expected torch.hub:OWNER/NAME:ENTRY, torch.hub:OWNER/NAME:REF:ENTRY or, "
            f"of a folder with a hubconf.py, torch.hub:PATH:ENTRY"
        )
    return repository, entry


def module_and_attribute(name: str) -> tuple[str, str]:
    """Return the module and what of it a name of ``python:`` has, whose module can be imported from here, too.

    Raises:
        UserError: It has not both, or there is no such module.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute:
        raise UserError(f"backbone.name=python:{name}: expected python:MODULE:CALLABLE, as in python:my_models:build")
    if not {"", "."} & {*sys.path}:
        sys.path.insert(0, "")  # as `python -m` has it; the script of a console does not
    if not _is_found(module.partition(".")[0]):
        raise UserError(
            f"backbone.name=python:{name}: there is no module {module!r}, neither here nor among what is installed"
        )
    return module, attribute


def _is_found(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a name that none can have
        return False


def require_transformers() -> None:
    """Raise UserError where transformers is not installed."""
    if not _is_found("transformers"):
        raise UserError(f"backbone.name=hf: needs transformers, which is not there: {install_command('transformers')}")


def require_trust_in_folder(name: str, trust: bool) -> None:
    """Raise UserError where ``torch.hub:PATH:ENTRY`` names code that the user has not said may run.

    Args:
        name: Without the prefix.
        trust: Whether he said it.
    """
    repository, entry = repository_and_entry(name)
    if not is_local(repository):
        return
    hubconf = Path(repository).expanduser() / "hubconf.py"
    if not hubconf.is_file():
        raise UserError(f"backbone.name=torch.hub:{name}: there is no hubconf.py in {repository}")
    if not trust:
        raise UserError(
            f"backbone.name=torch.hub:{name}: would run code, {entry} of {hubconf}; backbone.trust=true says "
            f"that it may"
        )


def require_folder(name: str, called: str) -> None:
    """Raise UserError where a name is that of a folder, but there is none, or none of a network.

    Args:
        name: A path, or a model's on a hub.
        called: What messages call it.
    """
    if not is_local(name):
        return
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UserError(f"{called}: {'is no folder, but a file' if folder.is_file() else 'there is no such folder'}")
    require_description(folder, called)


def require_description(folder: Path, called: str) -> None:
    """Raise UserError where a folder does not say what network it has."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{called}: there is no config.json in {folder}, which says what network it is")


def _hf(name: str, trust: bool) -> None:
    require_transformers()
    require_folder(name, f"backbone.name=hf:{name}")


def _timm(name: str, trust: bool) -> None:
    scheme, _, folder = name.partition(":")
    if scheme == "local-dir":
        require_folder(local_folder(folder), f"backbone.name=timm:{name}")


def local_folder(name: str) -> str:
    """Return a path that no hub's name looks like."""
    return name if is_local(name) else f"./{name}"


_CHECKS: Mapping[str, Callable[[str, bool], object]] = {
    "hf": _hf,
    "timm": _timm,
    "python": lambda name, trust: module_and_attribute(name),
    "torch.hub": require_trust_in_folder,
}
