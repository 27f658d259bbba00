"""Features of images, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone, common_interpolation
from solo_invariance.data.decoding import DECODING
from solo_invariance.data.framing import FramedImages, Framing
from solo_invariance.data.images import ImageSource
from solo_invariance.features.cache import FeatureCache, NoCache
from solo_invariance.features.checks import require_finite_features, require_varied_features
from solo_invariance.features.digests import digest_of_backbone, digests_of
from solo_invariance.features.feature_stream import FeatureStream, Precision, suitable_batch_size
from solo_invariance.features.shared_work import Piece, SharedWork, in_each
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress
from solo_invariance.results.files import fingerprint_of

# What is found in a cache and what processes share; another number is another key.
_UNIT = 1024
# To be raised whenever the same keys would stand for other numbers.
_FORMAT = 1


@dataclass(frozen=True)
class ExtractionSettings:
    """How features are computed; nothing but the precision changes the numbers (but for floating point).

    Args:
        batch_size: Images in one forward pass, None for what is fastest on the device.
        num_workers: Threads that read images; with none, they are read when they are needed.
        precision: Of the forward passes; ``bf16`` and ``fp16`` are autocast's.
    """

    batch_size: int | None = None
    num_workers: int = 4
    precision: Precision = "fp32"


_DEFAULT = ExtractionSettings()


def extract_features(
    backbone: Backbone,
    source: ImageSource,
    settings: ExtractionSettings = _DEFAULT,
    cache: FeatureCache | None = None,
    progress: Progress = no_progress,
    what: str = "features",
    processes: Processes | None = None,
) -> Tensor:
    """Return a backbone's features of all images of a source.

    The backbone sees the middle square of each image, see ``Framing``, in the size of its input. A fused backbone's
    features are made from those of its members, each of which is found in the cache, and kept there, by itself: another
    fusion of the same members computes none of them again.

    Args:
        backbone: On the device to compute on.
        source: N images of any size.
        settings: How to compute.
        cache: Where features are found and kept; None computes all of them, to the same numbers.
        progress: Told how many images are done.
        what: What to call the work.
        processes: Those that have the same work, which all call this: each does its share first, and finds the
            others' in the cache, or is given them where there is none.

    Returns:
        (N, D) float32 on the CPU, in the order of the source.

    Raises:
        UserError: An image is unreadable or its features are not finite (the message names it), or features are the
            same for all images; or the cache cannot be written.
    """
    alone, crop_size = backbone.members or (backbone,), backbone.input_spec.crop_size
    members = member_features(alone, source, crop_size, settings, cache, progress, what, processes)
    features = _combine(backbone, members) if backbone.members else members[0]
    require_finite_features(features, source, range(len(source)))
    require_varied(features, backbone)
    return features


def require_varied(features: Tensor, backbone: Backbone) -> None:
    """Raise UserError where a backbone's features (N, D) are the same for all images."""
    if len(features) > 1:
        variance, mean = torch.var_mean(features.double(), dim=0)
        require_varied_features(mean, variance, len(features), backbone.provenance.label)


def member_features(
    backbones: Sequence[Backbone],
    source: ImageSource,
    crop_size: int,
    settings: ExtractionSettings = _DEFAULT,
    cache: FeatureCache | None = None,
    progress: Progress = no_progress,
    what: str = "features",
    processes: Processes | None = None,
) -> list[Tensor]:
    """Return several backbones' features of the same images, which are read once for all that are not in the cache.

    Args:
        backbones: On the device to compute on; each resizes the squares to its own input.
        source: N images of any size.
        crop_size: Side of the squares, in pixels.
        settings: How to compute.
        cache: Where features are found and kept; None computes all of them, to the same numbers.
        progress: Told how many images are done.
        what: What to call the work.
        processes: Those that have the same work, which all call this: each does its share first, and finds the
            others' in the cache, or is given them where there is none.

    Returns:
        For each backbone, (N, D) float32 on the CPU, in the order of the source.

    Raises:
        UserError: An image is unreadable or its features are not finite (the message names it); or the cache cannot
            be written.
    """
    framing = Framing(crop_size, common_interpolation(backbones))
    framed = FramedImages(source, framing)
    streams = [_stream(backbone, crop_size, settings) for backbone in backbones]
    widths = [backbone.num_features for backbone in backbones]
    work = SharedWork(streams, widths, framed, settings.num_workers, cache or NoCache(), progress, what)
    processes = processes or Processes()
    if cache is None:
        own = share_of(len(source), streams[0].batch_size, processes)
        _exchange(work, [Piece(rows, member, "") for rows in own for member in range(len(backbones))], processes)
        return work.features
    units = _units(len(source))
    images = digests_of(source, settings.num_workers, progress, f"{what}: looking for known ones")
    keys = _keys(backbones, units, images, framing, settings.precision)
    work.do(_own_first(processes, units, keys))
    return work.features


def share_of(num_images: int, batch_size: int, processes: Processes) -> list[range]:
    """Return the images whose features are a process's share where there is no cache: of n, it has every n-th batch.

    The batches are the same for any number of processes, and so are the numbers.

    Args:
        num_images: Of a source, N.
        batch_size: Images in one forward pass.
        processes: Those that share the work.
    """
    units = _units(num_images)
    starts = [(start, unit.stop) for unit in units for start in range(unit.start, unit.stop, batch_size)]
    return [*processes.share([range(start, min(start + batch_size, stop)) for start, stop in starts])]


def _exchange(work: SharedWork, own: Sequence[Piece], processes: Processes) -> None:
    """Do a process's own pieces, give them to the others, and take theirs."""

    def do() -> list[tuple[Piece, Tensor]]:
        work.do(own)
        if processes.count == 1:
            return []
        return [(piece, work.features[piece.member][piece.rows.start : piece.rows.stop].clone()) for piece in own]

    for part in in_each(processes, do):
        for piece, features in part:
            work.features[piece.member][piece.rows.start : piece.rows.stop] = features


def count_missing(
    backbones: Sequence[Backbone], source: ImageSource, settings: ExtractionSettings, cache: FeatureCache | None
) -> int:
    """Return how many forward passes features of all images of a source take, of those that are in no cache.

    Args:
        backbones: On the device to compute on.
        source: N images.
        settings: How to compute.
        cache: Where features are found; with none, all are missing.
    """
    if cache is None:
        return len(source) * len(backbones)
    units = _units(len(source))
    crop_size = max(backbone.input_spec.crop_size for backbone in backbones)
    framing = Framing(crop_size, common_interpolation(backbones))
    keys = _keys(backbones, units, digests_of(source, settings.num_workers), framing, settings.precision)
    return sum(len(unit) for unit, of_unit in zip(units, keys, strict=True) for key in of_unit if not cache.has(key))


def _units(num_images: int) -> list[range]:
    return [range(start, min(start + _UNIT, num_images)) for start in range(0, num_images, _UNIT)]


def _stream(backbone: Backbone, crop_size: int, settings: ExtractionSettings) -> FeatureStream:
    batch_size = settings.batch_size or suitable_batch_size(backbone.mean.device, crop_size)
    return FeatureStream(backbone, batch_size, settings.precision)


def _keys(
    backbones: Sequence[Backbone], units: Sequence[range], images: Sequence[str], framing: Framing, precision: Precision
) -> list[list[str]]:
    """Return the key of each unit and backbone."""
    digests = [digest_of_backbone(backbone) for backbone in backbones]
    common = {
        "format": _FORMAT,
        "decoding": DECODING,
        "framing": [framing.size, framing.interpolation],
        "precision": precision,
    }
    return [
        [fingerprint_of({**common, "images": images[unit.start : unit.stop], "backbone": one}) for one in digests]
        for unit in units
    ]


def _own_first(processes: Processes, units: Sequence[range], keys: Sequence[Sequence[str]]) -> list[Piece]:
    """Return the pieces of all units, this process's share first: the others' are most often there when it is done.

    What is not there yet is left to whoever is at it, or done if nobody is: the cache sees to that, and keeps runs that
    know nothing of each other from the same work.
    """
    own = processes.share(range(len(units)))
    order = [*own, *(index for index in range(len(units)) if index not in own)]
    return [Piece(units[index], member, key) for index in order for member, key in enumerate(keys[index])]


@torch.no_grad()
def _combine(fused: Backbone, members: Sequence[Tensor]) -> Tensor:
    chunks, device = zip(*(features.split(_UNIT) for features in members), strict=True), fused.mean.device
    return torch.cat([fused.combine([part.to(device) for part in chunk]).float().cpu() for chunk in chunks])
