import pytest

from solo_invariance.results import Estimate


@pytest.mark.parametrize(("ends", "expected"), [((0.6, 0.9), True), ((0.61, 0.9), False), ((0.0, 0.4), True)])
def test_intervals_overlap_where_they_share_a_point(ends: tuple[float, float], expected: bool) -> None:
    ours, theirs = Estimate(mean=0.5, ci95=(0.4, 0.6)), Estimate(mean=0.7, ci95=ends)
    assert ours.overlaps(theirs) is theirs.overlaps(ours) is expected


def test_only_what_is_known_is_written() -> None:
    assert Estimate(mean=0.5, ci95=(0.4, 0.6)).as_content() == {"mean": 0.5, "ci95": [0.4, 0.6]}
    known = Estimate(mean=1, ci95=(0, 2), standard_error=0.5, curve=(0, 2)).as_content()
    assert known == {"mean": 1, "ci95": [0, 2], "standard_error": 0.5, "curve": [0, 2]}


@pytest.mark.parametrize(("mean", "ends"), [(float("nan"), (0, 1)), (0.5, (0, float("inf"))), (0.5, (1, 0))])
def test_what_is_no_estimate_is_refused(mean: float, ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="1 validation error for Estimate"):
        Estimate(mean=mean, ci95=ends)
