"""Facts about the datasets that solo-learn's configurations name. Imports nothing heavy."""

from typing import NamedTuple

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Channel means and standard deviations, in [0, 1] units."""

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class KnownDataset(NamedTuple):
    """A dataset as solo-learn's recipes treat it.

    Args:
        statistics: What its images are normalised with.
        crop_size: Side of the crops, in pixels.
        has_small_stem: Whether ResNets get the stem for small images.
        is_normalised_by_name: Whether solo-learn knows its statistics by its name; it takes those of the
            configuration for any other.
    """

    statistics: Statistics = IMAGENET
    crop_size: int = 224
    has_small_stem: bool = False
    is_normalised_by_name: bool = False


_DATASETS = {
    "cifar10": KnownDataset(((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)), 32, True, True),
    "cifar100": KnownDataset(((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)), 32, True, True),
    "stl10": KnownDataset(((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)), 96, False, True),
    "imagenet": KnownDataset(is_normalised_by_name=True),
    "imagenet100": KnownDataset(is_normalised_by_name=True),
    "latent_scenes": KnownDataset(crop_size=64),
}


CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
"""Of CIFAR-10's archive for Python; those of the binary one end in ``.bin``. The last is for the test."""


def is_cifar10_file(name: str) -> bool:
    """Return whether a file has CIFAR-10's pixels, by its name.

    Example:
        >>> is_cifar10_file("test_batch.bin"), is_cifar10_file("test.bin")
        (True, False)
    """
    return name.removesuffix(".bin") in CIFAR10_FILES


def known_dataset(name: str | None) -> KnownDataset:
    """Return what is known of a dataset by its name in a configuration; ImageNet's ways for any other.

    Example:
        >>> known_dataset("stl10").crop_size
        96
    """
    return _DATASETS.get(name or "", KnownDataset())
