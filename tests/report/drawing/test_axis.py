import pytest

from solo_invariance.report.drawing.axis import Axis, round_domain, tick_text, ticks


@pytest.mark.parametrize(
    ("low", "high", "num_steps", "unit", "expected"),
    [
        (0.0, 358.6, 5, "degrees", [0, 90, 180, 270]),
        (-0.5, 0.5, 4, "turns", [-0.5, -0.25, 0, 0.25, 0.5]),
        (0.25, 5.0, 5, "factor", [1, 2, 3, 4, 5]),
        (1.0, 7.0, 5, "bits", [2, 4, 6]),
        (-0.1, 1.0, 4, "", [0, 0.5, 1]),
        (0.0, 0.3, 5, "degrees", [0, 0.1, 0.2, 0.3]),
    ],
)
def test_ticks_are_round(low: float, high: float, num_steps: int, unit: str, expected: list[float]) -> None:
    assert ticks(low, high, num_steps, unit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.16, 0.9], (0.0, 1.0)),
        ([0.22, 0.9], (0.2, 1.0)),
        ([-0.3, 0.4], (-0.4, 0.4)),
        ([4.8, 16.4], (2.5, 17.5)),
        ([0.5], (0.5, 0.6)),
        ([0.0], (0.0, 0.2)),
    ],
)
def test_a_domain_is_round_and_holds_all_values(values: list[float], expected: tuple[float, float]) -> None:
    low, high = round_domain(values)
    assert (low, high) == pytest.approx(expected)
    assert low <= min(values) <= max(values) <= high


def test_positions_are_linear_between_the_ends() -> None:
    axis = Axis(-1.0, 3.0, 100.0, 20.0)
    assert [axis.position(value) for value in (-1, 0, 3)] == [100.0, 80.0, 20.0]


def test_tick_texts_have_no_needless_zeros() -> None:
    assert [tick_text(value) for value in (0.0, -0.0, 0.30000000000000004, -2.0, 90.0)] == [
        "0",
        "0",
        "0.3",
        "\N{MINUS SIGN}2",
        "90",
    ]
