import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fuzz.odd_values import MARKUP
from solo_invariance import report
from solo_invariance.errors import UserError
from solo_invariance.report.collect import collect_results
from solo_invariance.report.export import exported, write_export
from solo_invariance.report.tables import Heading, Number, Table, as_csv, as_latex, escaped
from solo_invariance.results import files

Make = Callable[..., Any]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def directory(paper_runs: Path, tmp_path: Path) -> Path:
    report([paper_runs], tmp_path / "report.html", export=tmp_path / "export")
    return tmp_path / "export"


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["backbone"]: row for row in csv.DictReader(file)}


def test_the_index_lists_every_file(directory: Path) -> None:
    index = json.loads((directory / "index.json").read_text())
    listed = [entry["file"] for entry in index["files"]]
    assert sorted([*listed, "index.json"]) == sorted(path.name for path in directory.iterdir())
    assert len(listed) == len(set(listed))
    assert all(entry["title"] for entry in index["files"])
    assert listed[0] == "numbers.csv"
    tables = ("similarity", "distance", "similarity-without-identity", "transfer", "complementarity")
    figures = ("spatial-rotation", "spatial-resized-crop", "appearance-hue", "appearance-blur")
    scores = ("transfer-shape-accuracy", "transfer-object-hue-r2")
    assert set(listed) == {
        "numbers.csv",
        *(f"table-{name}.{end}" for name in tables for end in ("csv", "tex")),
        *(f"figure-{name}.svg" for name in (*figures, *scores)),
        *(f"figure-distance-{name}.svg" for name in figures),
    }


def test_tables_have_every_number_with_its_interval(directory: Path) -> None:
    similarity = rows_of(directory / "table-similarity.csv")
    assert list(similarity) == ["dorsal", "ventral", "ventral+dorsal"]
    row = {key: float(value) for key, value in similarity["ventral"].items() if key != "backbone"}
    names = ("spatial: rotation", "spatial: rotation low", "spatial: rotation high", "spatial: mean")
    assert [row[name] for name in names] == [0.8, 0.78, 0.82, 0.75]
    assert row["appearance views: light hue"] == 0.25
    scores = rows_of(directory / "table-transfer.csv")
    assert scores["dorsal"]["tasks: shape (accuracy)"] == "0.9"
    assert scores["dorsal"]["tasks: object hue (R²) low"] == "0.08"


def test_latex_has_the_same_numbers(directory: Path) -> None:
    text = (directory / "table-similarity.tex").read_text(encoding="utf-8")
    (rotation,) = (line for line in text.splitlines() if line.startswith(r"\quad rotation"))
    assert rotation == (
        r"\quad rotation & 0.200 {\scriptsize [0.180, 0.220]} & \textbf{0.800} {\scriptsize [0.780, 0.820]} "
        r"& 0.500 {\scriptsize [0.480, 0.520]} \\"
    )
    assert r" & dorsal & ventral & ventral+dorsal \\" in text


def test_the_best_alone_is_bold(directory: Path) -> None:
    """The fusion is the best on both tasks, though an interval of dorsal's overlaps its own."""
    lines = (directory / "table-transfer.tex").read_text(encoding="utf-8").splitlines()
    bold = {line.split(" & ")[0]: line.count(r"\textbf") for line in lines if "scriptsize" in line}
    assert bold == {"dorsal": 0, "ventral": 0, "ventral+dorsal": 2}


def cells_of(line: str) -> int:
    """How many columns a row of a table fills."""
    spans = [int(count) for count in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return len(re.findall(r"(?<!\\)&", line)) + 1 + sum(span - 1 for span in spans)


def test_every_row_of_every_latex_table_fills_it(directory: Path) -> None:
    for path in directory.glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("% ")
        columns = re.search(r"\\begin\{tabular\}\{(l r*|lr*)\}", text)
        assert columns is not None
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert {cells_of(line) for line in rows} == {len(columns.group(1))}, path
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"):
            assert rule in text


def test_the_longer_side_of_a_table_goes_down() -> None:
    headings = (Heading("", "x"), Heading("", "y"), Heading("", "z"))
    wide = Table("n", "t", "backbone", headings, (("a", (Number(1), None, Number(-2.5))),), 1)
    assert as_latex(wide).splitlines()[1] == r"\begin{tabular}{lr}"
    assert r"\quad z & $-$2.5 \\" in as_latex(wide)
    assert r"\quad y & -- \\" in as_latex(wide)
    tall = wide._replace(headings=headings[:1], rows=(("a", (Number(1),)), ("b", (Number(2),))))
    assert as_latex(tall).splitlines()[-4:-1] == [r"a & 1.0 \\", r"b & 2.0 \\", r"\bottomrule"]
    assert as_csv(wide) == "backbone,x,y,z\na,1,,-2.5\n"


def test_latex_is_escaped() -> None:
    assert escaped("a_b & 50% #1 {x} $y$ ~ ^ \\ <>") == (
        r"a\_b \& 50\% \#1 \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}\textgreater{}"
    )
    assert escaped("[0] *\n\x00%\ud800x") == r"{[}0] {*} \% x"


def test_figures_are_pictures_of_their_own(directory: Path) -> None:
    found = sorted(directory.glob("*.svg"))
    assert len(found) == 10
    for path in found:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == f"{SVG}svg"
        assert [float(root.attrib[side]) for side in ("width", "height")] == [
            float(side) for side in root.attrib["viewBox"].split()[2:]
        ]
        style = root.findtext(f"{SVG}style")
        assert style is not None
        assert "var(" not in style
        assert "sans-serif" in style
        used = {name for one in root.iter() for name in one.get("class", "").split() if not name.startswith("of-")}
        drawn_plainly = {"dash-0", "best"}
        assert {name for name in used - drawn_plainly if f".{name}" not in style} <= {"ink"}
        assert root.findtext(f"{SVG}title")
        labels = {one.text for one in root.iter(f"{SVG}text")}
        assert {"dorsal", "ventral", "ventral+dorsal"} <= labels
        assert not [one for one in root.iter() if "href" in " ".join(one.attrib)]


def test_names_are_stable_and_differ_whatever_things_are_called(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    odd = ["hue", "HUE", "h/u/e", "变", "变变", "x" * 300, "x" * 301, "..", MARKUP, "\x00"]
    transforms = {name: make_transform(0.5) for name in odd}
    write_invariance("a", "a", transforms=transforms)
    results = collect_results([tmp_path])
    names = [one.name for one in exported(results)]
    assert names == [one.name for one in exported(results)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9-]{1,90}\.(csv|tex|svg)", name) for name in names)
    assert sum(name.endswith(".svg") for name in names) == 2 * len(odd)


def test_what_is_there_besides_changes_no_name(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    names = []
    for directory, transforms in {"one": ["caf\xe9"], "both": ["caf\xe8", "caf\xe9"]}.items():
        write_invariance(directory, "a", transforms={name: make_transform(0.5) for name in transforms})
        files = exported(collect_results([tmp_path / directory]))
        names.append({one.title: one.name for one in files if one.name.endswith(".svg")})
    assert names[1]["caf\xe9, spatial"] == names[0]["caf\xe9, spatial"]


def test_what_results_say_breaks_no_file(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    for index, evil in enumerate((MARKUP, "a\x00\x0b]]>&amp;", '"q",\n;', "\\end{tabular}")):
        write_invariance(str(index), f"{evil}{index}", transforms={evil: make_transform(0.5, evil, unit=evil)})
        write_transfer(str(index), f"{evil}{index}", evil, 0.5, metric=evil)
    write_export(collect_results([tmp_path]), tmp_path / "export")
    for path in (tmp_path / "export").iterdir():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".svg":
            root = ElementTree.fromstring(text)
            known = {"svg", "style", "title", "desc", "rect", "line", "path", "text", "circle"}
            assert {one.tag.removeprefix(SVG) for one in root.iter()} <= known
        elif path.suffix == ".csv":
            widths = {len(row) for row in csv.reader(io.StringIO(text))}
            assert len(widths) == 1, path
        elif path.suffix == ".tex":
            assert text.count(r"\end{tabular}") == 1


def test_correlations_are_a_table_and_figures(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    for index in range(6):
        write_invariance(f"{index}", f"b seed{index}", transforms={"hue": make_transform(index / 10)})
        write_transfer(f"{index}", f"b seed{index}", "shape", index / 100)
    write_export(collect_results([tmp_path]), tmp_path / "export")
    with (tmp_path / "export" / "table-invariance-and-transfer.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["task"], row["spatial: hue"], row["spatial: hue n"]) == ("shape (accuracy)", "1", "6")
    assert row["spatial: hue p"] == "1"  # seeds of one thing say nothing of others
    with (tmp_path / "export" / "table-transfer-by-group.csv").open(encoding="utf-8") as file:
        (group,) = csv.DictReader(file)
    assert (group["group"], group["tasks: shape (accuracy)"]) == ("b", "0.025")
    assert float(group["tasks: shape (accuracy) sd"]) == pytest.approx(0.0187083, rel=1e-4)
    figure = ElementTree.fromstring((tmp_path / "export" / "figure-association-shape-spatial-accuracy.svg").read_text())
    marks = [str(one.get("class")).split()[0] for one in figure.iter()]
    assert (marks.count("marker"), marks.count("spread")) == (6 + 1, 2)  # each seed, the legend's, and their cross


def test_a_failure_leaves_an_old_file_whole(paper_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_export(collect_results([paper_runs]), tmp_path / "export")
    old = {path: path.read_bytes() for path in (tmp_path / "export").iterdir()}

    def fail(*arguments: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(RuntimeError):
        report([paper_runs], tmp_path / "report.html", export=tmp_path / "export")
    assert {path: path.read_bytes() for path in (tmp_path / "export").iterdir()} == old
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_an_error(paper_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/numbers\.csv: cannot be written"):
        report([paper_runs], tmp_path / "report.html", export=tmp_path / "file")


def _has_booktabs() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _has_booktabs(), reason="pdflatex with booktabs is not installed")
def test_latex_compiles(directory: Path) -> None:
    inputs = "\n\n".join(rf"\input{{{path.name}}}" for path in directory.glob("*.tex"))
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}"
    (directory / "all.tex").write_text(document)
    subprocess.run(["pdflatex", "-halt-on-error", "all.tex"], cwd=directory, check=True, capture_output=True)
