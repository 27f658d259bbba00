"""CIFAR-10 (Krizhevsky 2009): photographs of 32 pixels, ten classes."""

from dataclasses import dataclass
from functools import partial

from torchvision import datasets

from solo_invariance.data.cifar10 import LAYOUT, LabelledImages, read_cifar10
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks.requirements import check_options, open_torchvision, require_folder
from solo_invariance.transfer.tasks.splits import draw
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings


@dataclass(frozen=True)
class Cifar10(Task):
    """Ten classes, in the official split of 50 000 and 10 000 images."""

    kind = "classification"
    metric = "accuracy"
    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits.

        ``settings.path`` is the folder that holds ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or pictures, in
        ``train/CLASS`` and ``test/CLASS``.

        Raises:
            UserError: The dataset is not there or is corrupted.
        """
        check_options(settings)
        root = require_folder(settings, LAYOUT)
        if settings.download:
            open_torchvision(partial(datasets.CIFAR10), settings, LAYOUT)
        try:
            train, test = _split(read_cifar10(root, "train")), _split(read_cifar10(root, "test"))
        except UserError as error:
            hint = "" if settings.download else "; task.download=true fetches it"
            raise UserError(f"task.path={error}{hint}") from error
        return draw(train, "num_train", settings), draw(test, "num_test", settings)


def _split(found: LabelledImages) -> Split:
    return Split(found.images, found.classes)


cifar10 = Cifar10()
