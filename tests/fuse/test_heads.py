import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from solo_invariance.fuse import Projected, Standardized, Weighted


def _features(seed: int = 0, count: int = 40, widths: tuple[int, ...] = (3, 12)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, w, generator=generator) * (10.0**m) + 5 * m for m, w in enumerate(widths)]


def test_no_width_decides_how_much_a_member_says() -> None:
    features = _features()
    fused = Standardized([3, 12]).fit(features)(features)
    first, second = (part.var(dim=0).sum().item() for part in fused.split([3, 12], dim=1))
    assert first == pytest.approx(second, rel=1e-5)
    assert first + second == pytest.approx(15, rel=1e-5)
    torch.testing.assert_close(fused.mean(0), torch.zeros(15), atol=1e-5, rtol=0)


def test_with_equal_widths_it_is_the_z_score() -> None:
    features = _features(widths=(5, 5))
    fused = Standardized([5, 5]).fit(features)(features)
    together = torch.cat(features, dim=1).double()
    expected = (together - together.mean(0)) / together.std(0)
    torch.testing.assert_close(fused.double(), expected, atol=1e-4, rtol=1e-4)


def test_what_is_fitted_is_of_the_reference_images_alone() -> None:
    reference, others = _features(0), _features(1, count=7)
    head = Standardized([3, 12]).fit(reference)
    one_by_one = torch.cat([head([member[i : i + 1] for member in others]) for i in range(7)])
    assert torch.equal(head(others), one_by_one)


def test_a_constant_feature_becomes_zero_and_breaks_nothing() -> None:
    features = _features()
    features[0][:, 1] = 7.3
    head = Standardized([3, 12]).fit(features)
    features[0][:, 1] = 9.0
    fused = head(features)
    assert fused.isfinite().all()
    assert (fused[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("offset", "jitter"),
    [
        (1000.0, 1e-4),  # the last bit of such numbers
        (0.0, 1e-7),  # of a member whose other features vary by one
    ],
)
def test_a_feature_that_varies_by_rounding_alone_becomes_zero_and_does_not_count(offset: float, jitter: float) -> None:
    features = _features(widths=(5, 5))
    without = [features[0][:, [0, 2, 3, 4]], features[1]]
    expected = Standardized([4, 5]).fit(without)(without)
    features[0][:, 1] = offset + jitter * torch.randn(40, generator=torch.Generator().manual_seed(7))
    assert features[0][:, 1].std() > 0
    fused = Standardized([5, 5]).fit(features)(features)
    assert (fused[:, 1] == 0).all()
    torch.testing.assert_close(fused[:, [0, *range(2, 10)]], expected, rtol=1e-4, atol=1e-4)


def test_weights_scale_the_members_and_are_open_until_they_are_chosen() -> None:
    features = _features()
    plain = Standardized([3, 12]).fit(features)(features)
    weighted = Weighted([3, 12], weights=[2.0, 0.5]).fit(features)(features)
    torch.testing.assert_close(weighted[:, :3], 2 * plain[:, :3])
    torch.testing.assert_close(weighted[:, 3:], plain[:, 3:] / 2)
    assert Weighted([3, 12]).open_widths == [3, 12]
    assert Weighted([3, 12], weights=[2.0, 0.5]).open_widths is None


def test_projecting_is_pca_with_whitening_of_what_is_standardised() -> None:
    features = _features(count=200, widths=(6, 6))
    fused = Projected([6, 6], width=4).fit(features)(features)
    together = StandardScaler().fit_transform(torch.cat(features, dim=1).double().numpy())
    expected = PCA(4, whiten=True).fit_transform(together)
    for ours, theirs in zip(fused.double().T, torch.from_numpy(expected).T, strict=True):
        torch.testing.assert_close(ours, theirs * (ours @ theirs).sign(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(fused.T.cov(), torch.eye(4), atol=1e-4, rtol=0)


def test_the_sign_of_a_component_does_not_depend_on_how_it_was_found() -> None:
    features = _features(count=200)
    head = Projected([3, 12], width=3).fit(features)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    again = Projected([3, 12], width=3).fit([f[order] for f in features])
    torch.testing.assert_close(head.axes, again.axes, atol=1e-4, rtol=1e-3)
    scaled = Projected([3, 12], width=3).fit([features[0] * 3, features[1] * 0.1])
    torch.testing.assert_close(scaled([features[0] * 3, features[1] * 0.1]), head(features), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (None, "width is missing"),
        (0, "width=0, expected at least 1 and at most 15"),
        (16, "width=16, expected at least 1 and at most 15"),
    ],
)
def test_a_width_that_cannot_be_is_refused(width, message) -> None:
    with pytest.raises(ValueError, match=message):
        Projected([3, 12], width)


def test_too_few_reference_images_are_refused() -> None:
    with pytest.raises(ValueError, match="width=10: 8 reference images span 7 dimensions"):
        Projected([3, 12], 10).fit(_features(count=8))
    with pytest.raises(ValueError, match="1 reference images, expected at least 2"):
        Standardized([3, 12]).fit(_features(count=1))
    with pytest.raises(ValueError, match=r"features of widths \[3, 12\], expected \[4, 12\]"):
        Standardized([4, 12]).fit(_features())


def test_a_member_of_small_features_says_as_much_as_another() -> None:
    features = _features()
    features[0] *= 1e-7
    first, second = (
        p.var(dim=0).sum().item() for p in Standardized([3, 12]).fit(features)(features).split([3, 12], dim=1)
    )
    assert first == pytest.approx(second, rel=1e-4)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [-1.0, 1.0], [float("nan"), 1.0], [0.0, 0.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 2 finite numbers, of which none is negative and not all are 0"):
        Weighted([3, 12], weights=weights)


@pytest.mark.parametrize("count", [10, 100])
def test_projecting_is_the_same_with_more_images_than_features_and_with_fewer(count: int) -> None:
    features = _features(count=count, widths=(15, 15))
    fused = Projected([15, 15], 4).fit(features)(features)
    together = StandardScaler().fit_transform(torch.cat(features, dim=1).double().numpy())
    expected = torch.from_numpy(PCA(4, whiten=True, svd_solver="full").fit_transform(together))
    torch.testing.assert_close(fused.double().abs(), expected.abs(), atol=1e-3, rtol=1e-3)


def test_a_feature_that_hardly_varies_on_the_reference_does_not_drown_the_others_elsewhere() -> None:
    features = _features(count=100)
    features[1][:, 0] = 1e-3 * torch.randn(100, generator=torch.Generator().manual_seed(3))
    head = Standardized([3, 12]).fit(features)
    others = _features(1, count=100)
    fused = head(others)
    variances = fused.var(dim=0)
    assert variances[3] < 200 * variances[4:].mean()  # as it is divided by a tenth of what the others are divided by
    assert head.factor[3] < 20 * head.factor[4:].mean()


def test_the_largest_entry_of_each_component_is_positive() -> None:
    """A decomposition leaves the sign open, and machines would differ; scikit-learn does the same in ``svd_flip``."""
    features = _features()
    axes = Projected([3, 12], width=9).fit(features).axes / Standardized([3, 12]).fit(features).factor[:, None]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()
