"""What the README and the pages beside it say of the software is so; their commands are run in tests/pages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from solo_invariance.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
HOWTO, EXPLANATION = ROOT / "docs" / "howto", ROOT / "docs" / "explanation"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted([*HOWTO.glob("*.md"), *EXPLANATION.glob("*.md"), *(ROOT / "examples").glob("*/README.md")])


def _page(path: Path) -> str:
    return path.read_text()


def test_the_readme_is_for_a_first_minute() -> None:
    assert len(README.splitlines()) < 200


def test_every_command_of_ours_is_shown() -> None:
    shown = re.findall(r"^solo-invariance (\w+)", "\n".join(map(_page, PAGES)), flags=re.MULTILINE)
    assert {*shown} >= set(COMMANDS) - {"demo"}


def test_make_knows_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    blocks = "\n".join(block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", _page(page), re.DOTALL))
    inline = "\n".join(map(_page, PAGES))
    for target in {*re.findall(r"^make (\w+)", blocks, re.MULTILINE), *re.findall(r"`make (\w+)", inline)}:
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_file_and_heading_that_is_linked_is_there(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)#?([^)]*)\)", _page(page)):
        file = (page.parent / target) if target else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
            assert heading in known, f"{target}#{heading}"


_ADDED = [
    cell.replace("`", "").split()
    for row in re.findall(
        r"^\| (?:choose|compose|change|give|do as|add|crop) [^|]*\|(.*)\|$",
        _page(HOWTO / "solo_learn.md"),
        re.MULTILINE,
    )
    for cell in re.findall(r"`[^`]+`", row)
]


def test_what_the_page_adds_to_runs_is_found() -> None:
    assert len(_ADDED) >= 10


@pytest.mark.usefixtures("in_solo_learn")
@pytest.mark.parametrize("added", _ADDED, ids=" ".join)
def test_what_is_added_to_runs_makes_a_pipeline(added: list[str], tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir

    from solo_invariance.hosts.augmentations import crop_pipeline_from_config

    (tmp_path / "run.yaml").write_text("data: {dataset: imagenet, format: image_folder}\n")
    chosen = [] if any(part.startswith("augmentations=") for part in added) else ["augmentations=invariance/multicrop"]
    if any("operations" in part for part in added):
        chosen = ["augmentations=invariance/byol" if "solarize" in added[0] else "augmentations=invariance/dorsal"]
    overrides = [f"+{part}" if part.startswith("augmentations=") else part for part in (*chosen, *added)]
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        cfg = compose("run", overrides)
    pipeline, _ = crop_pipeline_from_config(cfg)
    assert pipeline.entries


@pytest.mark.parametrize(
    ("page", "operations"),
    [
        ("families", ["rotation", "color_jitter", "grayscale"]),
        ("chest_xrays", ["resized_crop", "rotation", "color_jitter", "gaussian_blur"]),
    ],
)
def test_the_families_that_are_written_out_are_some(page: str, operations: list[str]) -> None:
    from solo_invariance.families.from_config import family_from_config

    (block,) = re.findall(r"```yaml\n(.*?)```", _page(HOWTO / f"{page}.md"), flags=re.DOTALL)
    family = family_from_config(yaml.safe_load(block)["invariance"]["family"])
    assert [operation.name for operation in family.operations] == operations


def test_the_families_tables_are_the_families_and_their_numbers() -> None:
    from solo_invariance.plugins import discover

    page = _page(EXPLANATION / "families.md")
    ours = {plugin.name: plugin.load() for plugin in discover("families") if "solo-invariance" in plugin.distribution}
    assert {*re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)} == {*ours}
    (block,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    written = yaml.safe_load(block)
    assert [*written] == [*dict.fromkeys([*written, *ours])]
    for name, family in ours.items():
        assert _rounded(written[name]) == _rounded(family.describe()["operations"]), name


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return round(float(value), 3) if isinstance(value, int | float) else value


def test_the_tasks_that_are_named_are_there() -> None:
    from solo_invariance.plugins import discover

    page = _page(HOWTO / "transfer.md")
    section = page[page.index("| task | targets |") : page.index("`probe=knn` and")]
    named = set(re.findall(r"`(\w+)`", section))
    known = {plugin.name for plugin in discover("tasks") if "solo-invariance" in plugin.distribution}
    assert named <= known
    assert {name for name in known if not name.startswith("causal3dident_")} <= named


def test_the_view_sets_that_are_named_are_there() -> None:
    from solo_invariance.data.view_sets import VIEW_SET_NAMES

    page = _page(HOWTO / "measure.md")
    section = page[page.index("reads COIL-100") : page.index("A folder that is laid out differently")]
    assert {*VIEW_SET_NAMES} <= {*re.findall(r"`(\w+)`", section)}


def test_the_keys_of_the_monitor_are_named_with_their_defaults() -> None:
    monitor = yaml.safe_load((ROOT / "plugin_configs" / "invariance" / "monitor.yaml").read_text())["monitor"]
    page = _page(HOWTO / "solo_learn.md")
    table = page[page.index("key of `invariance.monitor`") : page.index("## Without solo-learn")]
    assert {*monitor} == {*re.findall(r"`(\w+)`", table)} - {"all"}
    for key in ("every", "k", "num_images", "reference_images"):
        assert re.search(rf"\| `{key}` \|[^|]*\| {monitor[key]} \|", table), key


def test_the_keys_of_scoring_a_run_are_named_with_their_defaults() -> None:
    keys = yaml.safe_load((ROOT / "plugin_configs" / "invariance" / "transfer.yaml").read_text())["transfer"]
    page = _page(HOWTO / "watch_transfer.md")
    table = page[
        page.index("key of `invariance.transfer`") : page.index("`solo-invariance transfer` of the checkpoint")
    ]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert {*keys} == {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for key in ("every", "probe", "num_images", "folds"):
        assert re.search(rf"^\| `{key}` \|.*\| {keys[key]} \|$", table, flags=re.MULTILINE), key


def test_the_table_of_metrics_is_what_they_say_of_the_five_backbones() -> None:
    script = "import json, sys; sys.path.insert(0, 'docs/pictures'); import draw; print(json.dumps(draw.scores()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    page = _page(EXPLANATION / "metrics.md")
    for name, scores in yaml.safe_load(done.stdout).items():
        (row,) = re.findall(rf"^\| {name} \|(.*)\|$", page, flags=re.MULTILINE)
        assert [float(cell) for cell in row.split("|")] == pytest.approx([*scores.values()], abs=0.02), name


def test_the_quirks_are_those_of_the_protocols() -> None:
    from dataclasses import fields

    from solo_invariance.protocols import Protocol

    page = _page(EXPLANATION / "official_code.md")
    table = page[page.index("| quirk,") : page.index("## What it does not reproduce")]
    named = [
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")
    ]
    assert sorted(named) == sorted({field.name for field in fields(Protocol)} - {"name"})


def test_the_software_is_cited_as_what_it_is() -> None:
    from solo_invariance import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    assert citation["authors"] == [{"name": "solo-invariance contributors"}]
    paper = citation["preferred-citation"]
    authors = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert authors == ["Ericsson, Linus", "Gouk, Henry", "Hospedales, Timothy M."]
    assert paper["title"] in " ".join(README.split())
    page = _page(EXPLANATION / "faq.md")
    assert f"author = {{{' and '.join(authors)}}}" in page
    assert f"title = {{{paper['title']}}}" in page


def test_how_long_it_takes_is_what_was_measured() -> None:
    import json

    page = _page(EXPLANATION / "faq.md")
    machines = {"nvidia-h200": "NVIDIA H200", "cpu-2-cores": "two CPU cores"}
    found = 0
    for name, machine in machines.items():
        rows = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["rows"]
        for row in rows:
            measured = re.match(r"measure 18 transforms, resnet(\d+)(?:, (\w+))?$", row.get("what", ""))
            if measured:
                network, precision = measured.groups()
                where = f"{machine}, {precision}" if precision else machine
                rate = row["images_per_second"]
                start = rf"^\| {where} \| ResNet-{network} \| {round(rate)} \| (\d+) (minutes|hours)"
                (said,) = re.findall(start, page, flags=re.MULTILINE)
                seconds = 3_089_000 / rate
                assert int(said[0]) == pytest.approx(seconds / {"minutes": 60, "hours": 3600}[said[1]], rel=0.06)
                found += 1
    assert found == 4
