"""Similarity and distance against the number of reference images, by estimator of the covariance, held out and not."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import timm
import torch
from PIL import Image
from sklearn.covariance import ledoit_wolf_shrinkage, oas
from torch import Tensor, nn
from torchvision.transforms.functional import adjust_hue, gaussian_blur, pil_to_tensor, rotate

from benchmarks.official import efficientnet_lite0
from benchmarks.rows import Row
from benchmarks.running import Step
from solo_invariance.data.listing import list_images
from solo_invariance.measure.functional.similarity import invariance_distance, invariance_similarity
from solo_invariance.measure.functional.whitening import Whitening, hold_out, whiten, whitening_from_statistics

VARIABLE = "PHOTOGRAPHS_DIR"
_SIZE = 64
_MEASURED = 300
_RATIOS = (0.5, 0.75, 1, 1.02, 1.25, 1.5, 2, 4, 8, 16)
_VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "h_flip": lambda images: images.flip(-1),
    "hue": lambda images: adjust_hue(images, 0.2),
    "rotation": lambda images: rotate(images, 30),
    "blur": lambda images: gaussian_blur(images, 9, 2.0),
}


@dataclass(frozen=True)
class Similarity(Row):
    """How far a similarity is from its limit.

    Args:
        network: Whose features, and how many.
        view: Of the images.
        estimator: Of the covariance.
        images: Reference images a feature.
        held_out: Distance to the limit where the measured images are no part of the reference.
        corrected: Where they are, and are whitened without themselves.
        in_sample: Where they are, and are whitened with themselves.
        limit: The estimator's similarity by all reference images, measured images held out.
    """

    title: ClassVar[str] = "Similarity less its limit"
    network: str
    view: str
    estimator: str
    images: float
    held_out: float
    corrected: float
    in_sample: float
    limit: float

    def cells(self) -> dict[str, str]:
        return {
            "network": self.network,
            "view": self.view,
            "estimator": self.estimator,
            "n / D": f"{self.images:g}",
            "held out": f"{self.held_out:+.3f}",
            "corrected": f"{self.corrected:+.3f}",
            "in sample": f"{self.in_sample:+.3f}",
            "limit": f"{self.limit:.3f}",
        }


@dataclass(frozen=True)
class Distance(Row):
    """How far a distance is from its limit, measured images held out.

    Args:
        network: Whose features, and how many.
        view: Of the images.
        images: Reference images a feature.
        difference: From the limit, as a fraction of it.
        limit: The distance by all reference images.
    """

    title: ClassVar[str] = "Distance against its limit"
    network: str
    view: str
    images: float
    difference: float
    limit: float

    def cells(self) -> dict[str, str]:
        return {
            "network": self.network,
            "view": self.view,
            "n / D": f"{self.images:g}",
            "difference": f"{self.difference:+.3f}",
            "limit": f"{self.limit:.2f}",
        }


def steps(quick: bool) -> list[Step]:
    if VARIABLE not in os.environ:  # a folder of a few thousand photographs
        return []
    folder = Path(os.environ[VARIABLE])
    return [
        Step(
            "similarity and distance against the number of reference images", 600, lambda: against_limit(folder, quick)
        )
    ]


@torch.inference_mode()
def against_limit(folder: Path, quick: bool) -> Iterator[Row]:
    """Measure the first photographs of a folder, whitened by others of it, by more and more of them."""
    photographs = torch.stack([_crop(path) for path in list_images(folder)])
    photographs = photographs[torch.randperm(len(photographs), generator=torch.Generator().manual_seed(0))]
    for name, network in _networks().items():
        features = torch.cat([network(some.float() / 255) for some in photographs.split(100)]).double()
        measured, reference = features[:_MEASURED], features[_MEASURED:]
        width = features.shape[1]
        for view in list(_VIEWS)[: 1 if quick else None]:
            views = torch.cat(
                [network(_VIEWS[view](some.float() / 255)) for some in photographs[:_MEASURED].split(100)]
            )
            for estimator, make in _ESTIMATORS.items():
                limit = _similarity(make(reference), measured, views)
                for ratio in _RATIOS:
                    count = int(ratio * width) + 1
                    if max(count, _MEASURED) > len(reference):
                        break
                    held_out = _similarity(make(reference[:count]), measured, views) - limit
                    shared = make(torch.cat([measured, reference])[: max(count, _MEASURED)])
                    own = whiten(measured, shared)[:, None]
                    both = torch.cat([own, whiten(views, shared)[:, None]], dim=1)
                    apart = hold_out(both, own, shared)
                    corrected = float(invariance_similarity(apart[:, 0], apart[:, 1:]).mean()) - limit
                    in_sample = _similarity(shared, measured, views) - limit
                    yield Similarity(f"{name}, {width}", view, estimator, ratio, held_out, corrected, in_sample, limit)
            limit = _distance(_ours(reference), measured, views)
            for ratio in _RATIOS:
                if (count := int(ratio * width) + 1) > len(reference):
                    break
                difference = _distance(_ours(reference[:count]), measured, views) / limit - 1
                yield Distance(f"{name}, {width}", view, ratio, difference, limit)


def _similarity(whitening: Whitening, clean: Tensor, views: Tensor) -> float:
    return float(invariance_similarity(whiten(clean, whitening), whiten(views, whitening)[:, None]).mean())


def _distance(whitening: Whitening, clean: Tensor, views: Tensor) -> float:
    distances = invariance_distance(whiten(clean, whitening), whiten(views, whitening)[:, None])
    return float(distances.mean()) * whitening.length()


def _ours(features: Tensor) -> Whitening:
    return whitening_from_statistics(features.mean(dim=0), torch.cov(features.T), len(features), shrink=True)


def _spherical(weigh: Callable[[Tensor], float]) -> Callable[[Tensor], Whitening]:
    def make(features: Tensor) -> Whitening:
        covariance, weight = torch.cov(features.T), max(weigh(features), 1e-9)
        target = covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)
        factor = torch.linalg.cholesky((1 - weight) * covariance + weight * target)
        return Whitening(features.mean(dim=0), factor, len(features), weight)

    return make


_ESTIMATORS: dict[str, Callable[[Tensor], Whitening]] = {
    "a thousandth of the variances": _ours,
    "nearly the sample covariance": _spherical(lambda features: 1e-9),
    "oracle approximating": _spherical(lambda features: float(oas(features.numpy())[1])),
    "Ledoit-Wolf, linear": _spherical(lambda features: float(ledoit_wolf_shrinkage(features.numpy()))),
}


def _networks() -> dict[str, nn.Module]:
    lite = efficientnet_lite0()
    stages = {"fifth": 5, "seventh": 7}
    found = {
        f"EfficientNet-Lite0, {stage} stage": _pooled(lite.conv_stem, lite.bn1, *lite.blocks[:blocks])
        for stage, blocks in stages.items()
    }
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        resnet = timm.create_model("resnet18", num_classes=0)
    return {**found, "random ResNet-18": resnet.eval()}


def _pooled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def _crop(path: Path) -> Tensor:
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return pil_to_tensor(image.crop((left, top, left + side, top + side)).resize((_SIZE, _SIZE)))
