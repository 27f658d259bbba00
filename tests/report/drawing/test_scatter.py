"""Fifteen backbones, three families of five seeds: those of one family are together."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from solo_invariance.report import build_report
from solo_invariance.report.association import clouds
from solo_invariance.report.collect import collect_results
from solo_invariance.report.drawing.scatter import draw, said_of
from tests.report.tree import Document

Make = Callable[..., Any]
FAMILIES = {"default": (0.5, 0.7), "ventral": (0.8, 0.3), "dorsal": (0.2, 0.8)}


@pytest.fixture
def fifteen(tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make) -> Path:
    """Each family has its own invariance and score, about which its seeds vary."""
    draws = np.random.default_rng(0)
    for family, (invariance, score) in FAMILIES.items():
        for seed in range(5):
            x, y = (float(one) for one in np.array([invariance, score]) + draws.normal(0, 0.03, 2))
            write_invariance(f"{family}/{seed}", family, transforms={"rotation": make_transform(x)})
            write_transfer(f"{family}/{seed}", family, "shape", y)
    return tmp_path


def test_seeds_of_a_family_are_one_group_of_one_look(fifteen: Path) -> None:
    (cloud,) = clouds(collect_results([fifteen]))
    assert {group: cloud.groups.count(group) for group in cloud.groups} == dict.fromkeys(FAMILIES, 5)
    root = draw(cloud, "figure")
    looks: dict[str, set[str]] = {}
    for one in root.iter("path"):
        looks.setdefault(next(one.iter("title")).text.split(" (")[0], set()).add(one.attrib["class"])
    assert {family: len(of) for family, of in looks.items()} == dict.fromkeys(FAMILIES, 1)
    assert len(set.union(*looks.values())) == 3


def test_a_cross_is_at_each_mean_and_reaches_as_far_as_the_standard_deviations(fifteen: Path) -> None:
    (cloud,) = clouds(collect_results([fifteen]))
    root = draw(cloud, "figure")
    crosses = [one for one in root.iter("line") if one.attrib["class"].startswith("spread")]
    assert len(crosses) == 2 * len(FAMILIES)
    # The axes' scales, from their numbers.
    texts = [one for one in root.iter("text") if re.fullmatch(r"[\d.]+", one.text)]
    ups = [(float(one.attrib["y"]) - 3.5, float(one.text)) for one in texts if one.attrib["text-anchor"] == "end"]
    acrosses = [(float(one.attrib["x"]), float(one.text)) for one in texts if one.attrib["text-anchor"] == "middle"]
    for index, family in enumerate(dict.fromkeys(cloud.groups)):
        for line, values, ticks, ends in (
            (crosses[2 * index], cloud.x, acrosses, ("x1", "x2")),
            (crosses[2 * index + 1], cloud.y, ups, ("y1", "y2")),
        ):
            own = [one for group, one in zip(cloud.groups, values, strict=True) if group == family]
            slope, start = np.polyfit(*zip(*ticks, strict=True), 1)
            drawn = [slope * float(line.attrib[end]) + start for end in ends]
            expected = np.mean(own) + np.array([-1, 1]) * np.std(own, ddof=1)
            assert drawn == pytest.approx(list(expected), abs=0.002)


def test_the_correlation_is_said_with_its_interval_among_other_families(fifteen: Path) -> None:
    (cloud,) = clouds(collect_results([fifteen]))
    rho = stats.spearmanr(cloud.x, cloud.y).statistic
    said = said_of(cloud.correlation)
    assert said.startswith(f"Spearman's rho = {rho:.2f} [".replace("-", "\N{MINUS SIGN}"))
    assert said.endswith("15 backbones of 3")
    page = Document(build_report([fifteen], fifteen / "report.html").read_text(encoding="utf-8")).root
    (association,) = page.find("section", id="association")
    assert said in association.text
    legend = next(association.find("ul"))
    assert [one.text.strip() for one in legend.find("li")] == list(dict.fromkeys(cloud.groups))


def test_backbones_that_are_no_seeds_are_dots(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    for index in range(6):
        write_invariance(f"{index}", f"b{index}", transforms={"rotation": make_transform(index / 10)})
        write_transfer(f"{index}", f"b{index}", "shape", index / 10)
    (cloud,) = clouds(collect_results([tmp_path]))
    assert [one.attrib["class"] for one in draw(cloud, "figure").iter("path")] == ["dots"] * 6
