"""Networks of ``hubconf.py`` files, ``torch.hub:OWNER/NAME:ENTRY`` of GitHub or ``torch.hub:PATH:ENTRY`` of a folder.

Their code runs. It does where ``torch.hub`` trusts the repository already, or where ``backbone.trust=true`` is said.
"""

import functools
import importlib.util
import re
import sys
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from solo_invariance.backbones.sources.code import CodeSource
from solo_invariance.backbones.sources.online import require_reachable
from solo_invariance.config.backbone_names import is_local, repository_and_entry, require_trust_in_folder
from solo_invariance.errors import UserError, none_of, reason_of

_GITHUB = re.compile(r"([\w.-]+)/([\w.-]+?)(?::([\w./-]+))?")
_BRANCHES = ("main", "master")
_repositories: set[Path] = set()
"""Those whose code was imported: two of them may have a module ``models`` each."""


class TorchHub(CodeSource):
    """What an entry of a repository's ``hubconf.py`` returns."""

    def called(self, name: str) -> str:
        """Return the name as it was given."""
        return f"torch.hub:{name}"

    def asks_for(self, name: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return whose code is run."""
        repository, entry = repository_and_entry(name)
        return f"run {entry} of {_hubconf_of(repository)}"

    def require_trust(self, name: str, trust: bool) -> None:
        """Raise UserError where neither torch.hub trusts the repository, nor the user says that its code may run."""
        require_trust_in_folder(name, trust)
        repository, entry = repository_and_entry(name)
        if trust or is_local(repository) or _is_trusted(repository):
            return
        raise UserError(
            f"backbone.name=torch.hub:{name}: would run code, {entry} of {_hubconf_of(repository)}, which "
            f"{hub_directory()}/trusted_list does not have; backbone.trust=true says that it may"
        )

    def function(self, name: str) -> Callable[..., Any]:
        """Import ``hubconf.py`` and return its entry.

        Raises:
            UserError: There is no such repository, file or entry, or importing it fails.
        """
        repository, entry = repository_and_entry(name)
        folder = _checkout(repository, name)
        with _importable(folder):
            hubconf = _hubconf(folder, name)
        entries = [one for one, value in vars(hubconf).items() if callable(value) and not one.startswith("_")]
        if entry not in entries:
            raise UserError(
                f"backbone.name=torch.hub:{name}: {folder}/hubconf.py has no {entry!r}{none_of(entry, entries)}"
            )

        @functools.wraps(getattr(hubconf, entry))
        def call(**kwargs: Any) -> Any:
            with _importable(folder):
                return getattr(hubconf, entry)(**kwargs)

        return call


def hub_directory() -> Path:
    """Return the folder that torch.hub keeps repositories in."""
    return Path(torch.hub.get_dir())


def trusted_repositories() -> list[str]:
    """Return what torch.hub trusts: ``OWNER_NAME`` of its list, and ``OWNER_NAME_REF`` of what it fetched earlier."""
    folder = hub_directory()
    listed = folder / "trusted_list"
    names = listed.read_text().split() if listed.is_file() else []
    fetched = [one.name for one in folder.iterdir() if (one / "hubconf.py").is_file()] if folder.is_dir() else []
    return sorted({*names, *fetched})


def _is_trusted(repository: str) -> bool:
    """Whether torch.hub would run a repository's code without asking."""
    owner, name, ref = _of_github(repository)
    fetched = [f"{owner}_{name}_{one}" for one in _refs(ref)]
    owners = getattr(torch.hub, "_TRUSTED_REPO_OWNERS", ())
    return owner in owners or not {f"{owner}_{name}", *fetched}.isdisjoint(trusted_repositories())


def _hubconf_of(repository: str) -> str:
    return f"{repository if is_local(repository) else f'github.com/{repository}'}/hubconf.py"


def _of_github(repository: str) -> tuple[str, str, str | None]:
    found = _GITHUB.fullmatch(repository)
    assert found is not None
    return found[1], found[2], found[3]


def _refs(ref: str | None) -> tuple[str, ...]:
    """Return what torch.hub may call a branch or tag in a folder's name; the default branch where none is given."""
    return _BRANCHES if ref is None else (ref.replace("/", "_"),)


def _checkout(repository: str, name: str) -> Path:
    """Return the folder of a repository's code, which torch.hub fetches where it has it not."""
    if is_local(repository):
        return Path(repository).expanduser().resolve()
    owner, short, ref = _of_github(repository)
    folders = [hub_directory() / f"{owner}_{short}_{one}" for one in _refs(ref)]
    for folder in folders:
        if folder.is_dir():
            return folder
    require_reachable("https://github.com", f"backbone.name=torch.hub:{name}: it is not in {hub_directory()}, and")
    try:
        with redirect_stdout(sys.stderr):
            torch.hub.list(repository, trust_repo=True, verbose=False)
    except urllib.error.HTTPError as error:
        raise UserError(f"backbone.name=torch.hub:{name}: there is no github.com/{repository} ({error})") from error
    except Exception as error:  # of torch.hub, or of the code that it lists
        raise UserError(f"backbone.name=torch.hub:{name}: cannot be fetched ({reason_of(error)})") from error
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _hubconf(folder: Path, name: str) -> Any:
    path = folder / "hubconf.py"
    if not path.is_file():
        raise UserError(f"backbone.name=torch.hub:{name}: there is no hubconf.py in {folder}")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's code can raise anything
        raise UserError(
            f"backbone.name=torch.hub:{name}: {path} cannot be imported ({type(error).__name__}: {reason_of(error)})"
        ) from error
    missing = [one for one in getattr(module, "dependencies", []) if importlib.util.find_spec(str(one)) is None]
    if missing:
        raise UserError(f"backbone.name=torch.hub:{name}: needs {', '.join(missing)}; pip install {' '.join(missing)}")
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Within it, a repository's modules can be imported, and none of another one that are called the same."""
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        other = next((one for one in _repositories - {folder} if place and Path(place).is_relative_to(one)), None)
        if other is not None:
            del sys.modules[name]
    _repositories.add(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
