"""The statistics of a backbone's features on clean reference images."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import ImageReader, ReadingPolicy, by_shape
from solo_invariance.errors import UserError
from solo_invariance.features.feature_stream import FeatureStream
from solo_invariance.measure.statistics.feature_statistics import FeatureStatistics, Moments
from solo_invariance.measure.transforms.transform import Geometry, centre_crop
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress

# The same whatever the batch size and the number of processes, and so are the numbers.
_UNIT = 256


class ReferenceStatistics(NamedTuple):
    """What the reference images gave, over all processes.

    Args:
        moments: Of each block of the features.
        unreadable: Images that were left out.
    """

    moments: dict[str, Moments]
    unreadable: list[str]


def reference_statistics(
    stream: FeatureStream,
    blocks: Mapping[str, int],
    reference: ImageSource,
    geometry: Geometry,
    policy: ReadingPolicy,
    processes: Processes,
    progress: Progress = no_progress,
) -> ReferenceStatistics:
    """Return the statistics of each block of the features over all reference images.

    Args:
        stream: Gives the features.
        blocks: Their columns' blocks: name and width.
        reference: The images; each process reads its share.
        geometry: See there.
        policy: How images are read.
        processes: Those that share the work.
        progress: Told how far this process's share is.

    Raises:
        UserError: An image is unreadable, or its features are not finite; the message names it.
    """
    # One process of several may measure for itself, and must not wait for the others then.
    statistics = {
        name: FeatureStatistics(width, sync_on_compute=processes.count > 1).to(stream.device)
        for name, width in blocks.items()
    }
    for name, width in blocks.items():
        statistics[name].update(torch.empty(0, width, device=stream.device))  # a process may have no share
    units = processes.share(torch.arange(len(reference)).split(_UNIT))
    reader = ImageReader(reference, policy, sum(map(len, units)))
    done = 0
    for unit, (positions, images) in zip(units, reader.units([unit.tolist() for unit in units]), strict=True):
        indices = [int(unit[position]) for position in positions]
        for chosen, features in clean_features(stream, images, geometry):
            require_finite_features(features, reference, [indices[position] for position in chosen])
            parts = features.split(list(blocks.values()), dim=1)
            for one, part in zip(statistics.values(), parts, strict=True):
                one.update(part)
        done += len(unit)
        progress("reference", done, sum(map(len, units)))
    unreadable = processes.gather([str(image.path) for image in reader.unreadable])
    if len(reference) - len(unreadable) < 2:
        raise UserError(f"reference: {len(reference) - len(unreadable)} images can be read, at least 2 are needed")
    return ReferenceStatistics({name: _moments(one, blocks[name]) for name, one in statistics.items()}, unreadable)


def _moments(statistics: FeatureStatistics, width: int) -> Moments:
    mean, covariance, num_images = statistics.compute()
    # Of a single feature, torchmetrics makes numbers without a dimension.
    return Moments(mean.reshape(width), covariance.reshape(width, width), num_images)


def clean_features(
    stream: FeatureStream, images: list[Tensor], geometry: Geometry
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


def clean_views(images: Tensor, geometry: Geometry) -> Tensor:
    """Return the centre crops (n, 3, S, S) in [0, 1] of images uint8 (n, 3, H, W)."""
    return centre_crop(images, geometry).float().div(255)


def require_finite_features(features: Tensor, source: ImageSource, indices: list[int]) -> None:
    """Raise UserError, naming the image, unless the features (n, ...) of images of a source are finite."""
    finite = features.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        culprit = indices[int((~finite).int().argmax())]
        raise UserError(f"{source.name_of(culprit)}: the backbone's features are not finite (NaN or inf)")
