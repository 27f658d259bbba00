"""Draws the pictures of the explanation pages, from this package's own functions: ``python docs/pictures/draw.py``.

The five backbones are made up: features of whitened images, and what each makes of a view that is turned by an angle.
The other two pictures are of ``benchmarks/results`` and of made-up features of decaying variance.
"""

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from solo_invariance.measure.functional import (
    invariance_similarity,
    whiten,
    whitening_from_statistics,
    width_matched_projections,
    width_matched_similarity,
)
from solo_invariance.measure.metrics import (
    ChanceCorrectedSimilarity,
    Equivariance,
    Gallery,
    InvarianceDistance,
    InvarianceSimilarity,
    ParameterReadout,
    RetrievalMRR,
    RetrievalRecall,
    ViewMetric,
)

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "benchmarks" / "results"

NUM_FEATURES = 16
ANGLES = 16
_COLOURS = ("#3b75af", "#c8662b", "#4b9a5b", "#8a63b0", "#a8423f")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 300, 56, 16, 168, 44
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.g{stroke:#ccc}.l{fill:none;stroke-width:2.5}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#555}}"
)

Curve = tuple[str, Sequence[float], Sequence[float]]
"""Its name, and its points' places and values."""


def backbones(num_images: int = 400) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Return clean features (N, D), views' features (N, K, D) and angles in radians (N, K), of five backbones."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    clean = normal(num_images, NUM_FEATURES)
    angles = (2 * math.pi * torch.arange(ANGLES) / ANGLES).expand(num_images, -1)
    circle = torch.stack([angles.cos(), angles.sin()], dim=2)
    shape = (num_images, ANGLES, NUM_FEATURES)
    own, noise = clean[:, None].expand(shape), 0.2 * normal(*shape)
    first, second = own[..., ::2], own[..., 1::2]
    cos, sin = circle.split(1, dim=2)
    turned = torch.stack([cos * first - sin * second, sin * first + cos * second], dim=3).flatten(2)
    kept = torch.arange(NUM_FEATURES) < NUM_FEATURES // 2
    direction = normal(2, NUM_FEATURES)
    views = {
        "ignores it": own + noise,
        "half ignores it": torch.where(kept, own, normal(*shape)),
        "turns with it": turned + noise,
        "adds it": own + 3 * (circle - circle[:, :1]) @ (direction / direction.norm(dim=1).mean()),
        "scrambles": normal(*shape),
    }
    return {name: (clean, one, angles) for name, one in views.items()}


def scores(num_images: int = 400) -> dict[str, dict[str, float]]:
    """Return what each metric says of the five backbones, without the angle 0."""
    found = {}
    for name, (clean, views, angles) in backbones(num_images).items():
        ids = torch.arange(len(clean))
        gallery, whole = Gallery(clean, ids), torch.eye(NUM_FEATURES)[None]
        metrics: dict[str, ViewMetric] = {
            "similarity": InvarianceSimilarity(),
            "distance": InvarianceDistance(),
            "chance corrected": ChanceCorrectedSimilarity(gallery),
            "recall at 1": RetrievalRecall(gallery),
            "MRR": RetrievalMRR(gallery),
            "parameter readout": ParameterReadout(),
            "equivariance": Equivariance(whole),
        }
        coordinates = torch.stack([angles.cos(), angles.sin()], dim=2)[:, 1:]
        for metric in metrics.values():
            metric.update(clean, views[:, 1:], coordinates, ids)
        found[name] = {label: float(metric.compute().mean()) for label, metric in metrics.items()}
    return found


def curves_over_angles() -> list[Curve]:
    """Return each backbone's similarity over the angle, in degrees."""
    degrees = [360 * index / ANGLES for index in range(ANGLES)]
    means = {
        name: invariance_similarity(clean, views).mean(dim=0).tolist()
        for name, (clean, views, _) in backbones().items()
    }
    return [(name, degrees, values) for name, values in means.items()]


def curves_over_widths() -> list[Curve]:
    """Return similarity, plain and width-matched, of random projections of 512 features to fewer.

    A feature's variance falls as 1 / rank, and the fewer the variance, the less of a feature does a view keep.
    """
    draw = torch.Generator().manual_seed(0)
    ranks = torch.arange(1, 513, dtype=torch.float64)
    deviation, kept = ranks**-0.5, 1 / (1 + ranks / 200)
    reference, clean, other = (torch.randn(n, 512, generator=draw, dtype=torch.float64) for n in (8192, 300, 300))
    view = kept * clean + (1 - kept**2).sqrt() * other
    widths = [64, 96, 128, 192, 256, 384, 512]
    found: dict[str, list[float]] = {"similarity": [], "width matched": []}
    for width in widths:
        turn = torch.randn(512, width, generator=draw, dtype=torch.float64) / 512**0.5
        ours, first, second = ((one * deviation) @ turn for one in (reference, clean, view))
        covariance = torch.cov(ours.T)
        whitening = whitening_from_statistics(ours.mean(dim=0), covariance, len(ours), shrink=True)
        pair = whiten(first, whitening), whiten(second, whitening)[:, None]
        maps = width_matched_projections(whitening, covariance, len(ours), 64, 8, shrink=True)
        found["similarity"].append(float(invariance_similarity(*pair).mean()))
        found["width matched"].append(float(width_matched_similarity(*pair, maps).mean()))
    return [(name, widths, values) for name, values in found.items()]


def curves_over_references() -> list[Curve]:
    """Return how far similarity and distance are from their limits, by reference images for each feature.

    Of EfficientNet-Lite0's last features under mirroring; the distance's error is a fraction of its limit.
    """
    rows = json.loads((RESULTS / "reference-cpu.json").read_text())["rows"]
    mine = [row for row in rows if row.get("network", "").endswith("320") and row.get("view") == "h_flip"]
    distance = [row for row in mine if row["kind"] == "distance"]
    ours = [row for row in mine if row.get("estimator") == "a thousandth of the variances"]
    return [
        ("similarity", [row["images"] for row in ours], [row["held_out"] for row in ours]),
        ("similarity, in sample", [row["images"] for row in ours], [row["in_sample"] for row in ours]),
        ("distance", [row["images"] for row in distance], [row["difference"] for row in distance]),
    ]


def drawing(curves: Sequence[Curve], across: str, up: str, ticks: Sequence[float], low: float, high: float) -> str:
    """Return curves with points as SVG, readable in light and dark.

    Args:
        curves: To draw.
        across: What the horizontal axis is.
        up: What the vertical axis is.
        ticks: Places on the horizontal axis, of which the first and the last are its ends; equally spaced.
        low: Lower end of the vertical axis.
        high: Its upper end.
    """
    inner = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(place: float) -> float:
        after = next((index for index, tick in enumerate(ticks) if place <= tick), len(ticks) - 1)
        before = max(after - 1, 0)
        part = (place - ticks[before]) / (ticks[after] - ticks[before]) if after else 0.0
        return _LEFT + inner[0] * (before + part) / (len(ticks) - 1)

    def y(value: float) -> float:
        return _TOP + inner[1] * (high - value) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{up} over {across}</title><style>{_STYLE}</style>",
    ]
    for step in range(5):
        value = low + (high - low) * step / 4
        parts.append(f'<path class="g" d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    parts += [
        f'<text x="{x(tick):.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{_number(tick)}</text>' for tick in ticks
    ]
    parts.append(f'<text x="{_LEFT + inner[0] / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{across}</text>')
    ends = _apart([y(values[-1]) for _, _, values in curves])
    for (name, places, values), colour, end in zip(curves, _COLOURS, ends, strict=False):
        points = [(x(place), min(y(value), _HEIGHT - _BOTTOM)) for place, value in zip(places, values, strict=True)]
        parts.append(
            f'<polyline class="l" stroke="{colour}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'
        )
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{_WIDTH - _RIGHT + 10}" y="{end + 4:.1f}" style="fill:{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _apart(places: Sequence[float]) -> list[float]:
    """Return places of labels that do not lie on each other, near where they should be."""
    found = list(places)
    order = sorted(range(len(found)), key=found.__getitem__)
    for before, after in pairwise(order):
        found[after] = max(found[after], found[before] + 16)
    return found


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}")


PICTURES: dict[str, Callable[[], str]] = {
    "similarity": lambda: drawing(
        curves_over_angles(), "angle, degrees", "similarity", [0, 90, 180, 270, 360], low=-1, high=1
    ),
    "width": lambda: drawing(curves_over_widths(), "features", "similarity", [64, 128, 256, 512], low=0, high=1),
    "reference": lambda: drawing(
        curves_over_references(),
        "reference images for each feature",
        "error",
        [0.5, 1, 2, 4, 8],
        low=-0.6,
        high=0.2,
    ),
}


if __name__ == "__main__":
    for name, draw_picture in PICTURES.items():
        (HERE / f"{name}.svg").write_text(draw_picture(), encoding="utf-8")
    for backbone, row in scores().items():
        print(f"| {backbone} | " + " | ".join(f"{value:.2f}".replace("-0.00", "0.00") for value in row.values()) + " |")
