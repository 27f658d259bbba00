from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.images import TensorImages
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.errors import UserError
from solo_invariance.measure import (
    Geometry,
    Group,
    InvarianceMeasurement,
    Measured,
    MeasureSettings,
    PartialResultFiles,
    PartialResults,
    ViewGroups,
    feature_statistics,
    measure_groups,
)
from solo_invariance.plugins import load_plugin
from solo_invariance.processes import Processes

_SIZES = (3, 2, 5, 4, 2, 7)


class _Columns(nn.Module):
    """Features that can be computed by hand: the red channel's first four columns. Counts the views it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.views = 0

    def forward(self, images: Tensor) -> Tensor:
        self.views += len(images)
        return images[:, 0].mean(dim=1)[:, :4] + self.anchor


class _Images(TensorImages):
    """Images some of which cannot be read."""

    def __init__(self, images: Tensor, broken: Sequence[int] = ()) -> None:
        super().__init__(images, name="view")
        self.broken = {*broken}

    def __getitem__(self, index: int) -> Tensor | Unreadable:  # type: ignore[override]
        if index in self.broken:
            return Unreadable(Path(f"view {index}"), f"view {index}: not a readable image")
        return super().__getitem__(index)


def _pixels(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)


def _groups(sizes: Sequence[int]) -> list[Group]:
    edges = np.cumsum([0, *sizes])
    return [Group(f"thing {g}", tuple(range(edges[g], edges[g + 1]))) for g in range(len(sizes))]


def _measurement(**changes) -> InvarianceMeasurement:
    spec = InputSpec(8, (0.0,) * 3, (1.0,) * 3)
    backbone = Backbone(_Columns(), Architecture("by-hand"), spec, Provenance("by-hand"))
    settings = MeasureSettings(**{"geometry": Geometry(8, 8), "batch_size": 16, **changes})
    return InvarianceMeasurement(backbone, {"": feature_statistics(_features())}, settings)  # as of other images


def _features() -> Tensor:
    return _pixels(60).double()[:, 0].mean(dim=1)[:, :4] / 255


def _measured(
    broken: Sequence[int] = (), sizes: Sequence[int] = _SIZES, parts: PartialResults | None = None, **changes
) -> Measured:
    views = ViewGroups("spatial", _Images(_pixels(60), broken), _groups(sizes))
    return measure_groups(_measurement(**changes), "things", views, parts=parts)[""]


def _by_hand(groups: Sequence[Sequence[int]], protocol: str = "clean") -> dict[str, list[float]]:
    """The numbers of each group, pair by pair, in NumPy."""
    whitened = _whitened_by_hand(protocol)
    found: dict[str, list[float]] = {"with": [], "without": [], "distance": []}
    for group in groups:
        pairs = [(whitened[i], whitened[j], i == j) for i in group for j in group]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b, _ in pairs]
        found["with"].append(np.mean(cosines))
        found["without"].append(np.mean([c for c, (_, _, same) in zip(cosines, pairs, strict=True) if not same]))
        found["distance"].append(np.mean([np.linalg.norm(a - b) for a, b, same in pairs if not same]))
    return found


@pytest.mark.parametrize("protocol", ["paper", "clean"])
@pytest.mark.parametrize("batch_size", [3, 64])
def test_groups_of_unequal_sizes_against_loops_over_pairs(protocol: str, batch_size: int) -> None:
    measured = _measured(protocol=protocol, batch_size=batch_size)
    expected = _by_hand([group.images for group in _groups(_SIZES)], protocol)
    arrays = {name: array[:, 0] for name, array in measured.arrays.items() if name != "names"}
    np.testing.assert_allclose(arrays["similarity_with_diagonal_per_image"], expected["with"], atol=1e-5)
    np.testing.assert_allclose(arrays["similarity_without_diagonal_per_image"], expected["without"], atol=1e-5)
    np.testing.assert_allclose(arrays["distance_per_image"], expected["distance"], rtol=1e-5)
    similarity = expected["with" if protocol == "paper" else "without"]
    assert measured.summary["similarity"]["mean"] == pytest.approx(np.mean(similarity), abs=1e-5)
    np.testing.assert_allclose(arrays["similarity_per_image"], similarity, atol=1e-5)
    assert measured.arrays["names"].tolist() == [f"thing {g}" for g in range(6)]
    assert (measured.summary["num_groups"], measured.summary["num_views"]) == (6, 7)
    assert measured.summary["unreadable"] == []


def _whitened_by_hand(protocol: str = "clean") -> np.ndarray:
    features = _features().numpy()
    covariance = np.cov(features.T)
    if protocol == "clean":
        shrunk = 0.999 * covariance + 0.001 * np.diag(covariance.diagonal())
        features = features * np.sqrt(1 - 0.999 * np.trace(np.linalg.inv(shrunk) @ covariance) / (len(features) - 1))
        covariance = shrunk
    return (features - features.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(covariance)).T


def _against_others_by_hand(groups: Sequence[Sequence[int]], gallery: Sequence[int]) -> dict[str, np.ndarray]:
    """What the later views of each group score against its first one and the gallery, view by view, in NumPy."""
    whitened = _whitened_by_hand()
    unit = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    similarity, chance, recall, mrr = [], [], [], []
    for own, *later in groups:
        others = [image for image in gallery if image != own]
        cosines = [(unit[view] @ unit[own], unit[others] @ unit[view]) for view in later]
        ranks = np.asarray([1 + (to_others >= to_own).sum() for to_own, to_others in cosines])
        similarity.append(np.mean([to_own for to_own, _ in cosines]))
        chance.append(np.mean([to_others.mean() for _, to_others in cosines]))
        recall.append(np.mean(ranks == 1))
        mrr.append(np.mean(1 / ranks))
    of_all, by_chance = np.mean(similarity), np.mean(chance)
    return {
        "chance_corrected_similarity": np.asarray((of_all - by_chance) / (1 - by_chance)),
        "recall_at_1": np.asarray(recall),
        "mrr": np.asarray(mrr),
    }


_METRICS = ("similarity", "distance", "chance_corrected_similarity", "recall_at_1", "mrr", "parameter_readout")


def test_other_metrics_take_the_first_view_for_the_clean_image() -> None:
    metrics = {name: load_plugin("metrics", name) for name in _METRICS}
    views, groups = ViewGroups("spatial", _Images(_pixels(60)), _groups(_SIZES)), [g.images for g in _groups(_SIZES)]
    measured = measure_groups(_measurement(), "things", views, metrics)[""]
    expected = _against_others_by_hand(groups, [group[0] for group in groups])
    for name, of_groups in expected.items():
        assert measured.summary[name]["mean"] == pytest.approx(of_groups.mean(), abs=1e-5)
        low, high = measured.summary[name]["ci95"]
        assert low <= measured.summary[name]["mean"] <= high
    np.testing.assert_allclose(measured.arrays["recall_at_1_per_image"][:, 0], expected["recall_at_1"], atol=1e-6)
    np.testing.assert_allclose(measured.arrays["mrr_per_image"][:, 0], expected["mrr"], rtol=1e-5)
    assert 0 < expected["recall_at_1"].mean() < 1
    assert "parameter_readout" not in measured.summary  # no parameters to read
    plain = measure_groups(_measurement(), "things", views)[""].summary
    assert {key: measured.summary[key] for key in plain} == plain


def test_other_metrics_take_the_first_view_that_can_be_read() -> None:
    metrics = {name: load_plugin("metrics", name) for name in _METRICS}
    views = ViewGroups("spatial", _Images(_pixels(60), [0, 4]), _groups(_SIZES))
    measured = measure_groups(_measurement(reading=_SKIP), "things", views, metrics)[""]
    groups = [(1, 2), (5, 6, 7, 8, 9), (10, 11, 12, 13), (14, 15), tuple(range(16, 23))]
    expected = _against_others_by_hand(groups, [3, 5, 10, 14, 16])  # view 0 cannot be compared with
    np.testing.assert_allclose(measured.arrays["mrr_per_image"][:, 0], expected["mrr"], rtol=1e-5)


_SKIP = ReadingPolicy(on_error="skip", max_unreadable=0.2)


def test_a_view_that_cannot_be_read_is_left_out_and_a_group_of_one_too() -> None:
    # Groups: 0-2, 3-4, 5-9, 10-13, 14-15, 16-22.
    measured = _measured([1, 4, 22], reading=_SKIP)
    expected = _by_hand([(0, 2), (5, 6, 7, 8, 9), (10, 11, 12, 13), (14, 15), tuple(range(16, 22))])
    assert measured.arrays["names"].tolist() == ["thing 0", "thing 2", "thing 3", "thing 4", "thing 5"]
    np.testing.assert_allclose(measured.arrays["similarity_per_image"][:, 0], expected["without"], atol=1e-5)
    np.testing.assert_allclose(measured.arrays["distance_per_image"][:, 0], expected["distance"], rtol=1e-5)
    assert measured.summary["num_groups"] == 5
    assert measured.summary["unreadable"] == ["view 1", "view 22", "view 4"]


@pytest.mark.parametrize(
    ("reading", "broken", "message"),
    [
        (ReadingPolicy(), [4], r"^view 4: not a readable image; on_error=skip leaves such images out$"),
        (_SKIP, [0, 3, 5, 10, 14], r"^5 of 23 images cannot be read, more than max_unreadable=0\.2 of them: view 0, "),
        (ReadingPolicy(on_error="skip", max_unreadable=1), range(23), "things: no group has two views that can be"),
    ],
)
def test_views_that_cannot_be_done_without(reading, broken, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _measured(broken, reading=reading)


def test_features_that_are_not_finite_name_their_view() -> None:
    measurement = _measurement(reading=_SKIP)
    forward = measurement.backbone.network.forward
    measurement.backbone.network.forward = lambda views: forward(views) / (views.mean(dim=(1, 2, 3)) < 0.9)[:, None]
    pixels = _pixels(60)
    pixels[11] = 255
    views = ViewGroups("spatial", _Images(pixels, [2]), _groups(_SIZES))
    with pytest.raises(UserError, match=r"^view 11: the backbone's features are not finite"):
        measure_groups(measurement, "things", views)


# In units, which may be kept and shared

_MANY = (16,) * 256  # four units of 1024 views


def _many_groups() -> ViewGroups:
    generator = np.random.default_rng(0)
    groups = [Group(f"thing {g}", tuple(generator.integers(60, size=size).tolist())) for g, size in enumerate(_MANY)]
    return ViewGroups("spatial", _Images(_pixels(60)), groups)


def _same(found: Measured, expected: Measured) -> None:
    assert found.summary == expected.summary
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_groups_that_were_kept_are_not_measured_again(tmp_path: Path) -> None:
    measurement, views = _measurement(), _many_groups()
    network = measurement.backbone.network
    network.views = 0
    whole = measure_groups(measurement, "things", views)[""]
    assert network.views == sum(_MANY)
    measure_groups(measurement, "things", views, parts=PartialResultFiles(tmp_path))
    kept = sorted(tmp_path.glob("rows-*.npz"))
    assert len(kept) == 4
    kept[1].unlink()
    network.views = 0
    _same(measure_groups(measurement, "things", views, parts=PartialResultFiles(tmp_path))[""], whole)
    assert network.views == 64 * 16


def test_parts_of_transforms_lie_beside_those_of_groups(tmp_path: Path) -> None:
    measurement, views, parts = _measurement(num_images=20, k=4), _many_groups(), PartialResultFiles(tmp_path)
    transforms = {"hue": load_plugin("transforms", "hue")}
    source = TensorImages(_pixels(60))
    hue = measurement.measure(transforms, source, parts=parts)[""]["hue"]
    _same(
        measure_groups(measurement, "things", views, parts=parts)[""], measure_groups(measurement, "things", views)[""]
    )
    _same(measurement.measure(transforms, source, parts=parts)[""]["hue"], hue)


def test_two_processes_share_the_groups(in_threads, tmp_path: Path) -> None:
    alone, views = _measurement(gallery=50), _many_groups()
    metrics = {name: load_plugin("metrics", name) for name in ("mrr", "chance_corrected_similarity")}
    expected = measure_groups(alone, "things", views, metrics)[""]

    def work(processes: Processes) -> tuple[Measured, int]:
        measurement = _measurement(gallery=50)
        measurement.processes = processes
        measurement.backbone.network.views = 0
        measured = measure_groups(measurement, "things", views, metrics, PartialResultFiles(tmp_path))[""]
        return measured, measurement.backbone.network.views

    for measured, count in in_threads(2, work):
        _same(measured, expected)
        assert count == sum(_MANY) / 2 + 50


def test_a_group_of_the_reference_is_whitened_without_it() -> None:
    spec = InputSpec(8, (0.0,) * 3, (1.0,) * 3)
    backbone = Backbone(_Columns(), Architecture("by-hand"), spec, Provenance("by-hand"))
    settings = MeasureSettings(geometry=Geometry(8, 8), batch_size=16, matched_width=2)
    source = TensorImages(_pixels(60))
    views = ViewGroups("spatial", source, _groups((3, 2)))
    found = measure_groups(InvarianceMeasurement(backbone, source, settings), "things", views)[""]
    for place, own in enumerate(((0, 1, 2), (3, 4))):
        rest = [index for index in range(60) if index not in own]
        alone = InvarianceMeasurement(backbone, {"": feature_statistics(_features()[rest])}, settings)
        expected = measure_groups(alone, "things", views)[""]
        for key in ("similarity_per_image", "distance_per_image"):
            np.testing.assert_allclose(found.arrays[key][place], expected.arrays[key][place], rtol=1e-4, atol=1e-5)
        # The projected covariance was shrunk with these images in it.
        ours, others = (one.arrays["width_matched_similarity_per_image"][place] for one in (found, expected))
        np.testing.assert_allclose(ours, others, atol=1e-3)
