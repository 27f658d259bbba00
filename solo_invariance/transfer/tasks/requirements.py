"""What a task requires of its settings."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from solo_invariance.errors import UserError, reason_of
from solo_invariance.transfer.tasks.task import TaskSettings

Dataset = TypeVar("Dataset")


def check_options(settings: TaskSettings, *known: str) -> None:
    """Refuse options that a task does not read.

    Args:
        settings: The task's.
        known: The options that it reads.

    Raises:
        UserError: There is another one; the message names it.
    """
    unknown = sorted(set(settings.options) - {*known})
    if unknown:
        reads = f"the options {', '.join(known)}" if known else "no options"
        raise UserError(f"task.options.{unknown[0]}: this task reads {reads}")


def require_folder(settings: TaskSettings, layout: str) -> Path:
    """Return the task's folder, which need not be there yet.

    Args:
        settings: The task's.
        layout: What the folder should hold, for the message.

    Raises:
        UserError: None is named.
    """
    if settings.path is None:
        raise UserError(f"task.path is not set, expected a folder with {layout}")
    return Path(settings.path)


def refuse_layout(settings: TaskSettings, found: str, layout: str, source: str) -> UserError:
    """Return the error of a dataset that is not laid out as expected and that nothing here can fetch.

    Args:
        settings: The task's.
        found: What is wrong.
        layout: What the folder should hold.
        source: Where to get the dataset.
    """
    reason = "task.download=true: this dataset has to be fetched by hand" if settings.download else found
    return UserError(f"task.path={settings.path}: {reason}; expected {layout}, from {source}")


def open_torchvision(build: Callable[..., Dataset], settings: TaskSettings, layout: str) -> Dataset:
    """Return one of torchvision's datasets, which fetches itself where ``settings.download`` says so.

    Args:
        build: Its class, with all arguments set but ``root`` and ``download``.
        settings: The task's.
        layout: What the folder should hold.

    Raises:
        UserError: It is not there or is corrupted, cannot be fetched, or needs a package that is not installed.
    """
    root = require_folder(settings, layout)
    try:
        return build(root=str(root), download=settings.download)
    except (RuntimeError, OSError, ImportError) as error:
        reason = reason_of(error).partition(". You can use")[0]
        hint = "" if settings.download else "; task.download=true fetches it"
        raise UserError(f"task.path={root}: {reason}; expected {layout}{hint}") from error
