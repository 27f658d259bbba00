"""Logistic regression as the official code stops it and converged: scores and penalties on the same features."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.official import efficientnet_lite0
from benchmarks.rows import Row
from benchmarks.running import Step
from solo_invariance.backbones import Backbone
from solo_invariance.data.images import ImageFiles
from solo_invariance.features import ExtractionSettings, extract_features
from solo_invariance.regression.cross_validation import penalty_grid
from solo_invariance.transfer.probes import LogisticProbe, OfficialLogisticProbe

VARIABLE = "CIFAR10_DIR"
_SEEDS = (0, 1, 2)
_CLASSES = 8


@dataclass(frozen=True)
class Solvers(Row):
    """What two solvers make of the same features and folds.

    Args:
        features: Which.
        seed: Of the folds.
        official: Accuracy on test images by ``probe.solver=official``.
        official_c: The C, one over the penalty, that it chose.
        promised: Its cross-validated accuracy, at that C.
        converged: Accuracy by ``probe.solver=converged``.
        converged_c: The C that it chose.
    """

    title: ClassVar[str] = "Logistic regression, official and converged"
    features: str
    seed: int
    official: float
    official_c: float
    promised: float
    converged: float
    converged_c: float

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "features": self.features,
            "seed": str(self.seed),
            "official": f"{self.official:.3f}",
            "C": f"{self.official_c:.2g}",
            "promised": f"{self.promised:.3f}",
            "converged": f"{self.converged:.3f}",
            "its C": f"{self.converged_c:.2g}",
        }


def steps() -> list[Step]:
    found = [Step("random features", 20, lambda: _rows("64 random, 400 images", *_random_features()))]
    if VARIABLE in os.environ:  # with train/CLASS/*.jpg and test/CLASS/*.jpg
        root = Path(os.environ[VARIABLE])
        found.append(
            Step("of CIFAR-10", 300, lambda: _rows("EfficientNet-Lite0, 600 images", *_trained_features(root)))
        )
    return found


def _rows(name: str, training: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Iterator[Row]:
    for seed in _SEEDS:
        official = OfficialLogisticProbe(penalty_grid(protocol="paper"), seed=seed).fit(*training)
        converged = LogisticProbe(penalty_grid(), protocol="paper", seed=seed).fit(*training)
        yield Solvers(
            name,
            seed,
            official.score(*test),
            1 / official.penalty_,
            float(official.cv_scores_.nan_to_num(-1).max()),
            converged.score(*test),
            1 / converged.penalty_,
        )


def _random_features() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Classes by 64 normal features, with as much noise as signal: 400 images to fit, 2000 to test."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2400, 64, generator=generator)
    slopes = torch.randn(64, _CLASSES, generator=generator) / 8
    classes = (features @ slopes + torch.randn(2400, _CLASSES, generator=generator)).argmax(dim=1)
    return (features[:400], classes[:400]), (features[400:], classes[400:])


def _trained_features(root: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """ImageNet features of CIFAR-10, projected to 512: 75 images of each of 8 classes to fit, 200 to test."""
    network = efficientnet_lite0()
    network.reset_classifier(0)
    backbone = Backbone.of(network, crop_size=112, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    projection = torch.randn(1280, 512, generator=torch.Generator().manual_seed(0)) / 512**0.5
    names = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())[:_CLASSES]

    def features_of(split: str, count: int) -> tuple[Tensor, Tensor]:
        files = [sorted((root / split / name).glob("*.jpg"))[:count] for name in names]
        images = ImageFiles.of([path for some in files for path in some])
        classes = torch.arange(len(names)).repeat_interleave(torch.tensor([len(some) for some in files]))
        return extract_features(backbone, images, ExtractionSettings(None, 1)) @ projection, classes

    return features_of("train", 75), features_of("test", 200)
