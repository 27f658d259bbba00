"""The health of features in measurements: errors, pairing, results, tables and the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.errors import UserError
from solo_invariance.measure import MeasureSettings, ResizeCrop, feature_statistics, health_of, measure, results_so_far
from solo_invariance.measure.functional import alpha_req, rankme
from solo_invariance.measure.health import (
    HEALTH,
    cautions_of_health,
    estimate_by_blocks,
    health_differences,
    measure_health,
    read_health,
)
from solo_invariance.measure.metrics import AlphaReQ, FeatureMetric, RankMe
from solo_invariance.measure.statistics.feature_statistics import Moments
from solo_invariance.report import build_report, collect_results
from solo_invariance.report.health import health_grid
from solo_invariance.report.tables import all_tables, as_csv
from solo_invariance.results import InvarianceResult

_SETTINGS = MeasureSettings(k=3, num_images=12, geometry=ResizeCrop.of_crop(16))
_PIXELS = torch.randint(0, 256, (80, 3, 20, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _network(width: int = 24, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, width), nn.Tanh())


def _draw(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * torch.arange(1.0, width + 1) ** -1


def _moments(features: Tensor) -> Moments:
    return feature_statistics(features)._replace(sample=features[:1024])


@pytest.mark.parametrize("name", HEALTH)
@pytest.mark.parametrize("count", [48, 200])
def test_the_standard_error_is_how_much_numbers_of_other_images_vary(name: str, count: int) -> None:
    found = [measure_health(HEALTH[name], _moments(_draw(count, 24, seed))).estimate for seed in range(150)]
    spread = np.std([one.mean for one in found], ddof=1)
    said = np.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert 0.85 < said / spread < 1.8
    expected = np.mean([one.mean for one in found])
    assert np.mean([one.low <= expected <= one.high for one in found]) > 0.9


def test_a_part_of_the_images_says_the_error_of_all() -> None:
    features = _draw(4000, 16, 0)
    whole = feature_statistics(features)
    few, all_of_them = (
        measure_health(RankMe(1), whole._replace(sample=some)).estimate.standard_error
        for some in (features[:1024], features)
    )
    assert 0.5 < few / all_of_them < 2  # the standard deviations of 16 blocks


def test_what_a_block_leaves_are_the_moments_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Moments] = []

    class Spy(RankMe):
        def value(self, moments: Moments) -> Tensor:
            seen.append(moments)
            return super().value(moments)

    features = _draw(64, 6, 0) + 3
    measure_health(Spy(1), _moments(features))
    assert len(seen) == 17
    for block, found in enumerate(seen[1:]):
        others = torch.cat([features[: 4 * block], features[4 * block + 4 :]])
        torch.testing.assert_close(tuple(found[:3]), tuple(feature_statistics(others)[:3]), rtol=1e-9, atol=1e-9)


def test_what_is_left_of_two_images_says_no_error() -> None:
    features = _draw(3, 4, 0)
    assert measure_health(RankMe(1), _moments(features)).estimate.standard_error > 0
    with pytest.raises(ValueError, match="two at least are left"):
        measure_health(RankMe(1), _moments(features[:2]))
    with pytest.raises(ValueError, match="two at least are left"):
        measure_health(RankMe(1), feature_statistics(features))  # of which no single image is known


def test_an_interval_of_few_blocks_is_students() -> None:
    low, high = estimate_by_blocks(1.0, 0.1, 16)[2:4]
    assert (low, high) == pytest.approx((1 - 0.2131449, 1 + 0.2131449))  # t of 15 degrees of freedom, from tables


def test_monitors_have_the_numbers_alone_and_none_that_says_nothing() -> None:
    features = _draw(100, 40, 0)
    expected = {"rankme": rankme(features).item(), "alpha_req": alpha_req(features).item()}
    assert health_of(feature_statistics(features)) == pytest.approx(expected, rel=1e-6)
    assert list(health_of(feature_statistics(_draw(100, 8, 0)))) == ["rankme"]
    assert list(health_of(feature_statistics(torch.ones(100, 40)))) == ["rankme"]
    features[3, 5] = torch.inf
    with pytest.raises(ValueError, match="expected features that are finite numbers"):
        health_of(feature_statistics(features))


def test_cautions_are_of_few_images_for_the_features() -> None:
    assert cautions_of_health(640, 64) == []
    (few,) = cautions_of_health(639, 64)
    assert "639 images are few for 64 features" in few
    assert "or with 640" in few
    assert "at most" not in few
    assert "and is 63 at most" in cautions_of_health(63, 64)[0]


def _measured(out: Path | None = None, **changes: Any) -> InvarianceResult:
    arguments: dict[str, Any] = {"transforms": ["h_flip"], "metrics": {"rankme": RankMe, "alpha_req": AlphaReQ}}
    arguments |= {"device": "cpu", "out": out, "settings": _SETTINGS} | changes
    return measure(arguments.pop("network", _network()), _PIXELS, **arguments)[""]


def test_a_result_has_the_health_of_the_features_of_its_reference_images() -> None:
    found = _measured()
    assert list(found.health) == ["rankme", "alpha_req"]
    assert found.reference is not None
    assert found.reference.num_images == len(_PIXELS)
    assert list(found.transforms["h_flip"].metrics)[:1] == ["similarity"]
    assert "rankme" not in found.transforms["h_flip"].metrics
    assert any(one.startswith("health: 80 images are few for 24 features") for one in found.cautions)


def test_it_is_the_functional_twin_on_the_features_of_clean_crops() -> None:
    network = _network()
    pixels = torch.randint(0, 256, (60, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    settings = MeasureSettings(geometry=ResizeCrop(16, 16))
    backbone = Backbone.of(network, 16)
    found = measure(backbone, pixels, [], settings, views=[], metrics={"rankme": RankMe}, device="cpu").only
    features = backbone(pixels.float() / 255).detach()
    assert found.health["rankme"].mean == pytest.approx(rankme(features).item(), rel=1e-4)
    assert not found.transforms


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_change_no_digit_that_counts(batch_size: int) -> None:
    one = _measured().health
    other = _measured(settings=MeasureSettings(k=3, num_images=12, geometry=_SETTINGS.geometry, batch_size=batch_size))
    for name, estimate in one.items():
        assert other.health[name].mean == pytest.approx(estimate.mean, rel=1e-5)
        assert other.health[name].ci95 == pytest.approx(estimate.ci95, rel=1e-3)


def test_without_being_asked_there_is_none(tmp_path: Path) -> None:
    assert _measured(tmp_path / "plain", metrics=["similarity"]).health == {}
    content = json.loads((tmp_path / "plain" / "invariance.json").read_text())
    assert "health" not in content
    assert not (tmp_path / "plain" / "parts" / "health.npz").exists()


def test_a_run_that_goes_on_takes_it_up_and_names_a_file_that_is_broken(tmp_path: Path) -> None:
    first = _measured(tmp_path / "o")
    path = tmp_path / "o" / "parts" / "health.npz"
    assert read_health(path)["rankme"].estimate.mean == first.health["rankme"].mean
    assert _measured(tmp_path / "o").health == first.health
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"health\.npz: .*; remove it, and it is computed again"):
        _measured(tmp_path / "o")
    path.unlink()
    assert _measured(tmp_path / "o").health == first.health


def test_differences_are_paired_where_the_images_are_the_same(tmp_path: Path) -> None:
    for seed in (0, 1):
        _measured(tmp_path / str(seed), network=_network(seed=seed))
    paths = tmp_path / "0", tmp_path / "1"
    own, other = (read_health(path / "parts" / "health.npz")["rankme"].estimate for path in paths)
    paired = health_differences(*paths, same_reference=True)["rankme"]
    alone = health_differences(*paths, same_reference=False)["rankme"]
    assert paired.mean == alone.mean == own.mean - other.mean
    assert alone.standard_error == pytest.approx(np.hypot(own.standard_error, other.standard_error))
    assert paired.standard_error < alone.standard_error
    itself = health_differences(paths[0], paths[0], same_reference=True)["rankme"]
    assert (itself.mean, itself.standard_error) == (0, 0)
    assert health_differences(paths[0], tmp_path, same_reference=True) == {}


def test_a_twin_and_another_run_are_compared(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"metrics": {"rankme": RankMe}, "settings": _SETTINGS, "device": "cpu"}
    backbone = load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=16)
    results = measure(backbone, _PIXELS, [], views=[], twin=True, out=tmp_path / "a", **arguments)
    (twin,) = results.comparisons
    assert twin.health["rankme"].mean == pytest.approx(
        results[""].health["rankme"].mean - results["untrained"].health["rankme"].mean
    )
    other = measure(_network(seed=3), _PIXELS, [], views=[], out=tmp_path / "b", against=tmp_path / "a", **arguments)
    assert list(other.comparisons[0].health) == ["rankme"]
    with pytest.raises(UserError, match="no transform and no view set in common"):
        measure(
            _network(), _PIXELS, [], views=[], out=tmp_path / "c", against=tmp_path / "a",
            **arguments | {"metrics": {"alpha_req": AlphaReQ}},
        )  # fmt: skip


def test_what_too_few_features_say_nothing_of_is_left_out_with_a_caution() -> None:
    found = _measured(network=_network(8))
    assert list(found.health) == ["rankme"]
    assert "alpha_req: 8 features of 80 images vary in too few directions to say it." in found.cautions


def test_a_metric_of_ones_own_is_measured_and_known_by_its_options(tmp_path: Path) -> None:
    class Spread(FeatureMetric):
        def __init__(self, num_features: int, power: float = 1.0, **kwargs: Any) -> None:
            super().__init__(num_features, **kwargs)
            self.power = power

        def value(self, moments: Moments) -> Tensor:
            return moments.covariance.trace() ** self.power

    one = _measured(tmp_path / "o", metrics={"spread": Spread})
    other = _measured(metrics={"spread": Spread(5, power=2.0)})
    assert other.health["spread"].mean == pytest.approx(one.health["spread"].mean ** 2)
    with pytest.raises(UserError, match=r"holds results of another run \(own\.metrics\.spread"):
        _measured(tmp_path / "o", metrics={"spread": Spread(5, power=2.0)})


def test_the_page_and_its_tables_have_a_section_of_health(tmp_path: Path) -> None:
    found = _measured(tmp_path / "a")
    _measured(tmp_path / "b", metrics=["similarity"], network=_network(seed=2))
    page = build_report([tmp_path / "a", tmp_path / "b"], tmp_path / "page.html").read_text()
    assert "Label-free health" in page
    assert f"{found.health['rankme'].mean:.2f}" in page[page.index('id="health"') :]
    results = collect_results([tmp_path / "a", tmp_path / "b"])
    assert len(health_grid(results).rows) == 1
    (table,) = (one for one in all_tables(results) if one.name == "health")
    assert f"{found.health['alpha_req'].mean:.6g}"[:5] in as_csv(table)
    only = build_report([tmp_path / "b"], tmp_path / "other.html").read_text()
    assert "Label-free health" not in only


def test_what_is_kept_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _measured(tmp_path / "a", network=_network(8))
    (tmp_path / "a" / "invariance.json").unlink()
    seen: list[Path] = []
    monkeypatch.setattr(results_so_far, "read_health", lambda path: [seen.append(path), read_health(path)][1])
    assert list(_measured(tmp_path / "a", network=_network(8)).health) == ["rankme"]
    assert len(seen) == 1


def test_features_alone_are_whitened_by_nothing() -> None:
    """And so neither metrics of changes are announced nor what few images do to these."""
    said: list[Any] = []
    alone = _measured(network=_network(64), transforms=[], views=[], announce=said.append)
    both = _measured(network=_network(64), announce=said.append)
    assert [ahead.metrics for ahead in said] == [
        ("rankme", "alpha_req"),
        ("similarity", "width_matched_similarity", "distance", "rankme", "alpha_req"),
    ]
    assert [caution.split(":")[0] for caution in alone.cautions] == ["health"]
    assert any("80 reference images are few" in caution for caution in both.cautions)


def test_features_alone_make_a_page(tmp_path: Path) -> None:
    _measured(tmp_path / "a", transforms=[], views=[])
    page = build_report([tmp_path / "a"], tmp_path / "page.html").read_text()
    assert "Label-free health" in page


def test_neither_transforms_nor_views_nor_features_is_nothing() -> None:
    with pytest.raises(UserError, match="nothing to measure"):
        _measured(transforms=[], views=[], metrics=["similarity"])
