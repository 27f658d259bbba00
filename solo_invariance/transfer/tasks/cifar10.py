"""CIFAR-10 (Krizhevsky 2009): photographs of 32 pixels, ten classes."""

from dataclasses import dataclass
from functools import partial

import torch
from torchvision import datasets

from solo_invariance.data.images import TensorImages
from solo_invariance.transfer.tasks.requirements import check_options, open_torchvision
from solo_invariance.transfer.tasks.splits import draw
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_LAYOUT = "cifar-10-batches-py/{data_batch_1, ..., data_batch_5, test_batch, batches.meta}, the Python version"


@dataclass(frozen=True)
class Cifar10(Task):
    """Ten classes, in the official split of 50 000 and 10 000 images."""

    kind = "classification"
    metric = "accuracy"
    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``cifar-10-batches-py``.

        Raises:
            UserError: The dataset is not there or is corrupted.
        """
        check_options(settings)
        train, test = self._split(settings, train=True), self._split(settings, train=False)
        return draw(train, "num_train", settings), draw(test, "num_test", settings)

    def _split(self, settings: TaskSettings, train: bool) -> Split:
        dataset = open_torchvision(partial(datasets.CIFAR10, train=train), settings, _LAYOUT)
        images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2)
        name = f"CIFAR-10 {'training' if train else 'test'} image"
        return Split(TensorImages(images, name=name), torch.tensor(dataset.targets))


cifar10 = Cifar10()
