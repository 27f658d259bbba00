from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, LayerFeatures, Provenance
from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.images import ImageFiles, ImageSource, TensorImages, identify
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.errors import UserError
from solo_invariance.measure import (
    Geometry,
    InvarianceMeasurement,
    InvarianceSimilarity,
    Measured,
    MeasureSettings,
    PartialResultFiles,
    PartialResults,
    Transform,
    ViewMetric,
)
from solo_invariance.measure.measurement import METRICS
from solo_invariance.measure.metrics.parameter_readout import ParameterReadout
from solo_invariance.measure.transforms.transform import centre_crop
from solo_invariance.plugins import load_plugin
from solo_invariance.processes import Processes


class _Network(nn.Module):
    """A network whose features can be computed by hand. Counts the views that it is given."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.function = function
        self.views = 0

    def forward(self, images: Tensor) -> Tensor:
        self.views += len(images)
        return self.function(images) + self.anchor


def _backbone(function: Callable[[Tensor], Tensor], crop_size: int = 8) -> Backbone:
    spec = InputSpec(crop_size, (0.0,) * 3, (1.0,) * 3)
    backbone = Backbone(_Network(function), Architecture("by-hand"), spec, Provenance("by-hand"))
    backbone.network.views = 0
    return backbone


def _colour_means(images: Tensor) -> Tensor:
    return images.mean(dim=(2, 3))


def _columns(images: Tensor) -> Tensor:
    return images[:, 0].mean(dim=1)[:, :4]


def _pixels(images: Tensor) -> Tensor:
    return images.flatten(1)


def _noise(count: int, size: int = 8, brightest: int = 255) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, brightest + 1, (count, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.fixture
def images() -> TensorImages:
    return TensorImages(_noise(60), name="noise")


def _settings(**changes) -> MeasureSettings:
    return MeasureSettings(**{"geometry": Geometry(8, 8), "num_images": 40, "k": 4, "batch_size": 16, **changes})


def _load(kind: str, names: Sequence[str]) -> dict:
    return {name: load_plugin(kind, name) for name in names}


class _Counted(TensorImages):
    """Images that count how often each of them was read."""

    def __init__(self, images: Tensor) -> None:
        super().__init__(images)
        self.read: Counter[int] = Counter()

    def __getitem__(self, index: int) -> Tensor:
        self.read[index] += 1
        return super().__getitem__(index)


class _Broken(TensorImages):
    """Images some of which cannot be read."""

    def __init__(self, images: Tensor, broken: Sequence[int]) -> None:
        super().__init__(images, name="noise")
        self.broken = {*broken}

    def __getitem__(self, index: int) -> Tensor | Unreadable:  # type: ignore[override]
        if index in self.broken:
            return Unreadable(Path(f"noise {index}"), f"noise {index}: not a readable image")
        return super().__getitem__(index)


# In one pass

_SOME = ("rotation", "translation", "resized_crop", "h_flip", "deform", "hue", "posterize", "contrast", "equalize")


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_transforms_measured_together_give_what_each_gives_alone(images, budget: str) -> None:
    source = TensorImages(_noise(60, 10))
    settings = _settings(geometry=Geometry(10, 8), k=16, budget=budget, target_se=0.1, num_images=20, batch_size=64)
    measurement = InvarianceMeasurement(_backbone(_columns), source, settings)
    together = measurement.measure(_load("transforms", _SOME), source)[""]
    for name in _SOME:
        alone = measurement.measure_transform(name, load_plugin("transforms", name), source)
        assert {*alone.arrays} == {*together[name].arrays}
        for key, array in alone.arrays.items():
            if array.dtype.kind == "f":
                np.testing.assert_allclose(together[name].arrays[key], array, rtol=1e-4, atol=1e-4, err_msg=name)
            else:
                np.testing.assert_array_equal(together[name].arrays[key], array)


@pytest.mark.parametrize("gallery", [0, 30])
def test_an_image_is_read_once_and_its_clean_features_computed_once_for_all_transforms(gallery: int) -> None:
    source, backbone = _Counted(_noise(60)), _backbone(_columns)
    measurement = InvarianceMeasurement(backbone, source, _settings(gallery=gallery))
    assert (backbone.network.views, max(source.read.values())) == (60, 1)
    backbone.network.views = 0
    source.read.clear()
    metrics = {**METRICS, **(_load("metrics", ["recall_at_1", "mrr"]) if gallery else {})}
    measurement.measure(_load("transforms", ["hue", "h_flip", "posterize"]), source, metrics)
    assert backbone.network.views == gallery + 40 + 40 * (4 + 2 + 7)
    assert source.read.total() == gallery + 40
    chosen = measurement.choose_images(source)
    assert all(source.read[index] >= 1 for index in chosen)


def test_the_adaptive_budget_makes_no_views_of_the_identity_and_none_twice() -> None:
    source, backbone = _Counted(_noise(60)), _backbone(_columns)
    settings = _settings(budget="adaptive", target_se=1e-9, num_images=20)
    measurement = InvarianceMeasurement(backbone, source, settings)
    backbone.network.views = 0
    source.read.clear()
    measured = measurement.measure(_load("transforms", ["h_flip", "posterize"]), source)[""]
    # Of few parameters, each image shows all: one of h_flip's two is the identity.
    assert backbone.network.views == 20 + 20 * (1 + 7)
    assert set(source.read.values()) == {1}
    assert [measured[name].summary["num_views"] for name in ("h_flip", "posterize")] == [20, 140]
    assert measured["h_flip"].arrays["indices"].tolist() == [[1, 0]] * 20


# Against a loop over images and parameters


def _by_hand(measurement: InvarianceMeasurement, transform: Transform, source: ImageSource) -> dict[str, np.ndarray]:
    """Similarity and distance (N, K) of each image by itself, whitened by an inverse in NumPy."""
    settings, backbone = measurement.settings, measurement.backbone
    grid = transform.grid(settings.k, settings.geometry, settings.protocol)
    similarity, distance = [], []
    covariance = measurement.moments[""].covariance.numpy()
    inverse = np.linalg.inv(0.999 * covariance + 0.001 * np.diag(covariance.diagonal()))
    inverse *= 1 - 0.999 * np.trace(inverse @ covariance) / (measurement.moments[""].num_images - 1)
    mean = measurement.moments[""].mean.numpy()
    for index in measurement.choose_images(source):
        image = source[index].float()[None] / 255
        with torch.inference_mode():
            clean = backbone(centre_crop(image, settings.geometry)).double().numpy() - mean
            views = [backbone(transform.apply(image, row[None], settings.geometry)).double().numpy() for row in grid]
        views = np.concatenate(views) - mean
        inner, own = views @ inverse @ clean[0], (views @ inverse * views).sum(axis=1)
        similarity.append(inner / np.sqrt(own * (clean @ inverse @ clean.T)[0, 0]))
        distance.append(np.sqrt(((views - clean) @ inverse * (views - clean)).sum(axis=1)))
    return {"similarity": np.stack(similarity), "distance": np.stack(distance)}


@pytest.mark.parametrize("name", ["invert", "translation", "contrast", "rotation"])
def test_the_pixels_themselves_as_features_against_numpy(name: str) -> None:
    source, transform = TensorImages(_noise(200, 6)), load_plugin("transforms", name)
    settings = _settings(geometry=Geometry(6, 4), num_images=30, k=9)
    measurement = InvarianceMeasurement(_backbone(_pixels, 4), source, settings)
    measurement = InvarianceMeasurement(measurement.backbone, measurement.moments, settings)  # as of other images
    measured = measurement.measure_transform(name, transform, source)
    for metric, expected in _by_hand(measurement, transform, source).items():
        np.testing.assert_allclose(measured.arrays[metric], expected, atol=2e-5 * max(1, expected.max()))
        without = [k for k in range(expected.shape[1]) if k != measured.summary["identity"]]
        assert measured.summary[metric]["mean"] == pytest.approx(expected[:, without].mean(), rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(measured.summary[metric]["curve"], expected.mean(axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_size", [3, 64])
@pytest.mark.parametrize("name", ["rotation", "brightness", "resized_crop"])
def test_images_of_unequal_sizes_each_get_their_own_scores_in_order(photo_folder, name: str, batch_size: int) -> None:
    source, transform = ImageFiles(photo_folder / "val", 16), load_plugin("transforms", name)
    assert len({tuple(source[index].shape) for index in range(len(source))}) > 3
    settings = _settings(geometry=Geometry(16, 14), num_images=20, k=16, batch_size=batch_size)
    measurement = InvarianceMeasurement(_backbone(_colour_means, 14), source, settings)
    measurement = InvarianceMeasurement(measurement.backbone, measurement.moments, settings)  # as of other images
    measured = measurement.measure_transform(name, transform, source)
    for metric, expected in _by_hand(measurement, transform, source).items():
        np.testing.assert_allclose(measured.arrays[metric], expected, rtol=2e-3, atol=2e-3)
    assert measured.arrays["names"].tolist() == [identify(source, i) for i in measurement.choose_images(source)]


@pytest.mark.parametrize(("protocol", "in_bytes"), [("paper", True), ("clean", False)])
def test_the_papers_views_are_images_of_eight_bits(images, protocol: str, in_bytes: bool) -> None:
    rounded = []

    def watched(views: Tensor) -> Tensor:
        levels = views.mul(255)
        rounded.append(torch.allclose(levels, levels.round(), atol=1e-3))
        return _columns(views)

    names = ("brightness", "saturation", "hue", "sharpness", "deform")
    measurement = InvarianceMeasurement(_backbone(watched), images, _settings(protocol=protocol, k=16))
    for name, transform in _load("transforms", names).items():
        rounded.clear()
        measurement.measure_transform(name, transform, images)
        assert all(rounded) == in_bytes


@pytest.mark.parametrize("protocol", ["paper", "clean"])
@pytest.mark.parametrize("shape", [(20, 30), (45, 30), (6, 9)])
def test_the_paper_transforms_images_as_loaded_and_the_clean_protocol_resized_ones(shape, protocol: str) -> None:
    generator = torch.Generator().manual_seed(0)
    source = TensorImages(torch.randint(0, 256, (40, 3, *shape), dtype=torch.uint8, generator=generator))
    settings = _settings(protocol=protocol, geometry=Geometry(10, 8), k=16, num_images=6)
    seen: list[Tensor] = []

    def watched(views: Tensor) -> Tensor:
        seen.append(views.clone())
        return _columns(views)

    measurement = InvarianceMeasurement(_backbone(watched), source, settings)
    seen.clear()
    transform = load_plugin("transforms", "translation")
    measurement.measure_transform("translation", transform, source)
    grid = transform.grid(16, Geometry(10, 8), protocol)
    expected = []
    for index in measurement.choose_images(source):
        image = Image.fromarray(source[index].permute(1, 2, 0).numpy())
        for x, y, shear in grid.tolist():
            before = image if protocol == "paper" else F.resize(image, 10)
            view = F.resize(F.affine(before, 0.0, [x, y], 1.0, shear), 10)
            expected.append(F.to_tensor(F.center_crop(view, 8)))
    views = torch.cat(seen)
    assert len(views) == 6 + len(expected)
    by_value = views[6:] - torch.stack(expected)
    assert by_value.abs().max() < 1e-4


@pytest.mark.parametrize(("protocol", "paired"), [("paper", False), ("clean", True)])
def test_deformations_repeat_whatever_the_batch_and_are_drawn_anew_for_every_image_of_the_paper(
    protocol: str, paired: bool
) -> None:
    pixels = _noise(60, 10)
    pixels[1::2] = pixels[::2]  # each picture is there twice
    source = TensorImages(pixels)
    views = []
    for batch_size in (5, 64):
        settings = _settings(protocol=protocol, geometry=Geometry(10, 8), k=8, num_images=20, batch_size=batch_size)
        measurement = InvarianceMeasurement(_backbone(_columns), source, settings)
        views.append(measurement.measure_transform("deform", load_plugin("transforms", "deform"), source).arrays)
        pictures = [index // 2 for index in measurement.choose_images(source)]
    np.testing.assert_allclose(views[0]["similarity"], views[1]["similarity"], atol=1e-5)
    pairs = [(a, b) for a in range(20) for b in range(a) if pictures[a] == pictures[b]]
    assert pairs
    for a, b in pairs:
        assert np.allclose(views[0]["similarity"][a], views[0]["similarity"][b], atol=1e-5) == paired


def test_the_paper_draws_images_twice_and_counts_each_draw(images) -> None:
    measurement = InvarianceMeasurement(_backbone(_columns), images, _settings(protocol="paper", num_images=200))
    chosen = measurement.choose_images(images)
    assert len(chosen) == 200 > len(set(chosen))
    arrays = measurement.measure_transform("h_flip", load_plugin("transforms", "h_flip"), images).arrays
    assert arrays["names"].tolist() == [f"noise {index}" for index in chosen]
    assert arrays["similarity_per_image"].shape == (200, 1)
    first = [chosen.index(index) for index in chosen]
    np.testing.assert_allclose(arrays["similarity"], arrays["similarity"][first], atol=1e-6)


def test_two_layers_in_one_pass_give_what_each_gives_alone(tiny_backbone, photo_folder) -> None:
    def measured(layers: str | list[str]) -> dict[str, dict[str, Measured]]:
        network = LayerFeatures(tiny_backbone.network, layers)
        backbone = Backbone(network, tiny_backbone.architecture, tiny_backbone.input_spec, tiny_backbone.provenance)
        source = ImageFiles(photo_folder, 36)
        settings = _settings(geometry=Geometry(36, 32), num_images=8)
        measurement = InvarianceMeasurement(backbone, source, settings)
        return measurement.measure(_load("transforms", ["rotation", "hue"]), source)

    both = measured(["layer2", "layer3"])
    assert list(both) == ["layer2", "layer3"]
    for layer, results in both.items():
        for name, alone in measured(layer)[""].items():
            for key, array in alone.arrays.items():
                if array.dtype.kind == "f":
                    np.testing.assert_allclose(results[name].arrays[key], array, rtol=1e-3, atol=1e-3)


# Backbones whose answers are known


def test_a_backbone_that_sees_colours_only_is_invariant_to_mirrors_by_every_metric(images) -> None:
    metrics = _load("metrics", ["similarity", "distance", "chance_corrected_similarity", "recall_at_1", "mrr"])
    measurement = InvarianceMeasurement(_backbone(_colour_means), images, _settings(gallery=60))
    measured = measurement.measure(_load("transforms", ["h_flip", "v_flip", "invert"]), images, metrics)[""]
    for name in ("h_flip", "v_flip"):
        for metric in ("similarity", "chance_corrected_similarity", "recall_at_1", "mrr"):
            assert measured[name].summary[metric]["mean"] == pytest.approx(1, abs=1e-4)
        assert measured[name].summary["distance"]["mean"] == pytest.approx(0, abs=1e-2)
    # The negative of an image looks to such a backbone as another image would, or less alike.
    assert measured["invert"].summary["chance_corrected_similarity"]["mean"] < -0.5
    assert measured["invert"].summary["recall_at_1"]["mean"] < 0.1


def test_a_view_is_never_compared_with_its_own_image_in_the_gallery(images) -> None:
    """With the clean features as views, the image itself would be a tie; another image's rank is not its own."""
    chance = _load("metrics", ["similarity", "chance_corrected_similarity"])
    measurement = InvarianceMeasurement(_backbone(_columns), images, _settings(gallery=60, num_images=60))
    arrays = measurement.measure(_load("transforms", ["h_flip"]), images, chance)[""]["h_flip"].arrays
    features = _columns(images.images.float() / 255).double().numpy()
    whitened = (features - features.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(features.T))).T
    unit = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    expected = ((unit @ unit.T).sum(axis=1) - 1) / 59
    chosen = measurement.choose_images(images)
    np.testing.assert_allclose(arrays["chance_corrected_similarity"][:, 0, 1], expected[chosen], atol=1e-4)


class _FirstRows(ParameterReadout):
    max_rows = 24


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_a_backbone_that_sees_brightness_is_equivariant_to_it_and_one_that_sees_ratios_is_not(budget: str) -> None:
    source = TensorImages(_noise(80, 16, brightest=51))  # five times as bright is still not white

    def measured(function: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        settings = _settings(geometry=Geometry(16, 16), num_images=80, k=12, budget=budget, target_se=0.01)
        measurement = InvarianceMeasurement(_backbone(function, 16), source, settings)
        metrics = {"similarity": InvarianceSimilarity, "parameter_readout": ParameterReadout}
        return measurement.measure(_load("transforms", ["brightness"]), source, metrics)[""]["brightness"].summary

    def ratios(images: Tensor) -> Tensor:
        return _colour_means(images)[:, :2] / _colour_means(images)[:, 2:]

    seen, unseen = measured(_colour_means), measured(ratios)
    assert seen["parameter_readout"]["mean"] > 0.98
    assert "curve" not in seen["parameter_readout"]
    assert unseen["similarity"]["mean"] > 0.999
    assert unseen["parameter_readout"]["mean"] < 0.05


@pytest.mark.parametrize("batch_size", [5, 64])
def test_a_metric_with_a_large_state_is_given_the_first_images_only(images, batch_size: int) -> None:
    settings = _settings(k=6, batch_size=batch_size)
    moments = InvarianceMeasurement(_backbone(_columns), images, settings).moments
    measurement = InvarianceMeasurement(_backbone(_columns), moments, settings)
    metrics = {"similarity": InvarianceSimilarity, "parameter_readout": _FirstRows}
    measured = measurement.measure(_load("transforms", ["rotation"]), images, metrics)[""]["rotation"]
    assert measured.arrays["similarity_per_image"].shape == (40, 1)
    assert measured.arrays["parameter_readout_per_image"].shape == (24, 2)

    transform, chosen = load_plugin("transforms", "rotation"), measurement.choose_images(images)[:24]
    grid = transform.grid(6, Geometry(8, 8), "clean")
    pixels = torch.stack([images[index] for index in chosen]).float() / 255
    views = transform.apply(pixels.repeat_interleave(6, dim=0), grid.repeat(24, 1), Geometry(8, 8))
    metric = ParameterReadout()
    metric.update(
        measurement.whiten(_columns(pixels))[""],
        measurement.whiten(_columns(views))[""].unflatten(0, (24, 6)),
        transform.coordinates(grid).expand(24, 6, 2),
        torch.tensor(chosen),
    )
    assert measured.summary["parameter_readout"]["mean"] == pytest.approx(float(metric.compute()), abs=1e-4)


# Adaptive, with scores that are known


@dataclass(frozen=True)
class _Numbered(Transform):
    """A transform that does nothing; its parameters are numbers, of which 0 may count as the identity."""

    kind = "appearance"
    unit = "number"
    has_identity: bool = False

    @property
    def neutral(self) -> tuple[float, ...] | None:
        return (0.0,) if self.has_identity else None

    def grid(self, k: int, geometry: Geometry, protocol: str) -> Tensor:
        return torch.arange(k, dtype=torch.float32)[:, None]

    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        return centre_crop(images, geometry)


def _planted(scores: Tensor) -> type[ViewMetric]:
    """A metric that scores image i at parameter p with ``scores[i, p]``."""

    class Planted(ViewMetric):
        def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
            assert coordinates is not None
            assert images is not None
            return scores[images[:, None], coordinates[..., 0].long()]

    return Planted


def _scores(images: int, k: int, of_images: float, of_both: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return of_images * torch.randn(images, 1, generator=generator) + of_both * torch.randn(
        images, k, generator=generator
    )


def _measured(scores: Tensor, source: ImageSource, transform: Transform = _Numbered(), **changes: object) -> Measured:
    settings = _settings(
        **{"num_images": None, "k": scores.shape[1], "batch_size": 256, "budget": "adaptive", **changes}
    )
    measurement = InvarianceMeasurement(_backbone(_colour_means), TensorImages(_noise(20)), settings)
    metrics = {"similarity": _planted(scores)}
    return measurement.measure({"numbered": transform}, source, metrics)[""]["numbered"]


@pytest.mark.parametrize("seed", range(3))
def test_adaptive_stops_at_the_target_with_the_full_value_in_its_interval(seed: int) -> None:
    scores, source = _scores(1500, 200, 0.2, 0.2), TensorImages(_noise(1500))
    summary = _measured(scores, source, target_se=0.012, seed=seed).summary
    assert summary["target_reached"]
    assert summary["similarity"]["standard_error"] == pytest.approx(0.012, rel=0.15)
    # Of 1500 images the interval is wider by what it would be of all images there are.
    low, high = summary["similarity"]["ci95"]
    half = (high - low) / 2
    assert low - half <= float(scores.mean()) <= high + half
    assert summary["num_views"] == 4 * summary["num_images"]
    assert summary["num_views"] < 200 * (0.2 / 0.012) ** 2 / 10
    np.testing.assert_allclose(np.mean(summary["similarity"]["curve"]), float(scores.mean()), atol=0.1)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize("k", [21, 101])
def test_adaptive_gives_the_identity_the_share_that_the_full_grid_gives_it(k: int, protocol: str) -> None:
    """The identity scores far above all others, which score the higher the further on the grid they are."""
    scores, source = _scores(400, k, 0.05, 0.1), TensorImages(_noise(400))
    scores += torch.linspace(-0.3, 0.3, k) ** 2
    scores[:, 0] = 2.0
    expected = float(scores.mean() if protocol == "paper" else scores[:, 1:].mean())
    transform = _Numbered(has_identity=True)
    summary = _measured(scores, source, transform, target_se=0.005, protocol=protocol).summary["similarity"]
    low, high = summary["ci95"]
    assert low <= expected <= high
    assert high - low < 0.025  # a seventeenth of the identity's 2 would be far outside
    if protocol == "clean":
        full = _measured(scores, source, transform, budget="full", num_images=400).summary["similarity"]
        assert full["mean"] == pytest.approx(expected, abs=1e-6)


def test_adaptive_and_full_agree_on_rotations(images) -> None:
    """Of noise, which is like itself at 0 degrees and at no other."""
    found = {}
    for budget in ("full", "adaptive"):
        settings = _settings(k=60, num_images=60, budget=budget, target_se=0.02, batch_size=256)
        measurement = InvarianceMeasurement(_backbone(_columns), images, settings)
        measured = measurement.measure_transform("rotation", load_plugin("transforms", "rotation"), images)
        found[budget] = measured.summary["similarity"]
    # The images are the same, so that but for the parameters that each was seen with they would be equal.
    assert found["adaptive"]["mean"] == pytest.approx(found["full"]["mean"], abs=0.02)


def test_adaptive_scores_are_those_of_the_full_grid_at_the_indices_that_it_says() -> None:
    scores, source = _scores(300, 40, 0.2, 0.2), TensorImages(_noise(300))
    adaptive = _measured(scores, source, target_se=0.02)
    full = _measured(scores, source, budget="full", num_images=300)
    places = {name: row for row, name in enumerate(full.arrays["names"].tolist())}
    names, items, indices = (adaptive.arrays[key] for key in ("names", "items", "indices"))
    rows = [places[names[item]] for item in items]
    np.testing.assert_array_equal(
        adaptive.arrays["similarity"], full.arrays["similarity"][rows][np.arange(len(rows))[:, None], indices]
    )


@pytest.mark.parametrize("count", [144, 150])
def test_further_visits_show_an_image_other_parameters(count: int) -> None:
    """144 is a Fibonacci number: after so many rows, the golden-ratio sequence is nearly where it was."""
    scores, source = _scores(count, 256, 0.01, 0.4), TensorImages(_noise(count))
    measured = _measured(scores, source, target_se=0.01)
    assert measured.summary["target_reached"]
    assert measured.summary["num_views"] < 4 * count * 5
    arrays = measured.arrays
    shown = [len(np.unique(arrays["indices"][arrays["items"] == item])) for item in range(count)]
    assert np.mean(shown) > 0.9 * measured.summary["num_views"] / count
    assert measured.summary["num_images"] == count
    assert len(arrays["similarity_per_image"]) == count


def test_adaptive_gives_up_where_more_parameters_would_not_help() -> None:
    scores, source = _scores(130, 256, 0.4, 0.01), TensorImages(_noise(130))
    summary = _measured(scores, source, target_se=0.001).summary
    assert summary["target_reached"] is False
    assert summary["num_views"] == 2 * 130 * 4


def test_the_worst_block_decides_when_it_is_enough(images) -> None:
    """Columns vary under a flip and colours do not: side by side, both are measured until the columns are known."""
    source = TensorImages(_noise(400))

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.colours, self.columns = _Network(_colour_means), _Network(_columns)

        def forward(self, images: Tensor) -> Tensor:
            return self.colours(images) + self.columns(images)[:, :3]

    network = LayerFeatures(Two(), ["colours", "columns"])
    spec = InputSpec(8, (0.0,) * 3, (1.0,) * 3)
    backbone = Backbone(network, Architecture("by-hand"), spec, Provenance("by-hand"))
    settings = _settings(budget="adaptive", target_se=0.03, num_images=None)
    measured = InvarianceMeasurement(backbone, source, settings).measure(_load("transforms", ["h_flip"]), source)
    columns, colours = measured["columns"]["h_flip"].summary, measured["colours"]["h_flip"].summary
    assert 128 < columns["num_images"] == colours["num_images"] < 400
    assert columns["similarity"]["standard_error"] == pytest.approx(0.03, rel=0.2)
    assert columns["target_reached"]
    assert colours["target_reached"]


# Images that cannot be read, and features that are not finite

_SKIP = ReadingPolicy(on_error="skip", max_unreadable=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_every_parameter_is_measured_where_some_images_cannot_be(seed: int) -> None:
    scores = _scores(300, 1000, 0.01, 0.01)
    source = _Broken(_noise(300), [3, 77, 150])
    summary = _measured(scores, source, target_se=0.5, reading=_SKIP, seed=seed).summary
    assert len(summary["unreadable"]) > 0
    assert np.isfinite(summary["similarity"]["curve"]).all()


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_images_that_cannot_be_read_are_left_out_and_named(budget: str) -> None:
    broken = [5, 11]
    source, whole = _Broken(_noise(60), broken), TensorImages(_noise(60), name="noise")
    settings = _settings(reading=_SKIP, num_images=60, budget=budget, target_se=0.001)
    results = []
    for data in (source, whole):
        measurement = InvarianceMeasurement(_backbone(_columns), whole, settings)
        results.append(measurement.measure(_load("transforms", ["hue", "h_flip"]), data)[""])
    for name in ("hue", "h_flip"):
        found, complete = results[0][name], results[1][name]
        assert found.summary["unreadable"] == ["noise 11", "noise 5"]
        assert complete.summary["unreadable"] == []
        assert found.summary["num_images"] == 58
        kept = [place for place, image in enumerate(complete.arrays["names"]) if image not in ("noise 5", "noise 11")]
        np.testing.assert_array_equal(found.arrays["names"], complete.arrays["names"][kept])
        for metric in ("similarity_per_image", "distance_per_image"):
            np.testing.assert_allclose(found.arrays[metric], complete.arrays[metric][kept], atol=1e-5)


def test_nothing_left_to_measure_is_an_error() -> None:
    source = _Broken(_noise(20), range(20))
    reading = ReadingPolicy(on_error="skip", max_unreadable=1)
    measurement = InvarianceMeasurement(_backbone(_columns), TensorImages(_noise(20)), _settings(reading=reading))
    with pytest.raises(UserError, match="hue: none of the images could be read"):
        measurement.measure(_load("transforms", ["hue"]), source)


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_a_view_whose_features_are_not_finite_names_its_image(budget: str) -> None:
    def overflow(views: Tensor) -> Tensor:
        bright = views.mean(dim=(1, 2, 3)) > 0.45
        return torch.where(bright[:, None], torch.inf, _colour_means(views))

    pixels = _noise(60, brightest=20)
    pixels[33] = 30  # five times that is 0.59
    source = TensorImages(pixels, name="noise")
    settings = _settings(num_images=60, k=8, budget=budget)
    measurement = InvarianceMeasurement(_backbone(overflow), source, settings)
    with pytest.raises(UserError, match=r"^noise 33: the backbone's features are not finite"):
        measurement.measure(_load("transforms", ["h_flip", "brightness"]), source)


# Kept parts, and several processes


class _Stopped(Exception):
    pass


class _StoppedAfter(PartialResultFiles):
    """Parts that are kept until the work stops, as a process does that is killed."""

    def __init__(self, directory: Path, count: int) -> None:
        super().__init__(directory)
        self.left = count

    def _keep(self, arrays: Mapping[str, np.ndarray]) -> None:
        if self.left == 0:
            raise _Stopped
        self.left -= 1
        super()._keep(arrays)


def _same(found: Mapping[str, Measured], expected: Mapping[str, Measured]) -> None:
    assert {*found} == {*expected}
    for name, one in expected.items():
        assert found[name].summary == one.summary
        for key, array in one.arrays.items():
            np.testing.assert_array_equal(found[name].arrays[key], array)


@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_work_that_was_stopped_again_and_again_ends_at_the_same_numbers(tmp_path: Path, budget: str) -> None:
    source, transforms = TensorImages(_noise(240)), _load("transforms", ["saturation", "h_flip", "translation"])
    settings = _settings(k=36, num_images=240, budget=budget, target_se=0.03, batch_size=256)
    backbone = _backbone(_columns)
    measurement = InvarianceMeasurement(backbone, source, settings)
    backbone.network.views = 0
    whole = measurement.measure(transforms, source)[""]
    needed, backbone.network.views = backbone.network.views, 0
    stops = 0
    while True:
        try:
            parts = _StoppedAfter(tmp_path / "parts", 1 + stops)
            found = measurement.measure(transforms, source, parts=parts)[""]
            break
        except _Stopped:
            stops += 1
    assert stops > 0
    # Each time, what was lost is the unit that was not kept.
    assert backbone.network.views < 2 * needed
    _same(found, whole)


@pytest.mark.parametrize(("budget", "count"), [("full", 2), ("full", 3), ("adaptive", 2)])
def test_several_processes_share_the_work_and_have_the_same_numbers(
    in_threads, tmp_path: Path, count: int, budget: str
) -> None:
    source, transforms = TensorImages(_noise(240)), _load("transforms", ["saturation", "h_flip", "translation"])
    settings = _settings(k=36, num_images=240, budget=budget, target_se=0.03, batch_size=256)
    alone_backbone = _backbone(_columns)
    alone = InvarianceMeasurement(alone_backbone, source, settings)
    alone_backbone.network.views = 0
    expected = alone.measure(transforms, source)[""]

    backbones = [_backbone(_columns) for _ in range(count)]

    def work(processes: Processes) -> Mapping[str, Measured]:
        measurement = InvarianceMeasurement(
            backbones[processes.rank], source, settings, processes=processes, known=alone.moments
        )
        return measurement.measure(transforms, source, parts=PartialResultFiles(tmp_path))[""]

    for found in in_threads(count, work):
        _same(found, expected)
    views = [backbone.network.views for backbone in backbones]
    assert sum(views) == alone_backbone.network.views
    assert min(views[:2]) > 0.7 * max(views)


def test_parts_in_memory_are_for_one_measurement(images) -> None:
    measurement, parts = InvarianceMeasurement(_backbone(_columns), images, _settings()), PartialResults()
    first = measurement.measure(_load("transforms", ["hue"]), images, parts=parts)[""]
    measurement.backbone.network.views = 0
    _same(measurement.measure(_load("transforms", ["hue"]), images, parts=parts)[""], first)
    assert measurement.backbone.network.views == 0
