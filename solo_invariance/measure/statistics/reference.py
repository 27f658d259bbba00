"""The statistics of a backbone's features on clean reference images."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import ImageReader, ReadingPolicy, by_shape
from solo_invariance.errors import UserError
from solo_invariance.features.checks import require_finite_features
from solo_invariance.features.feature_stream import FeatureStream
from solo_invariance.measure.statistics.feature_statistics import FeatureStatistics, Moments
from solo_invariance.measure.transforms.transform import ResizeCrop, centre_crop
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress

# The same whatever the batch size and the number of processes, and so are the numbers.
_CHUNK = 256

SAMPLE = 1024
"""Of how many reference images features are kept, at most, to tell what error the reference makes."""


class ReferenceStatistics(NamedTuple):
    """What the reference images gave, over all processes.

    Args:
        moments: Of each layer.
        unreadable: Images that were left out.
    """

    moments: dict[str, Moments]
    unreadable: list[str]


def reference_statistics(
    stream: FeatureStream,
    layers: Mapping[str, int],
    reference: ImageSource,
    geometry: ResizeCrop,
    policy: ReadingPolicy,
    processes: Processes,
    progress: Progress = no_progress,
) -> ReferenceStatistics:
    """Return the statistics of each layer over all reference images.

    Args:
        stream: Gives the features.
        layers: The layers that lie side by side in them: name and width.
        reference: The images; each process reads its share.
        geometry: Sizes of images and crops.
        policy: How images are read.
        processes: Those that share the work.
        progress: Told how far this process's share is.

    Raises:
        UserError: An image is unreadable, or its features are not finite; the message names it.
    """
    # One process of several may measure for itself, and must not wait for the others then.
    statistics = {
        name: FeatureStatistics(width, sync_on_compute=processes.count > 1).to(stream.device)
        for name, width in layers.items()
    }
    for name, width in layers.items():
        statistics[name].update(torch.empty(0, width, device=stream.device))  # a process may have no share
    sample = _Sample(len(reference))
    chunks = processes.share(torch.arange(len(reference)).split(_CHUNK))
    reader = ImageReader(reference, policy, sum(map(len, chunks)))
    done = 0
    for chunk, (positions, images) in zip(chunks, reader.units([chunk.tolist() for chunk in chunks]), strict=True):
        indices = [int(chunk[position]) for position in positions]
        require_short_side(images, geometry.resize, reference, indices)
        for chosen, features in clean_features(stream, images, geometry):
            require_finite_features(features, reference, [indices[position] for position in chosen])
            sample.add([indices[position] for position in chosen], features)
            slices = features.split(list(layers.values()), dim=1)
            for one, some in zip(statistics.values(), slices, strict=True):
                one.update(some)
        done += len(chunk)
        progress("reference", done, sum(map(len, chunks)))
    unreadable = processes.gather([str(image.path) for image in reader.unreadable])
    if len(reference) - len(unreadable) < 2:
        raise UserError(f"reference: {len(reference) - len(unreadable)} images can be read, at least 2 are needed")
    samples = sample.features(processes).split(list(layers.values()), dim=1)
    moments = {
        name: _moments(one, layers[name], own) for (name, one), own in zip(statistics.items(), samples, strict=True)
    }
    return ReferenceStatistics(moments, unreadable)


def _moments(statistics: FeatureStatistics, width: int, sample: Tensor) -> Moments:
    mean, covariance, num_images = statistics.compute()[:3]
    # Of a single feature, torchmetrics makes numbers without a dimension.
    return Moments(mean.reshape(width), covariance.reshape(width, width), num_images, sample)


class _Sample:
    """The features of some of the images, which are the same for any number of processes.

    Args:
        num_images: How many to draw from.
    """

    def __init__(self, num_images: int) -> None:
        drawn = np.random.default_rng(0).permutation(num_images)[:SAMPLE]
        self._places = {int(index): place for place, index in enumerate(drawn)}
        self._found: list[tuple[int, Tensor]] = []

    def add(self, indices: list[int], features: Tensor) -> None:
        """Keep the features (n, F) of images as far as they are part of the sample."""
        for index, one in zip(indices, features, strict=True):
            if index in self._places:
                self._found.append((self._places[index], one.float().cpu().clone()))

    def features(self, processes: Processes) -> Tensor:
        """Return the features (R, F), float32, in the order that they were drawn in; every process calls this."""
        found = dict(processes.gather(self._found))
        return torch.stack([found[place] for place in sorted(found)])


def clean_features(
    stream: FeatureStream, images: list[Tensor], geometry: ResizeCrop
) -> Iterator[tuple[list[int], Tensor]]:
    """Return the features of images uint8 (3, H, W) that no transform has touched.

    Yields:
        Positions of images of one size, and their features (n, D).
    """
    waiting: deque[list[int]] = deque()

    def views() -> Iterator[Tensor]:
        for positions, stack in by_shape(images):
            waiting.append(positions)
            yield clean_views(stack.to(stream.device), geometry)

    for features in stream.stream(views()):
        yield waiting.popleft(), features


def clean_views(images: Tensor, geometry: ResizeCrop) -> Tensor:
    """Return the centre crops (n, 3, S, S) in [0, 1] of images uint8 (n, 3, H, W)."""
    return centre_crop(images, geometry).float().div(255)


def require_short_side(images: list[Tensor], size: int, source: ImageSource, indices: list[int]) -> None:
    """Raise UserError, naming the image, unless the short sides of images (3, H, W) of a source have a size, in pixels.

    Smaller ones would be padded with black by what crops them, and larger ones be cut more than others.
    """
    for image, index in zip(images, indices, strict=True):
        height, width = image.shape[-2:]
        if min(height, width) != size:
            raise UserError(
                f"{source.name_of(index)}: {width} x {height} pixels, expected a short side of {size}: have the source "
                f"resize its images, or measure with another geometry"
            )
