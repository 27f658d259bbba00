"""``task`` of a configuration."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from solo_invariance.config.checks import Checked, require_at_least, require_sides, require_text
from solo_invariance.config.kinds import FilePath, TaskOptions, chosen_from


@dataclass
class TaskConfig(Checked):
    """Which task, and where it finds its images.

    Args:
        name: Of the task.
        path: The dataset's folder, or the images' where the targets are in a table.
        download: Whether a dataset that is not there may be fetched.
        num_train: Images to train on; default: all, or 2000 rendered ones.
        num_test: Images to test on; default: all, or 1000 rendered ones.
        size: Side of rendered images, in pixels.
        seed: Of rendered images, and of splits and draws that a dataset does not come with. ``protocol=paper`` has the
            official code's seed 0 for those of ``300w``, ``lsp`` and ``caltech101``, whatever this one is.
        options: Further keys of the task's own, such as a table's columns.
        label: The name in tables, reports and folders; default: the task's.
    """

    section: ClassVar[str] = "task."

    name: str | None = field(default="shape", metadata=chosen_from(plugins="tasks"))
    path: FilePath | None = None
    download: bool = False
    num_train: int | None = None
    num_test: int | None = None
    size: int = 64
    seed: int = 2
    options: Annotated[dict[str, Any], TaskOptions] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in self.options.items():
            require_text(value, f"task.options.{key}")
        require_at_least(2, self, "num_train", "num_test", prefix="task.")
        require_sides(self, "size", least=16, prefix="task.")
