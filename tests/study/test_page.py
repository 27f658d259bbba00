import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from solo_invariance.results.study import StudyResult
from solo_invariance.study.page import render_study, write_study_page
from tests.report.tree import Document, Element
from tests.study.made_up import ARMS, TASKS, made_up_study, members

SINGLE = [arm for arm, one in ARMS.items() if one["role"] in ("trained", "wide", "untrained")]
DOT = re.compile(r"(?P<arm>.+), seeds? (?P<seeds>[\d, ]+): (?P<numbers>.+)")


@pytest.fixture(scope="module")
def study() -> StudyResult:
    return made_up_study()


@pytest.fixture(scope="module")
def root(study: StudyResult) -> Element:
    return Document(render_study(study)).root


def figures(root: Element, heading: str) -> list[Element]:
    """The figures below a heading, up to the next one."""
    found, is_below = [], False
    for one in root.find():
        if one.tag in ("h2", "h4"):
            is_below = one.text == heading
        if is_below and one.tag == "figure":
            found.append(one)
    return found


def dots(figure: Element) -> dict[tuple[str, tuple[int, ...]], tuple[float, ...]]:
    """The numbers of each dot, as they are said when it is pointed at."""
    said = [DOT.fullmatch(title.text) for path in figure.find("path") for title in path.find("title")]
    return {
        (one["arm"], tuple(map(int, one["seeds"].split(", ")))): tuple(map(as_number, one["numbers"].split(", ")))
        for one in said
        if one
    }


def as_number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def values(study: StudyResult, arms: Sequence[str], quantity: str) -> dict[tuple[str, tuple[int, ...]], float]:
    """What study.json has of a quantity, or the mean of a kind of them."""
    found: dict[tuple[str, tuple[int, ...]], list[float]] = {}
    for arm in arms:
        for name in members(quantity):
            for one in study.numbers[arm][name]:
                found.setdefault((arm, one.seeds), []).append(one.value)
    return {key: sum(of) / len(of) for key, of in found.items()}


def test_it_needs_nothing_but_itself(study: StudyResult) -> None:
    page = render_study(study)
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page


def test_ids_are_unique_and_links_lead_to_them(root: Element) -> None:
    idents = [one.attributes["id"] for one in root.find() if "id" in one.attributes]
    assert len(idents) == len(set(idents))
    assert {link.attributes["href"] for link in root.find("a")} <= {f"#{ident}" for ident in idents}
    named = [one.attributes["aria-labelledby"].split() for one in root.find() if "aria-labelledby" in one.attributes]
    assert {ident for one in named for ident in one} <= set(idents)


def test_the_top_says_what_was_run_and_what_came_out(study: StudyResult, root: Element) -> None:
    (lede,) = root.find("p", **{"class": "lede"})
    assert lede.text.strip() == "Of 11 claims, 9 hold, 1 does not hold and 1 is undecided, by 5 seeds."
    facts = dict(zip((one.text for one in root.find("dt")), (one.text for one in root.find("dd")), strict=True))
    assert facts["seeds"] == "0, 1, 2, 3, 4"
    assert facts["wide"] == "default x3 (1536-d)"
    assert facts["hours"] == "3.5 of one process (pretrain 2.75, measure 0.25, transfer 0.50)"
    assert "torch 2.4.0" in facts["versions"]
    assert "a processor" in facts["machine"]


def test_every_claim_has_its_verdict_and_numbers_in_the_table(study: StudyResult, root: Element) -> None:
    (table,) = (one for one in root.find("table") if "The verdict on each claim" in one.text)
    rows = [row for body in table.find("tbody") for row in body.find("tr") if "finding" not in row.classes]
    assert len(rows) == len(study.claims)
    for row, claim in zip(rows, study.claims, strict=True):
        (badge,) = row.find("span", **{"class": f"verdict {claim.verdict.replace(' ', '-')}"})
        assert badge.text.split(" ", 1)[1].strip() == claim.verdict
        assert next(row.find("a")).text == claim.says
        (effect,) = row.find("td", **{"class": "effect"})
        numbers = [as_number(one.replace("+", "")) for one in re.findall(r"[+\N{MINUS SIGN}][\d.]+", effect.text)]
        assert claim.ci95
        assert claim.images_ci95
        assert claim.effect is not None
        assert numbers == pytest.approx([claim.effect, *claim.ci95, *claim.images_ci95], abs=0.0051)
        assert [one.text for one in row.find("td", **{"data-name": "seeds"})] == [str(claim.num_seeds)]
        (p,) = (one.text for one in row.find("td", **{"data-name": "Holm p"}))
        assert claim.p_holm is not None
        assert p == ("< 0.001" if claim.p_holm < 0.001 else f"{claim.p_holm:.3f}")


def test_what_fails_is_as_large_as_what_holds_and_not_told_by_colour_alone(root: Element) -> None:
    style = next(root.find("style")).text
    rules = {
        name: re.findall(rf"\.verdict\.{name} {{(.*?)}}", style) for name in ("holds", "does-not-hold", "undecided")
    }
    assert {name: [re.sub(r"var\(--\w+\)", "", one).strip() for one in of] for name, of in rules.items()} == {
        name: ["background:"] for name in rules
    }
    signs = {one.text.split()[0] for one in root.find("span") if "verdict" in one.classes}
    assert signs == {"✓", "✗", "?"}


def test_seeds_zero_and_the_smallest_effect_are_where_the_axis_has_them(study: StudyResult, root: Element) -> None:
    for index, claim in enumerate(study.claims):
        (article,) = root.find("article", id=f"claim-{index}")
        main = next(one for one in article.find("div") if "main" in one.classes)
        (smallest,) = (float(one.attributes["x1"]) for one in main.find("line") if "smallest" in one.classes)
        (zero,) = (float(one.attributes["x1"]) for one in main.find("line") if "null" in one.classes)
        # The axis' numbers are far enough apart to tell its scale.
        ticks = [
            (float(one.attributes["x"]), as_number(one.text)) for one in next(iter(article.find("svg"))).find("text")
        ]
        (x1, first), (x2, last) = ticks[0], ticks[-1]
        scale = (x2 - x1) / (last - first)
        assert zero == pytest.approx(x1 - first * scale, abs=0.11)
        assert smallest - zero == pytest.approx(claim.smallest * scale, abs=0.21)
        seeds = [float(one.attributes["cx"]) - zero for one in main.find("circle")]
        assert seeds == pytest.approx([one.effect * scale for one in claim.seeds], abs=0.31)
        (mean,) = (one.attributes["d"] for one in main.find("path") if "mean-mark" in one.classes)
        assert claim.effect is not None
        assert float(mean[1:].split()[0]) - zero == pytest.approx(claim.effect * scale, abs=0.31)
        intervals = [one for one in article.find("line") if "interval" in one.classes]
        drawn = [
            [float(one.attributes[end]) - zero for end in ("x1", "x2")]
            for one in intervals
            if one.attributes["y1"] == one.attributes["y2"]
        ]
        for ends, expected in zip(drawn[:3], (claim.ci95, claim.holm_interval, claim.images_ci95), strict=True):
            assert expected is not None
            assert ends == pytest.approx([one * scale for one in expected], abs=0.31)


def test_parts_are_below_their_claim_and_have_no_verdict(study: StudyResult, root: Element) -> None:
    for index, claim in enumerate(study.claims):
        (article,) = root.find("article", id=f"claim-{index}")
        details = list(article.find("details"))
        assert len(details) == (1 if claim.parts else 0)
        for one in details:
            assert [effect.text for effect in one.find("b")] == [
                f"{part.effect:+.3f}".replace("-", "\N{MINUS SIGN}") for part in claim.parts if part.effect is not None
            ]
            assert not [badge for badge in one.find("span") if "verdict" in badge.classes]


@pytest.mark.parametrize(
    ("heading", "quantities", "roles"),
    [
        ("spatial changes", ["invariance/rotation", "invariance/resized_crop", "invariance/shear"], "single fusion"),
        ("appearance changes", ["invariance/hue", "invariance/blur", "invariance/brightness"], "single fusion"),
        ("real views", ["views/pose", "views/light_hue"], "single fusion"),
        ("scores of single backbones", [f"score/{task}" for task in TASKS], "single"),
        ("scores as they are", [f"score/{task}" for task in TASKS], "trained wide fusion ensemble"),
        ("scores at equal width", [f"projected/{task}" for task in TASKS], "trained wide fusion ensemble"),
    ],
)
def test_every_seed_is_a_dot(
    study: StudyResult, root: Element, heading: str, quantities: list[str], roles: str
) -> None:
    arms = [arm for arm, one in ARMS.items() if one["role"] in roles or ("single" in roles and arm in SINGLE)]
    drawn = figures(root, heading)
    assert len(drawn) == len(quantities)
    for figure, quantity in zip(drawn, quantities, strict=True):
        found = {key: numbers[0] for key, numbers in dots(figure).items()}
        assert found == pytest.approx(values(study, arms, quantity), abs=0.00051)


def test_scores_are_drawn_over_invariances_with_their_rank_correlation(study: StudyResult, root: Element) -> None:
    drawn = {caption.text: one for one in root.find("figure") for caption in one.find("figcaption")}
    over = ["spatial", "appearance", *(name.split("/")[1] for name in study.quantities if name[0] in "iv")]
    for task in TASKS:
        for change in over:
            name = next((one for one in study.quantities if one.endswith(f"/{change}")), f"invariance/{change}")
            title = f"{task}, {change.replace('_', ' ')}"
            (caption,) = (one for one in drawn if one[: len(title) + 1].lower() == f"{title} ")
            x, y = values(study, SINGLE, name), values(study, SINGLE, f"score/{task}")
            found = dots(drawn[caption])
            assert {key: one[1] for key, one in found.items()} == pytest.approx(y, abs=0.00051)
            assert {key: one[0] for key, one in found.items()} == pytest.approx(x, abs=0.0051)
            rho = stats.spearmanr([x[key] for key in y], list(y.values())).statistic
            assert f"rho = {rho:.2f}".replace("-", "\N{MINUS SIGN}") in caption
            assert f"{len(y)} backbones of {len(SINGLE)}" in caption


def test_a_cross_is_at_the_mean_of_an_arm_and_as_wide_as_its_standard_deviation(root: Element) -> None:
    figure = next(one for one in root.find("figure") if next(one.find("figcaption")).text.startswith("Hue, spatial"))
    ventral = next(
        one for one in figure.find("path") if next(one.find("title"), None) and "ventral, seed 0" in one.text
    )
    colour = next(name for name in ventral.classes if name.startswith("colour-"))
    across = next(
        one
        for one in figure.find("line")
        if {"spread", colour} <= {*one.classes} and one.attributes["y1"] == one.attributes["y2"]
    )
    places = [
        float(match[1])
        for path in figure.find("path")
        if colour in path.classes and next(path.find("title")).text.startswith("ventral,")
        for match in [re.match(r"M(-?[\d.]+) ", path.attributes["d"])]
        if match
    ]
    assert len(places) == 5
    centres = [place + 2.6 for place in places]  # ventral's squares begin at their left
    ends = np.mean(centres) + np.array([-1, 1]) * np.std(centres, ddof=1)
    assert [float(across.attributes[end]) for end in ("x1", "x2")] == pytest.approx(list(ends), abs=0.2)


def test_mean_ranks_are_those_of_the_scores(study: StudyResult, root: Element) -> None:
    (table,) = (one for one in root.find("table") if "ranks" in one.classes)
    rows = {next(row.find("th")).text: [cell.text for cell in row.find("td")] for row in list(table.find("tr"))[1:]}
    arms = [arm for arm, one in ARMS.items() if one["role"] in ("trained", "wide", "fusion")]
    ranks = []
    for seed in range(3):  # which default x3 has, too
        scores = [[values(study, [arm], f"score/{task}")[arm, (seed,)] for task in TASKS] for arm in arms]
        ranks.append(stats.rankdata(-np.array(scores), axis=0).mean(axis=1))
    for arm, mean, deviation in zip(arms, np.mean(ranks, axis=0), np.std(ranks, axis=0, ddof=1), strict=True):
        assert rows[arm][0].split() == [f"{mean:.2f}", "±", f"{deviation:.2f}"]
    assert set(rows) == {*arms}
    means = [float(row[0].split()[0]) for row in rows.values()]
    assert means == sorted(means)


def test_all_numbers_are_there(study: StudyResult, root: Element) -> None:
    (numbers,) = root.find("pre", **{"class": "numbers"})
    rows = list(csv.DictReader(io.StringIO(numbers.text)))
    expected = {
        (arm, "-".join(map(str, one.seeds)), quantity): one.value
        for arm, quantities in study.numbers.items()
        for quantity, of in quantities.items()
        for one in of
    }
    assert {(row["arm"], row["seeds"], row["quantity"]): float(row["value"]) for row in rows} == expected


def test_arms_look_the_same_in_every_figure(root: Element) -> None:
    looks: dict[str, set[str]] = {}
    for figure in root.find("figure"):
        for path in figure.find("path"):
            for title in path.find("title"):
                shape = re.sub(r"^M\S+ \S+?(?=[a-z])", "", path.attributes["d"])
                looks.setdefault(title.text.split(",")[0], set()).add(f"{path.attributes['class']} {shape}")
    assert {arm: len(one) for arm, one in looks.items()} == dict.fromkeys(ARMS, 1)
    assert looks["D+D+D"] == looks["default"]
    singles = [next(iter(looks[arm])) for arm in ARMS if ARMS[arm]["role"] != "ensemble"]
    assert len(set(singles)) == len(singles)


def test_of_one_seed_everything_is_undecided_and_nothing_breaks() -> None:
    root = Document(render_study(made_up_study(seeds=(7,)))).root
    (lede,) = root.find("p", **{"class": "lede"})
    assert "11 are undecided, by one seed" in lede.text
    assert {one.text.split()[1] for one in root.find("span") if "verdict" in one.classes} == {"undecided"}


def test_a_correlation_says_how_often_orders_correlate_as_much() -> None:
    claims = [one.model_copy(update={"p_orders": 0.0417}).as_content() for one in made_up_study().claims if one.between]
    root = Document(render_study(made_up_study(claims=claims))).root
    for article in root.find("article"):
        assert "a share of 0.042 correlate as much" in article.text


def test_names_are_escaped_and_claims_of_other_findings_have_a_section() -> None:
    study = made_up_study()
    claim = study.claims[0].model_copy(update={"finding": "9", "says": "<b>Is</b> & was.", "arm": "<i>"})
    root = Document(render_study(made_up_study(claims=[claim.as_content()]))).root
    (section,) = root.find("section", id="finding-9")
    assert "<b>Is</b> & was." in section.text


def test_it_is_written_beside_the_report_that_it_leads_to(study: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("")
    page = write_study_page(study, tmp_path / "study.html", tmp_path / "report.html")
    assert page == tmp_path / "study.html"
    root = Document(page.read_text(encoding="utf-8")).root
    assert [one.attributes["href"] for one in root.find("a") if one.text == "Report of all runs"] == ["report.html"]


def test_what_is_read_from_the_file_makes_the_same_page(study: StudyResult, tmp_path: Path) -> None:
    study.write(tmp_path / "study.json")
    assert (tmp_path / "study.json").stat().st_size < 300_000
    assert render_study(StudyResult.read(tmp_path / "study.json")) == render_study(study)


def test_a_shaped_arm_is_beside_the_others_and_in_no_correlation(study: StudyResult) -> None:
    content = study.as_content()
    default = content["arms"]["default"]
    content["arms"]["dialled"] = {**default, "role": "shaped", "family": None, "members": ["default"]}
    content["numbers"]["dialled"] = content["numbers"]["default"]
    of = Document(render_study(StudyResult.from_content(content))).root
    facts = dict(zip((one.text for one in of.find("dt")), (one.text for one in of.find("dd")), strict=True))
    assert facts["shaped"] == "dialled (512-d)"
    for heading in ("spatial changes", "scores of single backbones", "scores as they are", "scores at equal width"):
        assert all("dialled" in {arm for arm, _ in dots(figure)} for figure in figures(of, heading)), heading
        assert figures(of, heading)
    (mine,), (before,) = (
        [one for one in page.find("table") if "rhos" in one.classes]
        for page in (of, Document(render_study(study)).root)
    )
    assert mine.text == before.text
