"""Channel statistics that solo-learn normalises each dataset's images with, in [0, 1] units."""

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_BY_DATASET: dict[str, Statistics] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
}

KNOWN_DATASETS = frozenset({*_BY_DATASET, "imagenet", "imagenet100"})


def statistics_of(dataset: str | None) -> Statistics:
    """Return (mean, std) of a dataset by its name in solo-learn's configuration; ImageNet's for any other."""
    return _BY_DATASET.get(dataset or "", IMAGENET)
