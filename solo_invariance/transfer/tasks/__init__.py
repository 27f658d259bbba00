"""Downstream tasks."""

from solo_invariance.transfer.tasks.task import Kind, Split, Task, TaskSettings

__all__ = ["Kind", "Split", "Task", "TaskSettings"]
