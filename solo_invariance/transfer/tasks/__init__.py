"""Downstream tasks."""

from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

__all__ = ["Split", "Task", "TaskSettings"]
