"""What commands share on the way to the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from solo_invariance.data.images import Progress as Reporter
from solo_invariance.errors import UserError

console = Console()
Schema = TypeVar("Schema")


def as_object(config: Any, schema: type[Schema]) -> Schema:
    """Return a composed configuration as its dataclass, checked."""
    result = OmegaConf.to_object(config)
    assert isinstance(result, schema)
    return result


def as_dict(config: Any) -> dict[str, Any]:
    """Return a composed configuration as plain data, resolved, enums by name."""
    from omegaconf import SCMode

    content = OmegaConf.to_container(config, resolve=True, enum_to_str=True, structured_config_mode=SCMode.DICT)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def choose_device(name: str) -> torch.device:
    """Return the device that ``device=`` names: ``auto`` is a GPU where there is one.

    Raises:
        UserError: The name is no device, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name}: not available here ({str(error).splitlines()[0]})") from error
    return device


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Reporter]:
    """Show a bar for each thing that is being done; on a terminal only, and not where ``quiet``."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total, visible=done < total)

        yield report
