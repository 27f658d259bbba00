"""The reference's own error in what a measurement gives."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.bootstrap import estimate
from solo_invariance.data.images import TensorImages
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.features.feature_stream import FeatureStream
from solo_invariance.measure import (
    Geometry,
    InvarianceMeasurement,
    MeasureSettings,
    Moments,
    ViewGroups,
    measure,
    measure_groups,
)
from solo_invariance.measure.comparison import reference_error_of_difference
from solo_invariance.measure.loop.groups import Group
from solo_invariance.measure.statistics import reference as reference_module
from solo_invariance.measure.statistics.reference import reference_statistics
from solo_invariance.plugins import load_plugin
from solo_invariance.processes import Processes


class _Columns(nn.Module):
    """Five features: means of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0].mean(dim=1)[:, :5] + self.anchor


def _backbone() -> Backbone:
    return Backbone(_Columns(), Architecture("columns"), InputSpec(8, (0.0,) * 3, (1.0,) * 3), Provenance("columns"))


def _pixels(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)


def _settings(**changes) -> MeasureSettings:
    return MeasureSettings(**{"geometry": Geometry(8, 8), "num_images": 30, "k": 5, "batch_size": 16, **changes})


_REFERENCE, _MEASURED = TensorImages(_pixels(80)), TensorImages(_pixels(30, seed=1))


def _jackknife(measured) -> dict[str, float]:
    """Return the standard error that numbers have from the reference, by leaving out each of its images."""
    moments = InvarianceMeasurement(_backbone(), _REFERENCE, _settings()).moments[""]
    features = _Columns()(_REFERENCE.images.float() / 255).detach().double()
    torch.testing.assert_close(features.mean(dim=0), moments.mean, atol=1e-6, rtol=1e-6)
    found: dict[str, list[float]] = {}
    for left_out in range(80):
        others = features[torch.arange(80) != left_out]
        summary = measured({"": Moments(others.mean(dim=0), torch.cov(others.T), 79)})
        names = ("similarity", "width_matched_similarity", "distance")
        for name in (*names, "similarity_without_identity", "similarity_with_diagonal"):
            if name in summary:
                assert "reference_error" not in summary[name]  # of which moments alone say nothing
                found.setdefault(name, []).append(summary[name]["mean"])
    return {name: float(np.std(values) * math.sqrt(79)) for name, values in found.items()}


@pytest.mark.parametrize(("protocol", "name"), [("clean", "h_flip"), ("clean", "hue"), ("paper", "hue")])
def test_the_interval_of_a_transform_has_the_error_of_the_jackknife(protocol: str, name: str) -> None:
    def measured(reference) -> dict:
        settings = _settings(protocol=protocol, matched_width=3)
        measurement = InvarianceMeasurement(_backbone(), reference, settings)
        found = measurement.measure_transform(name, load_plugin("transforms", name), _MEASURED)
        arrays.update(found.arrays)
        return found.summary

    arrays: dict[str, np.ndarray] = {}
    expected = _jackknife(measured)
    assert {"similarity", "width_matched_similarity", "distance"} < {*expected}
    found = measured(_REFERENCE)
    assert {key: found[key]["reference_error"] for key in expected} == pytest.approx(expected, rel=0.2)
    # The identity, one of five hues, is as similar whatever the reference.
    counted = 0.8 if protocol == "paper" else 1
    without = found["similarity_without_identity"]["reference_error"]
    assert found["similarity"]["reference_error"] == pytest.approx(counted * without)
    terms = torch.from_numpy(arrays["similarity_per_image"])
    images = torch.from_numpy(np.unique(arrays["names"], return_inverse=True)[1])
    alone = estimate(terms, images=images)
    error = found["similarity"]["reference_error"]
    halves = [math.hypot(alone.mean - end, norm.ppf(0.975) * error) for end in (alone.low, alone.high)]
    assert found["similarity"]["ci95"] == pytest.approx([alone.mean - halves[0], alone.mean + halves[1]])
    assert found["similarity"]["standard_error"] == pytest.approx(alone.standard_error)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_the_interval_of_view_groups_has_the_error_of_the_jackknife(protocol: str) -> None:
    views = ViewGroups("spatial", _MEASURED, [Group(str(g), (3 * g, 3 * g + 1, 3 * g + 2)) for g in range(10)])

    def measured(reference) -> dict:
        settings = _settings(protocol=protocol, matched_width=3)
        measurement = InvarianceMeasurement(_backbone(), reference, settings)
        return measure_groups(measurement, "things", views)[""].summary

    expected, found = _jackknife(measured), measured(_REFERENCE)
    assert {"similarity", "width_matched_similarity", "distance"} < {*expected}
    for key, error in expected.items():
        assert found[key]["reference_error"] == pytest.approx(error, rel=0.2)
    chosen = "similarity_with_diagonal" if protocol == "paper" else "similarity_without_diagonal"
    assert found["similarity"] == found[chosen]


def test_the_error_of_a_distance_is_that_of_the_inverse_covariance() -> None:
    """A covariance's own goes with sqrt(1 / n); that of its inverse is n / (n - D) times as large."""
    moments = InvarianceMeasurement(_backbone(), _REFERENCE, _settings()).moments[""]
    views = ViewGroups("spatial", _MEASURED, [Group(str(g), (3 * g, 3 * g + 1, 3 * g + 2)) for g in range(10)])

    def relative_errors(num_images: int) -> list[float]:
        measurement = InvarianceMeasurement(_backbone(), {"": moments._replace(num_images=num_images)}, _settings())
        flipped = measurement.measure_transform("h_flip", load_plugin("transforms", "h_flip"), _MEASURED)
        found = [one.summary["distance"] for one in (flipped, measure_groups(measurement, "things", views)[""])]
        return [distance["reference_error"] / distance["mean"] for distance in found]

    many = relative_errors(80)
    expected = math.sqrt(80 / 20) * (20 / (20 - 5)) / (80 / (80 - 5))
    assert relative_errors(20) == pytest.approx([expected * one for one in many], rel=0.03)
    # That has no end: of fewer than 5 / 4 images a feature, it is taken to be five times as large.
    expected = math.sqrt(80 / 6) * 5 / (80 / (80 - 5))
    assert relative_errors(6) == pytest.approx([expected * one for one in many], rel=0.03)


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_the_error_does_not_depend_on_the_batches(budget: str) -> None:
    def error(batch_size: int) -> float:
        settings = _settings(k=16, batch_size=batch_size, budget=budget)
        measurement = InvarianceMeasurement(_backbone(), _REFERENCE, settings)
        found = measurement.measure_transform("rotation", load_plugin("transforms", "rotation"), _MEASURED)
        return found.summary["similarity"]["reference_error"]

    assert error(3) == pytest.approx(error(100), rel=1e-4)


def test_the_sample_of_the_reference_is_the_same_for_any_number_of_processes(monkeypatch) -> None:
    monkeypatch.setattr(reference_module, "SAMPLE", 50)
    monkeypatch.setattr(reference_module, "_CHUNK", 16)
    gathered: list = []

    class Shared(Processes):
        count = 3

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def gather(self, items: list) -> list:
            gathered.extend(items)
            return gathered

    def sample(processes: Processes) -> Tensor:
        stream = FeatureStream(_backbone(), 7)
        found = reference_statistics(stream, {"": 5}, _REFERENCE, Geometry(8, 8), ReadingPolicy(0), processes)
        kept = found.moments[""].sample
        assert kept is not None
        return kept

    alone = sample(Processes())
    assert len(alone) == 50 == len(alone.unique(dim=0))
    *_, together = [sample(Shared(rank)) for rank in range(3)]
    torch.testing.assert_close(together, alone, atol=0, rtol=0)


def test_errors_of_one_reference_cancel_and_those_of_two_add_up() -> None:
    generator = np.random.default_rng(0)
    shared, own = generator.normal(size=128), 0.1 * generator.normal(size=(2, 128))
    ours, theirs = ({"similarity_influence": shared + one} for one in own)
    assert reference_error_of_difference(ours, theirs, "similarity", same_reference=True) == pytest.approx(
        (own[0] - own[1]).std(ddof=1) / math.sqrt(128)
    )
    assert reference_error_of_difference(ours, theirs, "similarity", same_reference=False) == pytest.approx(
        math.sqrt(sum(one["similarity_influence"].var(ddof=1) for one in (ours, theirs)) / 128)
    )
    assert reference_error_of_difference(ours, {}, "similarity", same_reference=True) is None


def test_runs_that_are_compared_have_the_error_of_what_their_references_do_not_share(tmp_path: Path) -> None:
    def run(out: str, reference: Tensor, **more) -> float:
        arguments = {"reference": reference, "out": tmp_path / out, "device": "cpu", **more}
        found = measure(_backbone(), _MEASURED.images, ["h_flip"], _settings(), **arguments).only
        return found.transforms["h_flip"].similarity.reference_error

    def difference(out: str) -> float:
        found = json.loads((tmp_path / out / "comparison.json").read_text())
        return found["transforms"]["h_flip"]["similarity"]["reference_error"]

    first = run("first", _REFERENCE.images)
    run("same", _REFERENCE.images, against=tmp_path / "first")
    other = run("other", _pixels(80, seed=5), against=tmp_path / "first")
    assert difference("same") == pytest.approx(0, abs=1e-12)
    assert difference("other") == pytest.approx(math.hypot(first, other))
