import base64
import csv
import hashlib
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_invariance.errors import UserError
from solo_invariance.report import build_report, page
from solo_invariance.results import files
from tests.report.tree import Document, Element

Make = Callable[..., Any]

ADDRESSES = {"href", "src", "action", "data", "srcset", "poster", "xlink:href", "background", "formaction"}


def build(*runs: Path, out: Path) -> Element:
    return Document(build_report(runs, out).read_text(encoding="utf-8")).root


def table(root: Element, caption: str) -> dict[str, dict[str, Element]]:
    """Cells by the row's label and the column's title; a title that appears again gets its number."""
    (found,) = (one for one in root.find("table") for text in one.find("caption") if text.text == caption)
    *_, heads = next(found.find("thead")).find("tr")
    titles: list[str] = []
    for head in heads.find("th"):
        title = next(part for part in head.children if isinstance(part, str))
        titles.append(title if title not in titles else f"{title} {titles.count(title) + 1}")
    rows = {}
    for row in (row for body in found.find("tbody") for row in body.find("tr")):
        head = next(row.find("th"))
        label = "".join(part for part in head.children if isinstance(part, str))
        rows[label] = dict(zip(titles, row.find("td"), strict=True))
    return rows


SIMILARITY = "Similarity of each backbone under each change"
DISTANCE = "Distance of each backbone under each change"
TRANSFER = "Score of each backbone on each task"


@pytest.fixture
def root(paper_runs: Path, tmp_path: Path) -> Element:
    return build(paper_runs, out=tmp_path / "report.html")


def test_the_headline_is_computed(root: Element) -> None:
    (lede,) = root.find("p", **{"class": "lede"})
    assert " ".join(lede.text.split()) == (
        "ventral is the most invariant to spatial changes (mean similarity 0.75 over 2 transforms); "
        "dorsal is the most invariant to appearance changes (mean similarity 0.85 over 2 transforms). "
        "ventral+dorsal is the best on average over 2 tasks (mean rank 1.00)."
    )
    assert [strong.text for strong in lede.find("strong")] == ["ventral", "dorsal", "ventral+dorsal"]


def test_every_similarity_is_in_its_cell_with_its_interval_and_mark(root: Element) -> None:
    cells = table(root, SIMILARITY)
    assert list(cells) == ["dorsal", "ventral", "ventral+dorsal"]
    assert list(cells["dorsal"]) == ["rotation", "resized crop", "mean", "hue", "blur", "mean 2", "pose", "light hue"]
    expected = {
        "dorsal": (0.2, 0.1, 0.15, 0.9, 0.8, 0.85, 0.15, 0.85),
        "ventral": (0.8, 0.7, 0.75, 0.3, 0.2, 0.25, 0.75, 0.25),
        "ventral+dorsal": (0.5, 0.4, 0.45, 0.6, 0.5, 0.55, 0.45, 0.55),
    }
    for label, means in expected.items():
        for (title, cell), mean in zip(cells[label].items(), means, strict=True):
            bounds = f"95 % interval [{mean - 0.02:.3f}, {mean + 0.02:.3f}]"
            assert cell.text.startswith(f"{mean:.2f}, {bounds}")
            assert cell.attributes["title"] == f"{title.removesuffix(' 2')}: {mean:.3f}, {bounds}"
    best = {label: [title for title, cell in row.items() if "best" in cell.classes] for label, row in cells.items()}
    assert best == {
        "dorsal": ["hue", "blur", "mean 2", "light hue"],
        "ventral": ["rotation", "resized crop", "mean", "pose"],
        "ventral+dorsal": [],
    }
    assert cells["ventral"]["rotation"].text.endswith("●, most invariant")


def test_every_distance_is_in_its_cell_and_small_is_invariant(root: Element) -> None:
    cells = table(root, DISTANCE)
    assert cells["ventral"]["rotation"].text == "2.00, 95 % interval [1.980, 2.020]●, most invariant"
    assert cells["dorsal"]["rotation"].text == "8.00, 95 % interval [7.980, 8.020]"
    assert [cell.text[:4] for cell in cells["ventral+dorsal"].values()] == [
        *("5.00", "6.00", "5.50", "4.00", "5.00", "4.50", "5.50", "4.50")
    ]


def test_more_invariant_cells_are_further_up_the_ramp_in_both_heat_maps(root: Element) -> None:
    def levels(caption: str) -> list[int]:
        column = [row["hue"] for row in table(root, caption).values()]
        return [int(cell.classes[0].removeprefix("level-")) for cell in column]

    for caption in (SIMILARITY, DISTANCE):
        dorsal, ventral, fused = levels(caption)
        assert ventral < fused < dorsal


def test_every_number_is_in_the_list(root: Element) -> None:
    (numbers,) = root.find("pre", **{"class": "numbers"})
    rows = list(csv.DictReader(io.StringIO(numbers.text)))
    assert len(rows) == 3 * (6 + 2)
    (rotation,) = (row for row in rows if (row["backbone"], row["of"]) == ("ventral", "rotation"))
    assert [rotation[key] for key in ("similarity", "similarity low", "similarity high", "distance")] == [
        *("0.8", "0.78", "0.82", "2")
    ]


def test_every_score_is_in_its_cell_with_its_interval_mark_and_rank(root: Element) -> None:
    cells = table(root, TRANSFER)
    best, tied = "●, best", "◌, interval overlaps the best's; nothing to pair them by"
    assert {label: [cell.text for cell in row.values()] for label, row in cells.items()} == {
        "dorsal": ["0.100, 95 % interval [0.080, 0.120]", f"0.900{tied}, 95 % interval [0.880, 0.920]", "2.50"],
        "ventral": ["0.600, 95 % interval [0.580, 0.620]", "0.700, 95 % interval [0.680, 0.720]", "2.50"],
        "ventral+dorsal": [
            f"0.650{best}, 95 % interval [0.630, 0.670]",
            f"0.910{best}, 95 % interval [0.890, 0.930]",
            "1.00",
        ],
    }
    assert next(cells["dorsal"]["shape"].find("span")).attributes["aria-hidden"] == "true"
    assert cells["ventral"]["object hue"].classes == []
    assert cells["dorsal"]["shape"].classes == ["overlap"]
    assert cells["ventral+dorsal"]["shape"].classes == ["best"]


def test_every_curve_has_a_line_per_backbone_and_a_description(root: Element) -> None:
    figures = list(root.find("figure"))
    assert [next(one.find("figcaption")).text for one in figures] == [
        *("rotation spatial", "resized crop spatial", "hue appearance", "blur appearance") * 2
    ]
    for figure in figures:
        (svg,) = figure.find("svg", role="img")
        title, description = (next(svg.find(id=name)) for name in svg.attributes["aria-labelledby"].split())
        assert title.text.startswith(("Similarity over ", "Relative distance over "))
        assert description.text.count("highest") == 3
        assert sum("curve" in path.classes for path in svg.find("path")) == 3
        assert sum("marker" in path.classes for path in svg.find("path")) == 3
    assert "ventral: highest 1.00 at 0, lowest 0.60 at 180. " in next(figures[0].find("desc")).text
    legend = [item.text for one in root.find("ul", **{"class": "legend"}) for item in one.find("li")]
    assert legend == ["dorsal", "ventral", "ventral+dorsal"]


def test_the_provenance_of_every_file_is_told(root: Element, paper_runs: Path) -> None:
    (section,) = root.find("section", id="provenance")
    entries = {next(entry.find("a")).text: entry for entry in section.find("details")}
    assert len(entries) == 9
    invariance, shape = entries["runs/ventral/measure/invariance.json"], entries["runs/ventral/shape/transfer.json"]
    assert [span.text for span in next(invariance.find("summary")).find("span")][2:] == [
        *("clean, k = 16", "256 images", "seed 7")
    ]
    assert [span.text for span in next(shape.find("summary")).find("span")][2:] == [
        *("logistic probe, penalty 0.01, 5 folds", "1000 train, 500 test images", "seed 7")
    ]
    facts = dict(zip((dt.text for dt in shape.find("dt")), (dd.text for dd in shape.find("dd")), strict=True))
    assert facts == {
        "File": "runs/ventral/shape/transfer.json",
        "Backbone": "resnet10, 128 features",
        "Checkpoint": "ventral.ckpt",
        "SHA-256": "none",
        "Versions": "solo_invariance 0.1.0, torch 2.4.0",
        "Timings": "total_seconds 12.3",
        "Configuration": '{\n  "seed": 7,\n  "data": {\n    "path": "images"\n  }\n}',
    }


def test_links_lead_from_the_page_to_the_files(paper_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "some where" / "else" / "report.html"
    links = [link.attributes["href"] for link in build(paper_runs, out=out).find("a")]
    files = [link for link in links if not link.startswith("#")]
    assert files[0] == "../../runs/dorsal/measure/invariance.json"
    assert all((out.parent / link.replace("%2B", "+")).is_file() for link in files)


def test_a_link_leads_to_a_folder_whose_name_is_no_text(paper_runs: Path, tmp_path: Path) -> None:
    odd = tmp_path / "\udcff"
    shutil.copytree(paper_runs, odd)
    page = build_report([odd], tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'href="%FF/' in page


def test_the_checksum_is_shown_in_full(tmp_path: Path, write_transfer: Make) -> None:
    backbone = {"name": "resnet10", "checkpoint": None, "sha256": "0123456789abcdef" * 4, "num_features": 8}
    write_transfer("a", "a", "shape", 0.5, backbone=backbone)
    (provenance,) = build(tmp_path, out=tmp_path).find("section", id="provenance")
    assert [code.text for code in provenance.find("code")] == ["0123456789abcdef" * 4] * 2


def test_the_page_needs_nothing_but_itself(root: Element, tmp_path: Path) -> None:
    elements = list(root.find())
    assert not {"script", "link", "img", "iframe", "object", "base"} & {element.tag for element in elements}
    addresses = [value for element in elements for name, value in element.attributes.items() if name in ADDRESSES]
    assert all(re.fullmatch(r"#[a-z]+|runs/[\w+./%]+\.json", address) for address in addresses)
    assert not [name for element in elements for name in element.attributes if name == "style" or name.startswith("on")]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_security_policy_allows_this_style_and_nothing_else(root: Element) -> None:
    (style,) = root.find("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    (policy,) = root.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_ids_are_unique_and_references_resolve(root: Element) -> None:
    ids = [element.attributes["id"] for element in root.find() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in root.find():
        assert set(element.attributes.get("aria-labelledby", "").split()) <= set(ids)
        if element.attributes.get("href", "").startswith("#"):
            assert element.attributes["href"][1:] in ids


def test_what_the_results_say_is_escaped(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    evil = '<script>alert("1")</script>&amp;+\'"'
    write_invariance(
        "a",
        evil,
        transforms={evil: make_transform(0.5, evil, unit=evil)},
        config={evil: evil},
        versions={evil: evil},
        protocol=evil,
        backbone={"name": evil, "checkpoint": evil, "sha256": evil, "num_features": 8},
    )
    root = build(tmp_path, out=tmp_path / "report.html")
    assert not list(root.find("script"))
    (row,) = table(root, SIMILARITY)
    assert row == evil
    assert next(root.find("title")).text == f"Invariance report: {evil}"
    assert evil in next(root.find("strong")).text


def test_without_transfer_or_views_those_parts_are_left_out(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    write_invariance("a", "a", transforms={"h_flip": make_transform(0.5, parameters=[0, 1, 1])})
    root = build(tmp_path, out=tmp_path / "report.html")
    assert [section.attributes["id"] for section in root.find("section")] == ["invariance", "provenance"]
    cells = table(root, SIMILARITY)
    assert list(cells["a"]) == ["h flip"]
    assert cells["a"]["h flip"].text == "0.50, 95 % interval [0.480, 0.520]"


def test_without_invariance_only_transfer_is_shown(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "shape", 0.5)
    root = build(tmp_path, out=tmp_path / "report.html")
    assert [section.attributes["id"] for section in root.find("section")] == ["transfer", "provenance"]
    assert list(table(root, TRANSFER)["a"]) == ["shape"]


def test_measurements_that_are_missing_are_empty_cells(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    write_invariance("a", "a", transforms={"hue": make_transform(0.5, "appearance")})
    write_invariance("b", "b", transforms={"rotation": make_transform(0.5)})
    write_transfer("a", "a", "shape", 0.5)
    write_transfer("b", "b", "pose", 0.5)
    root = build(tmp_path, out=tmp_path / "report.html")
    assert {label: {t: c.text[:4] for t, c in row.items()} for label, row in table(root, SIMILARITY).items()} == {
        "a": {"rotation": "\N{EN DASH}not", "hue": "0.50"},
        "b": {"rotation": "0.50", "hue": "\N{EN DASH}not"},
    }
    transfer = table(root, TRANSFER)
    assert list(transfer["a"]) == ["shape", "pose"]
    assert transfer["a"]["pose"].text == "\N{EN DASH}not scored"
    (cautions,) = root.find("ul", **{"class": "cautions"})
    assert cautions.text == "No task was scored for every backbone, so they are not ranked."


def test_results_without_any_measurement_still_make_a_page(tmp_path: Path, write_invariance: Make) -> None:
    write_invariance("a", "a")
    assert list(table(build(tmp_path, out=tmp_path), SIMILARITY).values()) == [{}]


@pytest.mark.parametrize(("out", "written"), [("page.html", "page.html"), ("new/dir", "new/dir/report.html")])
def test_out_is_a_page_or_a_directory(paper_runs: Path, tmp_path: Path, out: str, written: str) -> None:
    assert build_report([paper_runs], tmp_path / out) == tmp_path / written
    assert (tmp_path / written).is_file()


def test_the_same_results_make_the_same_page_at_the_same_time(
    paper_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = (build_report([paper_runs], tmp_path / "report.html").read_bytes() for _ in range(2))
    assert first == second


def test_the_page_says_when_and_by_which_command_it_was_made(
    paper_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.chdir(tmp_path)
    (made,) = build(Path("runs"), out=Path("two words.html")).find("p", **{"class": "made"})
    # 1700000000 s after 1970, as `date -u -d @1700000000` says.
    assert made.text == "2023-11-14 22:13 UTC solo-invariance report 'runs=[runs]' 'out=two words.html'"


@pytest.mark.parametrize("failing", ["render_page", "replace"])
def test_a_failure_leaves_the_old_page_in_place(
    paper_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("interrupted")

    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    out.write_text("old")
    monkeypatch.setattr(page if failing == "render_page" else files.os, failing, fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        build_report([paper_runs], out)
    assert out.read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_bad_results_leave_the_old_page_in_place(paper_runs: Path, tmp_path: Path) -> None:
    out = build_report([paper_runs], tmp_path / "report.html")
    old = out.read_bytes()
    (paper_runs / "ventral" / "measure" / "invariance.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        build_report([paper_runs], out)
    assert out.read_bytes() == old


def test_a_place_that_cannot_be_written_is_an_error_with_its_name(paper_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/report\.html: cannot be written \("):
        build_report([paper_runs], tmp_path / "file" / "report.html")


def test_every_metric_has_a_switch_without_a_script(root: Element) -> None:
    switches = list(root.find("input", name="metric"))
    panels = [one for one in root.find("div") if "panel" in one.classes]
    assert len(switches) == len(panels) == 3  # similarity, distance, similarity without the identity
    assert ["checked" in one.attributes for one in switches] == [True, False, False]
    (style,) = root.find("style")
    for index, (switch, panel) in enumerate(zip(switches, panels, strict=True)):
        assert switch.attributes["id"] == f"metric-{index}"
        assert f"metric-{index}" in panel.classes
        rule = f"#invariance:has(#metric-{index}:checked) .panel:not(.metric-{index}) {{ display: none }}"
        assert rule in style.text
    assert style.text.index("@supports selector(:has(*))") < style.text.index("#metric-0:checked")


def test_the_legend_of_a_scale_has_its_numbers(root: Element) -> None:
    ramps = [one for one in root.find("div") if "ramp" in one.classes]
    numbers = [[text.text for text in one.find("text")] for one in ramps]
    upwards, downwards = ["0", "0.25", "0.5", "0.75", "1"], ["1", "0.75", "0.5", "0.25", "0"]
    assert numbers == [upwards, downwards, upwards, ["0", "0.125", "0.25", "0.375", "0.5"]]


def test_curves_of_arrays_that_are_there_have_bands(paper_runs: Path, tmp_path: Path) -> None:
    def bands() -> int:
        return sum("band" in path.classes for path in build(paper_runs, out=tmp_path).find("path"))

    assert bands() == 0
    arrays = {
        "parameters": np.array([[0.0], [90.0], [180.0]]),
        "names": np.array(["a", "b"]),
        "items": np.array([0, 1]),
        "indices": np.array([[0, 1, 2], [0, 1, 2]]),
        "similarity": np.array([[1, 0.5, 0.2], [1, 0.6, 0.3]]),
    }
    np.savez(paper_runs / "ventral" / "measure" / "hue.npz", **arrays)
    assert bands() == 1


def test_below_six_backbones_the_page_says_why_no_correlation_is_shown(root: Element) -> None:
    (section,) = root.find("section", id="transfer")
    assert "shown from 6 backbones on that were measured and scored; here are 3." in section.text
    assert not list(root.find("section", id="association"))


def test_the_matrix_of_who_sees_what_has_a_fixed_scale(root: Element) -> None:
    """Half of dorsal's and ventral's four similarities differ by 0.6 in either direction: 0.3 on average."""
    (section,) = root.find("section", id="complementarity")
    cells = [cell for cell in section.find("td") if cell.classes != ["missing"]]
    assert [cell.text[:4] for cell in cells] == ["0.30", "0.30"]
    # 0.3 of at most 0.5, on 20 steps, whatever else is in the table.
    assert [cell.classes for cell in cells] == [["level-12"], ["level-12"]]
