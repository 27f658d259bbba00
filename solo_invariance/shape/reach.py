"""What shaping did, on images that nothing was fitted to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.shaping import FactorMoments, OrbitFeatures, Reached, ShapedNetwork
from solo_invariance.device import device_of
from solo_invariance.measure.functional.parameter_readout import HALVES, parameter_readout_terms
from solo_invariance.shape.closed_forms import ordered_directions, shrunk
from solo_invariance.shape.images import ShapingImages
from solo_invariance.shape.moments import ColumnSums, TransformSums
from solo_invariance.shape.shapers import pooled

# A regression of so many images tells chance from what is read; of more, it takes longer.
_MOST_FOR_READOUT = 256
# A shaped backbone that averages over its orbit takes the square of the steps.
_MOST_FOR_ORBITS = 64


class _Standardised(NamedTuple):
    """What a linear probe is given: features centred, and as nearly white as the images that there are can tell."""

    mean: Tensor
    whiten: Tensor

    @classmethod
    def by(cls, moments: Mapping[str, FactorMoments]) -> "_Standardised":
        """Take it from the moments of the backbone, before it is shaped."""
        mean, total, _ = pooled(moments)
        covariance = shrunk(total, min(one.num_images for one in moments.values()))
        return cls(mean, ordered_directions(mean, covariance, total).reads)

    def __call__(self, features: Tensor) -> Tensor:
        """Return features (..., D) so."""
        return (features.double() - self.mean) @ self.whiten


class _Features(NamedTuple):
    rows: list[int]
    clean: Tensor
    views: dict[str, Tensor]


def reached(images: ShapingImages, shaped: Backbone) -> dict[str, Reached]:
    """Return what shaping did to each factor that was asked for, by its name, on the images that are held out.

    Args:
        images: That the shaper was fitted to, and held out.
        shaped: The shaped backbone, on the device to compute on.
    """
    network = shaped.network
    if not isinstance(network, ShapedNetwork):
        raise ValueError(f"{shaped.provenance.label} is not shaped")
    (member,) = network.backbones
    averages = member.views is not None
    others = images.others[:_MOST_FOR_ORBITS] if averages else images.others
    before = _collected(images, images.backbone, others, "held out")
    after = _collected(images, shaped, others, "held out, shaped") if averages else _shaped(before, network, images)
    if after.clean.shape[1] != before.clean.shape[1]:
        raise ValueError("a shaper that changes the width of features cannot be compared")
    read = _Standardised.by(images.moments())
    return {name: _reached(images, name, before, after, read) for name in images.factors}


def _collected(images: ShapingImages, backbone: Backbone, indices: Sequence[int], what: str) -> _Features:
    rows: list[int] = []
    parts: list[OrbitFeatures] = []
    for some, features in images.features_of(backbone, indices, what):
        rows += some
        parts.append(OrbitFeatures(features.clean.cpu(), {name: one.cpu() for name, one in features.views.items()}))
    views = {name: torch.cat([part.views[name] for part in parts]) for name in parts[0].views}
    return _Features(rows, torch.cat([part.clean for part in parts]), views)


@torch.inference_mode()
def _shaped(features: _Features, network: ShapedNetwork, images: ShapingImages) -> _Features:
    shaper, device = network.shaper, device_of(network)
    groups = images.values_of(features.rows).to(device) if images.groups else None

    def combined(some: Tensor, repeated: int) -> Tensor:
        on = some.to(device)
        return (shaper([on]) if groups is None else shaper.of_groups(on, groups.repeat_interleave(repeated))).cpu()

    views = {
        name: combined(one.flatten(0, 1), one.shape[1]).unflatten(0, one.shape[:2])
        for name, one in features.views.items()
    }
    return _Features(features.rows, combined(features.clean, 1), views)


def _reached(
    images: ShapingImages, name: str, before: _Features, after: _Features, standardised: _Standardised
) -> Reached:
    ours, theirs = (_traces(images, name, one) for one in (before, after))
    moved = _moved(images, name, before, after)
    return Reached(
        share_before=_ratio(ours.changed, ours.total),
        share_after=_ratio(theirs.changed, theirs.total),
        readout_before=_readout(images, name, before, standardised),
        readout_after=_readout(images, name, after, standardised),
        taken_out=1 - _ratio(theirs.changed, ours.changed),
        changed=_ratio(moved, ours.total),
    )


class _Traces(NamedTuple):
    total: float
    changed: float


def _traces(images: ShapingImages, name: str, features: _Features) -> _Traces:
    sums: TransformSums | ColumnSums
    if name in features.views:
        views = features.views[name]
        sums = TransformSums(views.shape[-1], images.coordinates(name), images.weights(name))
        sums.update(views)
    else:
        sums = ColumnSums(features.clean.shape[1], len(images.groups))
        sums.update(features.clean, images.values_of(features.rows))
    moments = sums.compute()
    return _Traces(float(moments.total.trace()), float(moments.changed.trace()))


def _readout(images: ShapingImages, name: str, features: _Features, standardised: _Standardised) -> float | None:
    rows = torch.tensor(features.rows[:_MOST_FOR_READOUT])
    if len(rows) < 2 * HALVES:
        return None
    count = len(rows)
    clean = standardised(features.clean[:count])
    if name in features.views:
        views = standardised(features.views[name][:count])
        targets = images.coordinates(name).expand(count, -1, -1)
    else:
        views, clean = clean[:, None], torch.zeros_like(clean)
        targets = torch.eye(len(images.groups), dtype=torch.float64)[images.values_of(features.rows[:count])][:, None]
    try:
        errors, deviations = parameter_readout_terms(clean, views, targets, rows, images.seed).sum(dim=0).tolist()
    except ValueError:  # of a column, one of the halves may have one value
        return None
    return float(1 - errors / deviations) if deviations else None


def _moved(images: ShapingImages, name: str, before: _Features, after: _Features) -> float:
    """Return the mean squared distance that features moved, each step by its weight."""
    if name not in before.views:
        return float((after.clean - before.clean).double().square().sum(-1).mean())
    squares = (after.views[name] - before.views[name]).double().square().sum(-1).mean(0)
    weights = images.weights(name).double()
    return float(weights @ squares / weights.sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
