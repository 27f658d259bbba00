from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import collect_results
from solo_invariance.report.drawing.curves import curve_figures
from solo_invariance.report.headline import headline
from solo_invariance.report.page import render_page

Make = Callable[..., Any]


@pytest.fixture
def write(tmp_path: Path, write_invariance: Make, make_transform: Make) -> Make:
    def written(label: str, width: int, similarity: float, matched: float, **changes: Any) -> Path:
        transform = make_transform(similarity)
        transform["width_matched_similarity"] = make_transform(matched)["similarity"]
        backbone = {"name": "resnet18", "num_features": width, "checkpoint": None, "sha256": None}
        write_invariance(label, label, transforms={"rotation": transform}, backbone=backbone, **changes)
        return tmp_path

    return written


def test_the_headline_of_different_widths_is_width_matched(write: Make) -> None:
    write("narrow", 64, 0.6, 0.5, matched_width=64)
    results = collect_results([write("wide", 512, 0.4, 0.7, matched_width=64)])
    (sentence,) = ("".join(parts) for parts in headline(results))
    assert sentence.startswith("wide is the most invariant to spatial changes (mean width-matched similarity 0.70")
    expected = (
        "Backbones of 64 and 512 features: similarity and distance depend on the width, width-matched similarity "
    )
    assert f"{expected}does not." in caveats(results)
    page = render_page(results, Path())
    assert "projected at random to 64 dimensions" in page
    assert 'id="metric-1"> Similarity<' in page  # at full width
    (figure,) = curve_figures(results)
    # The fixture draws a line from 1 down to 2 m - 1, with m the mean: 0.5 and 0.7 where they are matched.
    assert [line.summary.split(", ")[1] for line in figure.lines] == ["lowest 0.00 at 180", "lowest 0.40 at 180"]


def test_of_one_width_the_plain_similarity_is_the_papers(write: Make) -> None:
    write("first", 512, 0.6, 0.5, matched_width=64)
    results = collect_results([write("second", 512, 0.4, 0.7, matched_width=64)])
    (sentence,) = ("".join(parts) for parts in headline(results))
    assert sentence.startswith("first is the most invariant to spatial changes (mean similarity 0.60")
    assert not any("width" in caveat for caveat in caveats(results))


@pytest.mark.parametrize(
    "widths", [({"matched_width": 64}, {"matched_width": 32}), ({}, {}), ({}, {"matched_width": 64})]
)
def test_without_matched_numbers_of_all_a_caution_says_how_to_have_them(write: Make, widths: tuple[dict, dict]) -> None:
    write("narrow", 48, 0.6, 0.5, **widths[0])
    results = collect_results([write("wide", 512, 0.4, 0.7, **widths[1])])
    (sentence,) = ("".join(parts) for parts in headline(results))
    assert "(mean similarity 0.60" in sentence
    expected = (
        "Backbones of 48 and 512 features: similarity and distance depend on the width, and there is no width-matched "
        "similarity of all: measure each with matched_width=48."
    )
    assert expected in caveats(results)
