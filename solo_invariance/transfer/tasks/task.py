"""What a downstream task is: images with targets, split into training and test."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.protocols import ProtocolName
from solo_invariance.transfer.kinds import KindName


@dataclass(frozen=True)
class Split:
    """Images with their targets.

    Args:
        images: N images.
        targets: (N,) int64 classes, (N, C) bool, true for each of C labels that an image has, or (N, T) float numbers.
        origin: Which part of one's own data it is, where that was found out and not asked for.
    """

    images: ImageSource
    targets: Tensor
    origin: str = ""


@dataclass(frozen=True)
class TaskSettings:
    """Where a task finds its images and how many it takes.

    Args:
        path: The dataset's folder, or the images' where the targets are in a table.
        download: Whether a dataset that is not at ``path`` may be fetched to it.
        num_train: Images to train on, drawn with the seed; None for all of them, or an embedded task's usual number.
        num_test: Images to test on, drawn with the seed; None for all of them, or an embedded task's usual number.
        at_most: Of each split no more images than so many, drawn with the seed; None for no such limit.
        size: Side of an embedded task's images, in pixels.
        seed: Of an embedded task's images, and of splits and draws that a dataset does not come with. ``paper`` draws
            those of 300-W, Leeds Sports Pose and Caltech-101 with seed 0, whatever this one is.
        crop_size: Side of the square that a network sees of an image (``Framing``), in pixels; landmarks are in its
            pixels.
        protocol: ``paper`` keeps the official code's quirks, ``clean`` repairs them.
        options: Further keys of a task's own, such as a table's columns.
    """

    path: str | None = None
    download: bool = False
    num_train: int | None = None
    num_test: int | None = None
    at_most: int | None = None
    size: int = 64
    seed: int = 2
    crop_size: int = 224
    protocol: ProtocolName = "clean"
    options: Mapping[str, Any] = field(default_factory=dict)

    def limited(self, count: int) -> int:
        """Return how many images are taken of a split that has so many."""
        return count if self.at_most is None else min(count, self.at_most)


class Task(ABC):
    """A downstream task; subclasses are frozen dataclasses.

    Attributes:
        kind: Whether the targets are classes, several labels an image, or numbers.
        metric: The name of the usual score.
        columns: What the targets are called, where they have names: of a table, its columns.
        remarks: What is to be said of how targets were read, in sentences without an end.
        paper_metric: The name of the paper's score where that is another one, a quirk of ``protocol=paper``.
        probe: The usual probe, None for that of the kind: logistic for classes and labels, ridge for numbers.
        may_overlap: Whether an image may be in both splits, as in some published datasets, and is only counted; in the
            others that is an error.
    """

    kind: KindName
    metric: str
    columns: Sequence[str] = ()
    remarks: Sequence[str] = ()
    paper_metric: ClassVar[str | None] = None
    probe: ClassVar[str | None] = None
    may_overlap: ClassVar[bool] = False

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each of several numbers that are to be predicted is called; no names for what has none."""
        return tuple(self.columns)

    def resolve(self, settings: TaskSettings) -> "Task":
        """Return the task as the settings make it: itself, unless its kind or its metric depends on them.

        Raises:
            UserError: The settings do not say what the task is.
        """
        return self

    @abstractmethod
    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the training and the test split.

        Raises:
            UserError: Images or targets are not where they are expected; the message says what is expected there.
        """
