from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.errors import UserError
from solo_invariance.measure import (
    Geometry,
    Group,
    InvarianceMeasurement,
    MeasureSettings,
    ViewGroups,
    measure_groups,
)
from solo_invariance.measure.functional.whitening import hold_out
from solo_invariance.plugins import load_plugin


class _Network(nn.Module):
    """A network whose features can be computed by hand."""

    def __init__(self, function) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(images) + self.anchor


def _backbone(function, crop_size: int = 8) -> Backbone:
    spec = InputSpec(crop_size, (0.0,) * 3, (1.0,) * 3)
    return Backbone(_Network(function), Architecture("by-hand"), spec, Provenance("by-hand"))


def _colour_means(images: torch.Tensor) -> torch.Tensor:
    return images.mean(dim=(2, 3))


def _columns(images: torch.Tensor) -> torch.Tensor:
    return images[:, 0].mean(dim=1)[:, :4]


def _settings(**changes) -> MeasureSettings:
    return MeasureSettings(**{"geometry": Geometry(8, 8), "num_images": 40, "k": 4, "batch_size": 16, **changes})


@pytest.fixture
def images() -> TensorImages:
    pixels = torch.randint(0, 256, (60, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return TensorImages(pixels, name="noise")


def test_a_backbone_of_colour_means_is_invariant_to_mirrors_and_not_to_inversion(images) -> None:
    measurement = InvarianceMeasurement(_backbone(_colour_means), images, _settings())
    flip = measurement.measure_transform("h_flip", load_plugin("transforms", "h_flip"), images).summary
    assert flip["similarity"]["mean"] == pytest.approx(1, abs=1e-4)
    assert flip["distance"]["mean"] == pytest.approx(0, abs=1e-2)
    invert = measurement.measure_transform("invert", load_plugin("transforms", "invert"), images).summary
    # 1 - x has the mean 1 - mean(x): about the mean of the noise, nearly the opposite feature.
    assert invert["similarity"]["curve"][0] == pytest.approx(1, abs=1e-6)
    assert invert["similarity"]["mean"] < -0.8


def test_numbers_against_a_loop_in_numpy(images) -> None:
    measurement = InvarianceMeasurement(_backbone(_columns), images, _settings(protocol="paper", seed=3))
    measured = measurement.measure_transform("h_flip", load_plugin("transforms", "h_flip"), images)
    pixels = images.images.double().numpy() / 255
    features = pixels[:, 0].mean(axis=1)[:, :4]
    flipped = pixels[..., ::-1][:, 0].mean(axis=1)[:, :4]
    mean, inverse = features.mean(axis=0), np.linalg.inv(np.cov(features, rowvar=False))
    chosen = np.random.RandomState(0).choice(60, size=40)  # whatever the seed
    a, b = features[chosen] - mean, flipped[chosen] - mean
    cosine = ((a @ inverse) * b).sum(1) / np.sqrt(((a @ inverse) * a).sum(1) * ((b @ inverse) * b).sum(1))
    np.testing.assert_allclose(measured.arrays["similarity"][:, 1], cosine, atol=1e-4)
    np.testing.assert_allclose(measured.summary["similarity"]["mean"], (1 + cosine.mean()) / 2, atol=1e-4)
    np.testing.assert_allclose(measured.summary["similarity_without_identity"]["mean"], cosine.mean(), atol=1e-4)


def test_clean_leaves_the_identity_out_of_the_mean_and_never_draws_twice(images) -> None:
    measurement = InvarianceMeasurement(_backbone(_columns), images, _settings(num_images=1000))
    assert sorted(measurement.choose_images(images)) == list(range(60))
    summary = measurement.measure_transform("h_flip", load_plugin("transforms", "h_flip"), images).summary
    assert summary["similarity"]["mean"] == summary["similarity_without_identity"]["mean"]
    assert summary["similarity"]["mean"] == pytest.approx(summary["similarity"]["curve"][1])


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_numbers_do_not_depend_on_the_batch_size(images, batch_size: int, tiny_backbone) -> None:
    numbers = []
    for size in (32, batch_size):
        settings = MeasureSettings(geometry=Geometry(36, 32), num_images=6, k=4, batch_size=size)
        pixels = torch.nn.functional.interpolate(images.images.float(), 36).byte()
        source = TensorImages(pixels[:20])
        measurement = InvarianceMeasurement(tiny_backbone, source, settings)
        numbers.append(measurement.measure_transform("rotation", load_plugin("transforms", "rotation"), source).arrays)
    np.testing.assert_allclose(numbers[0]["similarity"], numbers[1]["similarity"], atol=2e-3)
    np.testing.assert_allclose(numbers[0]["distance"], numbers[1]["distance"], rtol=2e-3, atol=2e-3)


def test_interval_holds_the_mean_and_narrows_with_more_images(images) -> None:
    widths = []
    for count in (10, 60):
        measurement = InvarianceMeasurement(_backbone(_columns), images, _settings(num_images=count))
        summary: Mapping = measurement.measure_transform("h_flip", load_plugin("transforms", "h_flip"), images).summary
        low, high = summary["similarity"]["ci95"]
        assert low <= summary["similarity"]["mean"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_view_groups_of_one_thing_seen_twice_are_alike(images) -> None:
    measurement = InvarianceMeasurement(_backbone(_columns), images, _settings())

    def measured(pixels: torch.Tensor) -> Mapping:
        groups = [Group(f"thing {g}", tuple(range(3 * g, 3 * g + 3))) for g in range(5)]
        return measure_groups(measurement, "things", ViewGroups("spatial", TensorImages(pixels), groups))[""].summary

    summary = measured(images.images[:5].repeat_interleave(3, dim=0))
    assert summary["similarity"]["mean"] == pytest.approx(1)
    assert summary["distance"]["mean"] == pytest.approx(0, abs=1e-6)
    assert measured(images.images[:15])["similarity"]["mean"] < 0.5
    assert (summary["num_groups"], summary["num_views"], summary["kind"]) == (5, 3, "spatial")


def test_images_of_unequal_sizes_are_measured_each_at_its_own(photo_folder) -> None:
    source = ImageFiles(photo_folder / "val", 16)
    shapes = {tuple(source[index].shape) for index in range(len(source))}
    assert len(shapes) > 3
    measurement = InvarianceMeasurement(
        _backbone(_colour_means, 14), source, MeasureSettings(geometry=Geometry(16, 14), num_images=10, k=4)
    )
    measured = measurement.measure_transform("brightness", load_plugin("transforms", "brightness"), source)
    assert measured.arrays["similarity"].shape == (10, 4)


def test_paper_protocol_refuses_too_few_reference_images(images) -> None:
    few = TensorImages(images.images[:3])
    with pytest.raises(UserError, match="more than 4 images are needed"):
        InvarianceMeasurement(_backbone(_columns), few, _settings(protocol="paper"))
    assert InvarianceMeasurement(_backbone(_columns), few, _settings()).whitenings[""].shrinkage > 0


def test_an_unreadable_image_is_named(tmp_path, photo_folder) -> None:
    for index, path in enumerate(sorted((photo_folder / "val").rglob("*.jpg"))[:4]):
        (tmp_path / f"{index}.jpg").write_bytes(path.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.jpg: not a readable image"):
        InvarianceMeasurement(_backbone(_colour_means), ImageFiles(tmp_path, 8), _settings())


def test_a_feature_that_is_not_finite_names_its_image(images) -> None:
    def overflow(batch: torch.Tensor) -> torch.Tensor:
        return torch.where(batch.mean(dim=(1, 2, 3), keepdim=True)[:, :, 0, 0] > 0.9, torch.nan, _colour_means(batch))

    pixels = images.images.clone()
    pixels[17] = 255
    with pytest.raises(UserError, match="noise 17: the backbone's features are not finite"):
        InvarianceMeasurement(_backbone(overflow), TensorImages(pixels, name="noise"), _settings())


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_features_that_are_the_same_for_all_images_are_refused(images, protocol) -> None:
    def constant(batch: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 2.0, 3.0]) + 1e-8 * _colour_means(batch)

    with pytest.raises(UserError, match=r"the backbone: all 3 features are the same for all .* images"):
        InvarianceMeasurement(_backbone(constant), images, _settings(protocol=protocol))


def test_a_reference_that_repeats_pictures_is_said_to_where_its_covariance_is_singular(images) -> None:
    repeated = TensorImages(images.images[:3].repeat(20, 1, 1, 1), name="noise")
    with pytest.raises(UserError, match="reference: 60 images repeat 3 pictures, and more than 3 are needed for 3 fea"):
        InvarianceMeasurement(_backbone(_colour_means), repeated, _settings(protocol="paper"))


class _Broken(TensorImages):
    """Images some of which cannot be read."""

    def __init__(self, images: torch.Tensor, broken: Sequence[int]) -> None:
        super().__init__(images, name="noise")
        self.broken = {*broken}

    def __getitem__(self, index: int) -> torch.Tensor | Unreadable:  # type: ignore[override]
        if index in self.broken:
            return Unreadable(Path(f"noise {index}"), f"noise {index}: not a readable image")
        return super().__getitem__(index)


def _skip(share: float) -> ReadingPolicy:
    return ReadingPolicy(on_error="skip", max_unreadable=share)


def test_reference_statistics_are_those_of_all_images_in_numpy(images) -> None:
    moments = InvarianceMeasurement(_backbone(_columns), images, _settings()).moments[""]
    features = images.images.double().numpy()[:, 0].mean(axis=1)[:, :4] / 255
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(moments.covariance, np.cov(features.T), rtol=1e-5)
    assert moments.num_images == 60


def test_reference_images_that_cannot_be_read_are_left_out_and_listed(images) -> None:
    broken, left = [3, 50], [index for index in range(60) if index not in (3, 50)]
    measurement = InvarianceMeasurement(
        _backbone(_columns), _Broken(images.images, broken), _settings(reading=_skip(0.05))
    )
    assert measurement.unreadable == ["noise 3", "noise 50"]
    expected = InvarianceMeasurement(_backbone(_columns), TensorImages(images.images[left]), _settings()).moments[""]
    moments = measurement.moments[""]
    assert moments.num_images == 58
    torch.testing.assert_close(moments.mean, expected.mean)
    torch.testing.assert_close(moments.covariance, expected.covariance)


@pytest.mark.parametrize(
    ("broken", "reading", "message"),
    [
        ([3], ReadingPolicy(), r"^noise 3: not a readable image; on_error=skip leaves such images out$"),
        (
            [3, 50],
            _skip(0.03),
            r"^2 of 60 images cannot be read, more than max_unreadable=0\.03 of them: noise 3, noise 50$",
        ),
        (range(59), _skip(1), "^reference: 1 images can be read, at least 2 are needed"),
        (range(60), _skip(1), "^reference: 0 images can be read, at least 2 are needed"),
    ],
)
def test_a_reference_that_cannot_be_done_without(images, broken, reading, message: str) -> None:
    with pytest.raises(UserError, match=message):
        InvarianceMeasurement(_backbone(_columns), _Broken(images.images, broken), _settings(reading=reading))


@pytest.mark.parametrize("protocol", ["paper", "clean"])
@pytest.mark.parametrize("budget", ["full", "adaptive"])
def test_the_choice_of_images_depends_on_the_seed_alone(images, protocol, budget) -> None:
    def choice(**changes) -> list[int]:
        settings = _settings(protocol=protocol, budget=budget, **changes)
        return InvarianceMeasurement(_backbone(_columns), images, settings).choose_images(images)

    drawn_twice = (protocol, budget) == ("paper", "full")
    assert choice() == choice(batch_size=3, k=9)
    assert (choice() == choice(seed=1)) is drawn_twice
    assert len(choice(num_images=10)) == 10
    assert len(choice(num_images=500)) == (500 if drawn_twice else 60)
    assert len(choice(num_images=None)) == (1000 if drawn_twice else 60)


def test_the_papers_images_are_those_of_the_official_code_and_numpys_global_state_is_left_alone(images) -> None:
    settings = _settings(protocol="paper", seed=3, num_images=1000)
    before = np.random.get_state()[1:3]  # noqa: NPY002
    chosen = InvarianceMeasurement(_backbone(_columns), images, settings).choose_images(images)
    after = np.random.get_state()[1:3]  # noqa: NPY002
    assert (before[0].tolist(), before[1]) == (after[0].tolist(), after[1])
    assert chosen == np.random.RandomState(0).choice(np.arange(60), 1000).tolist()


def test_a_gallery_holds_other_images_whitened_and_their_indices(images) -> None:
    measurement = InvarianceMeasurement(_backbone(_columns), images, _settings(gallery=25))
    gallery = measurement.gallery(images)[""]
    assert len(gallery.images.unique()) == 25
    features = images.images[gallery.images].float().div(255)[:, 0].mean(dim=1)[:, :4]
    own = measurement.whiten(features)[""][:, None]
    whitening = measurement.whitenings[""]
    expected = hold_out(own, own, whitening)[:, 0] * whitening.length()  # as the images that it is compared with
    torch.testing.assert_close(gallery.features, expected, rtol=1e-5, atol=1e-5)
    again = measurement.gallery(images)[""]
    assert torch.equal(gallery.images, again.images)
    assert len(InvarianceMeasurement(_backbone(_columns), images, _settings()).gallery(images)[""].images) == 60


@pytest.mark.parametrize(("gallery", "broken"), [(1, []), (60, range(59)), (60, range(60))])
def test_a_gallery_of_one_image_has_nothing_to_compare_it_with(images, gallery: int, broken) -> None:
    settings = _settings(gallery=gallery, reading=_skip(1))
    measurement = InvarianceMeasurement(_backbone(_columns), images, settings)
    with pytest.raises(UserError, match=r"gallery: [01] images to compare with, at least 2 are needed"):
        measurement.gallery(_Broken(images.images, broken))


def test_moments_that_were_kept_measure_as_the_images_did(images) -> None:
    first = InvarianceMeasurement(_backbone(_columns), images, _settings())
    again = InvarianceMeasurement(_backbone(_columns), images, _settings(), known=first.moments)
    h_flip = load_plugin("transforms", "h_flip")
    assert again.unreadable == []
    assert (
        again.measure_transform("h_flip", h_flip, images).summary
        == first.measure_transform("h_flip", h_flip, images).summary
    )


def test_whitened_features_of_blocks_are_those_of_their_columns(images) -> None:
    backbone = _backbone(_columns)
    backbone.layers = {"left": 1, "right": 3}
    measurement = InvarianceMeasurement(backbone, images, _settings())
    features = images.images.float().div(255)[:, 0].mean(dim=1)[:, :4]
    for name, part in zip(("left", "right"), features.split([1, 3], dim=1), strict=True):
        whitened = measurement.whiten(features)[name]
        assert whitened.shape == part.shape
        torch.testing.assert_close(
            whitened.mean(dim=0), torch.zeros(part.shape[1], dtype=torch.float64), atol=1e-4, rtol=0
        )
        covariance = torch.cov(whitened.T).reshape(part.shape[1], part.shape[1])
        torch.testing.assert_close(covariance, torch.eye(part.shape[1], dtype=torch.float64), atol=2e-3, rtol=0)


def test_pictures_that_repeat_in_the_reference_count_once(images) -> None:
    twice = TensorImages(torch.cat([images.images, images.images[:20]]))
    found = InvarianceMeasurement(_backbone(_columns), twice, _settings())
    once = InvarianceMeasurement(_backbone(_columns), images, _settings())
    assert (found.num_files, found.moments[""].num_images) == (80, 60)
    torch.testing.assert_close(found.moments[""].covariance, once.moments[""].covariance)
    paper = InvarianceMeasurement(_backbone(_columns), twice, _settings(protocol="paper"))
    assert paper.moments[""].num_images == 80


def test_an_image_of_the_reference_is_measured_without_it(images) -> None:
    h_flip, settings = load_plugin("transforms", "h_flip"), _settings(matched_width=2)
    metrics = {name: load_plugin("metrics", name) for name in ("similarity", "distance", "width_matched_similarity")}
    whole = InvarianceMeasurement(_backbone(_columns), images, settings)
    found = whole.measure_transform("h_flip", h_flip, images, metrics)
    names = found.arrays["names"].tolist()
    for index in (int(names[0].split()[-1]), int(names[9].split()[-1])):
        others = TensorImages(images.images[[place for place in range(60) if place != index]])
        alone = InvarianceMeasurement(_backbone(_columns), others, settings)
        expected = alone.measure_transform("h_flip", h_flip, images, metrics)
        for metric in metrics:
            row = names.index(f"noise {index}"), expected.arrays["names"].tolist().index(f"noise {index}")
            np.testing.assert_allclose(found.arrays[metric][row[0]], expected.arrays[metric][row[1]], atol=1e-4)
