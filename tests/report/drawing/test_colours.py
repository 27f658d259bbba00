from itertools import combinations

import numpy as np
import pytest

from solo_invariance.report.drawing.colours import (
    DARK,
    LIGHT,
    NUM_LEVELS,
    Theme,
    contrast,
    level,
    linear_rgb,
    oklab,
)

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])

# G. M. Machado et al., "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, table 1.
DICHROMACIES = {
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@THEMES
def test_the_ramp_has_equal_steps_in_oklab(theme: Theme) -> None:
    path = np.stack([oklab(linear_rgb(shade.background)) for shade in theme.ramp])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert len(theme.ramp) == NUM_LEVELS
    # Eight bits per channel and one corner at the middle anchor leave a little.
    assert steps == pytest.approx(np.full(NUM_LEVELS - 1, steps.mean()), rel=0.2)


@THEMES
def test_more_invariant_is_darker_and_stronger_on_either_page(theme: Theme) -> None:
    shades = [oklab(linear_rgb(shade.background)) for shade in theme.ramp]
    lightness = [shade[0] for shade in shades]
    assert lightness == sorted(lightness, reverse=True)
    chroma = [float(np.hypot(*shade[1:])) for shade in shades]
    assert chroma[-1] > 2.5 * chroma[0]


def test_the_ends_of_the_ramp_have_the_same_hue_on_both_pages() -> None:
    hues = [np.arctan2(*oklab(linear_rgb(theme.ramp[-1].background))[:0:-1]) for theme in (LIGHT, DARK)]
    assert abs(np.degrees(hues[0] - hues[1])) < 20


@THEMES
def test_numbers_on_cells_are_legible(theme: Theme) -> None:
    """WCAG 2.2, success criterion 1.4.3 (AA)."""
    assert min(contrast(shade.ink, shade.background) for shade in [*theme.ramp, *theme.signed_ramp]) >= 4.5


@THEMES
def test_text_is_legible_on_the_page(theme: Theme) -> None:
    for name in ("ink", "muted", "link", "caution"):
        assert contrast(theme.named[name], theme.paper) >= 4.5, name


@THEMES
def test_correlations_of_either_sign_differ_for_the_colour_blind(theme: Theme) -> None:
    for vision in DICHROMACIES.values():
        ends = [
            oklab((np.array(vision) @ linear_rgb(theme.signed_ramp[place].background)).clip(0, 1)) for place in (0, -1)
        ]
        assert float(np.linalg.norm(ends[0] - ends[1])) >= 0.1


@THEMES
def test_lines_stand_out_from_the_page(theme: Theme) -> None:
    assert min(contrast(line, theme.paper) for line in theme.lines) >= 3


@THEMES
@pytest.mark.parametrize("vision", DICHROMACIES)
def test_lines_differ_for_the_colour_blind(theme: Theme, vision: str) -> None:
    seen = [oklab((np.array(DICHROMACIES[vision]) @ linear_rgb(line)).clip(0, 1)) for line in theme.lines]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) >= 0.08


def test_contrast_of_black_on_white_is_the_largest() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == pytest.approx(1)


def test_levels_run_from_end_to_end_in_either_direction() -> None:
    assert [level(value, 0.0, 1.0) for value in (-1, 0, 0.5, 1, 2)] == [0, 0, 10, 20, 20]
    assert [level(value, 10.0, 2.0) for value in (10, 6, 2)] == [0, 10, 20]
