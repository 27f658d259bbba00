"""Configuration files of one's own, from ``--config-dir``: checked before Hydra reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult

from solo_invariance.errors import UserError

_MOST_VALUES = 100_000
_DEEPEST = 50
_STANDARD = "tag:yaml.org,2002:"
_PLAIN = {f"{_STANDARD}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge")}


def check_own_files() -> None:
    """Let Hydra check each file of a folder of configurations before it reads it, for the rest of the process."""
    Plugins.instance()  # or Hydra registers its own class later
    SourcesRegistry.instance().types["file"] = _CheckedFiles


class _CheckedFiles(file_config_source.FileConfigSource):
    """Hydra's files, whose errors name the file."""

    def load_config(self, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path))
        if path.is_file():
            check_yaml(path)
        try:
            return super().load_config(config_path)
        except yaml.YAMLError as error:  # a key twice, a date that is none
            raise _not_yaml(path, error) from error
        except ValueError as error:  # a comment at the top that Hydra takes for a header
            raise UserError(f"{path}: line 1: {error}") from error


# Hydra goes by the name.
_CheckedFiles.__name__ = file_config_source.FileConfigSource.__name__


def check_yaml(path: Path) -> None:
    """Look whether a file is one mapping of plain values, and no larger than it looks.

    Nothing is built of it: the aliases of a file of a kilobyte can stand for billions of values.

    Raises:
        UserError: It is not YAML, no mapping, has tags that ask for more than plain values, or is too deep or large.
    """
    try:
        with path.open(encoding="utf-8") as file:
            found = _without_content(path, yaml.parse(file, Loader=yaml.SafeLoader))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not YAML (it is not UTF-8 text)") from error
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from error
    if found not in ("mapping", "nothing"):
        raise UserError(f"{path}: holds {found}, expected keys and their values, such as seed: 1")


def _not_yaml(path: Path, error: yaml.YAMLError) -> UserError:
    if not isinstance(error, yaml.MarkedYAMLError):
        return UserError(f"{path}: not YAML ({' '.join(str(error).split())})")
    mark = error.problem_mark or error.context_mark
    where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    problem = str(error.problem or error.context).replace("unhashable key", "a list or a mapping in the place of a key")
    return UserError(f"{path}: not YAML ({problem}{where})")


def _without_content(path: Path, events: Iterator[Any]) -> str:
    """Return what a file holds, having looked at all of it."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # the anchor, and how many values there were before
    total, documents, found = 0, 0, "nothing"
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise UserError(f"{path}: holds several documents (line {_line(event)}: ---), expected one")
        if not isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            continue
        if not open_nodes and found == "nothing":
            found = _kind(event)
        _check_tag(path, event)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            if len(open_nodes) > _DEEPEST:
                raise UserError(f"{path}: line {_line(event)}: nested more than {_DEEPEST} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before + 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_nodes}:
                raise UserError(f"{path}: line {_line(event)}: *{event.anchor} stands for what it is in")
            if event.anchor not in sizes:
                raise UserError(f"{path}: line {_line(event)}: *{event.anchor} stands for nothing above it")
            total += sizes[event.anchor]
        elif event.anchor is not None:
            sizes[event.anchor] = 1
        total += 1
        if total > _MOST_VALUES:
            raise UserError(
                f"{path}: stands for more than {_MOST_VALUES} values (aliases, *NAME, count as what they name)"
            )
    return found


def _kind(event: Any) -> str:
    if isinstance(event, yaml.MappingStartEvent):
        return "mapping"
    if isinstance(event, yaml.ScalarEvent) and event.value in ("", "~", "null"):
        return "nothing"
    return "a list" if isinstance(event, yaml.SequenceStartEvent) else "a single value"


def _check_tag(path: Path, event: Any) -> None:
    tag = getattr(event, "tag", None)
    if tag not in (None, "!", *_PLAIN):
        short = str(tag).replace(_STANDARD, "!!")
        raise UserError(f"{path}: line {_line(event)}: {short}: only plain values are read, no tags")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
