"""The documentation site: built strictly, whole, and readable without a network."""

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
from filelock import FileLock

pytest.importorskip("sphinx")
pytest.importorskip("myst_nb")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXTENSIONS = DOCS / "_extensions"
KNOWN_HOSTS = {"arxiv.org", "github.com", "keepachangelog.com", "marimo.io", "pradyunsg.me", "www.sphinx-doc.org"}
"""Where links lead that need a network. No test follows them: look at one before its host is added here."""

_LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


class _Page(HTMLParser):
    """What a page links to, what it loads, and where in it one can link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.within: list[str] = []
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        self.links += [found["href"]] if tag == "a" and "href" in found else []
        self.loaded += [found[_LOADED[tag]]] if _LOADED.get(tag) in found else []
        self.within += [found["srcdoc"]] if "srcdoc" in found else []
        self.styles += [found["style"]] if "style" in found else []

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.styles.append(data)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from nothing, its notebooks run; once for all processes that test."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    home = Path(
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.mktemp("x")
    )
    work = home / f"site-{run}"
    with FileLock(f"{work}.lock"):
        if not (work / "said").is_file():
            options = ["-W", "--keep-going", "-q", "-E", "-b", "html", "-d", str(work / "doctrees")]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(
                [sys.executable, "-m", "sphinx", *options, str(DOCS), str(work / "html")],
                capture_output=True,
                text=True,
                env=environment,
            )
            (work / "said").write_text(done.stderr if done.returncode else "")
    said = (work / "said").read_text()
    assert not said, said[-5000:]
    return work / "html"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, _Page]:
    """All pages by their paths."""
    return {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package that writes pages from the code."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    return pytest.importorskip("generated_reference")


def _words(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def _words_of(site: Path, page: str) -> str:
    return _words((site / page).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_it_builds_without_a_warning_and_has_its_four_parts(site: Path) -> None:
    for part in ("tutorials", "howto", "reference", "explanation"):
        assert len(list((site / part).rglob("*.html"))) > 1


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path, pages: Mapping[Path, _Page]) -> None:
    for path, page in pages.items():
        assert not _from_elsewhere(page), path
    for path in site.rglob("*.css"):
        assert not _from_elsewhere_in_css(path.read_text(encoding="utf-8")), path


def _from_elsewhere(page: _Page) -> list[str]:
    """Return what a page, or one within it, loads that is not beside it."""
    parts = [page, *map(_Page, page.within)]
    loaded = [one for part in parts for one in part.loaded]
    styles = [one for part in parts for text in part.styles for one in _from_elsewhere_in_css(text)]
    return [one for one in loaded if one.startswith("//") or urlsplit(one).scheme not in ("", "data")] + styles


def _from_elsewhere_in_css(text: str) -> list[str]:
    return re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", text)


@pytest.mark.parametrize(
    "planted",
    [
        '<script async src="https://cdn.example/mathjax.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img src="http://example/a.png">',
        "<style>@import 'https://fonts.example/css';</style>",
        '<iframe srcdoc="&lt;script src=&quot;https://cdn.example/a.js&quot;&gt;&lt;/script&gt;"></iframe>',
    ],
)
def test_what_is_loaded_from_elsewhere_is_seen(planted: str) -> None:
    assert _from_elsewhere(_Page(planted))
    assert not _from_elsewhere(_Page('<script src="a.js"></script><a href="https://example"></a><img src="data:,x">'))


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site: Path, pages: Mapping[Path, _Page]) -> None:
    assert sum(len(page.links) for page in pages.values()) > 1000
    broken = [(str(path.relative_to(site)), link) for path, link in _internal(pages) if not _leads(path, link, pages)]
    assert not broken, broken[:20]


def _internal(pages: Mapping[Path, _Page]) -> Iterator[tuple[Path, str]]:
    for path, page in pages.items():
        for link in page.links:
            if not urlsplit(link).scheme:
                yield path, link


def _leads(path: Path, link: str, pages: Mapping[Path, _Page]) -> bool:
    place, _, anchor = unquote(link).partition("#")
    target = (path.parent / place).resolve() if place else path
    if not target.is_file():
        return False
    return not anchor or (target in pages and anchor in pages[target].anchors)


def test_the_checker_of_links_sees_what_is_broken(tmp_path: Path) -> None:
    page, other = tmp_path / "a.html", tmp_path / "b.html"
    page.write_text('<a href="b.html#there"></a><a href="b.html#gone"></a><a href="c.html"></a><a href="#top"></a>')
    other.write_text('<h1 id="there"></h1>')
    pages = {path: _Page(path.read_text()) for path in (page, other)}
    assert [_leads(page, link, pages) for link in pages[page].links] == [True, False, False, False]


@pytest.mark.slow
def test_links_to_elsewhere_lead_to_known_hosts(pages: Mapping[Path, _Page]) -> None:
    links = {link for page in pages.values() for link in page.links if urlsplit(link).scheme}
    print(*sorted(links), sep="\n")
    assert {urlsplit(link).scheme for link in links} <= {"https"}
    assert {urlsplit(link).hostname for link in links} <= KNOWN_HOSTS


@pytest.mark.slow
def test_no_page_names_a_place_of_the_machine_that_built_it(site: Path) -> None:
    for path in (*site.rglob("*.html"), *site.rglob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        for place in (str(ROOT), sys.prefix, str(Path.home()) + "/", "/tmp/"):
            assert place not in text, (path, place)


@pytest.mark.slow
def test_the_search_knows_words_of_the_text_and_names_of_the_code(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for word in ("ventral", "whiten", "load_backbone", "chance_corrected_similar"):
        assert word in index


@pytest.mark.slow
def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in site.rglob("*.html")]
    assert not any("MathJax" in text for text in texts)
    assert not any(re.search(r"\$[^$\n]*\\(frac|top|Sigma|sum)", _words(text)) for text in texts)


@pytest.mark.slow
def test_the_reference_has_every_command_and_key(site: Path, pages: Mapping[Path, _Page]) -> None:
    from solo_invariance.config.reference import COMMANDS, FLAGS, keys_of

    assert all(flag in _words_of(site, "reference/commands/index.html") for flag in FLAGS)
    for command in COMMANDS:
        path = site / "reference" / "commands" / f"{command}.html"
        words = _words_of(site, f"reference/commands/{command}.html")
        for key in keys_of(command):
            anchor = f"{command}-{key.name.lstrip('+').replace('.', '-').replace('_', '-')}"
            assert anchor in pages[path].anchors, key.name
            assert key.name in words, key.name
            assert not set(key.choices) - set(re.findall(r"[\w/]+", words)), key.name


def test_a_key_is_shown_with_all_that_is_known_of_it(generated: Any) -> None:
    from generated_reference.commands import command_page

    page = command_page("measure")
    entry = page[page.index("[`budget`]") :].split("\n\n[`")[0]
    assert "#measure-budget" in entry
    for words in ("adaptive", "`full`", "*name*", "default `full`"):
        assert words in entry


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path, pages: Mapping[Path, _Page]) -> None:
    import solo_invariance

    anchors = {anchor for page in pages.values() for anchor in page.anchors}
    assert {f"solo_invariance.{name}" for name in solo_invariance.__all__} <= anchors
    for name in ("MeasureSettings", "TransferSettings", "FuseSettings"):
        cls = getattr(solo_invariance, name)
        words = _words_of(site, "reference/api/solo_invariance.html")
        assert set(cls.__dataclass_fields__) <= set(re.findall(r"\w+", words)), name
    # Packages that are called are described by what a call does.
    assert "What to measure on: a folder" in _words_of(site, "reference/api/solo_invariance.html")


@pytest.mark.slow
def test_the_reference_has_every_plugin(site: Path) -> None:
    from solo_invariance.plugins import KINDS, discover

    words = set(_words_of(site, "reference/entry_points.html").split())
    for kind in KINDS:
        assert {plugin.name for plugin in discover(kind)} <= words
        assert f"solo_invariance.{kind}" in " ".join(words)


def test_the_reference_has_every_environment_variable() -> None:
    page = (DOCS / "reference" / "environment.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "solo_invariance").rglob("*.py"))
    pattern = r"[\"`](SOLO_(?:LEARN_DIR|INVARIANCE_[A-Z_]+))[\"`]"
    assert {*re.findall(pattern, code)} == {*re.findall(pattern, page)} >= {"SOLO_LEARN_DIR", "SOLO_INVARIANCE_CACHE"}


def test_every_key_of_a_result_file_has_a_type_and_a_meaning(generated: Any) -> None:
    from generated_reference.results import documents, fields_of

    assert {one.kind for one in documents()} >= {"invariance", "transfer", "fuse", "comparison", "transfer_comparison"}
    for document in documents():
        for key, kind, meaning in fields_of(document):
            assert kind not in ("", "anything, optional"), (document, key)
            assert meaning, (document, key)


def test_results_are_valid_by_the_schemas(generated: Any, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from generated_reference.results import documents, schema_of

    from solo_invariance import MeasureSettings, measure, transfer
    from solo_invariance.measure import ResizeCrop

    schemas = {one.usual_name: schema_of(one) for one in documents() if one.kind in ("invariance", "transfer")}
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    images = torch.rand(40, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    settings = MeasureSettings(k=4, geometry=ResizeCrop.of_crop(16))
    measure(network, images, ["hue", "translation", "grayscale"], settings, out=tmp_path / "measured", device="cpu")
    own = (images[:30], images[:30].mean((1, 2, 3)), images[30:], images[30:].mean((1, 2, 3)))
    transfer(network, own, out=tmp_path / "scored", device="cpu", cache=False)
    for name, schema in schemas.items():
        (path,) = tmp_path.rglob(name)
        content = json.loads(path.read_text())
        jsonschema.Draft202012Validator(schema).validate(content)
        for spoilt in ({**content, "kind": "another"}, {**content, "seed": "seven"}, {**content, "label": None}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.Draft202012Validator(schema).validate(spoilt)


def _table(words: str, heading: str) -> dict[str, dict[str, float]]:
    """Return the means of a table that a notebook printed, by column and row."""
    lines = words[words.index(heading) :].splitlines()
    names = heading.split()
    rows = {}
    for line in lines[1:]:
        means = re.findall(r"(-?\d\.\d\d) \[", line)
        if len(means) != len(names):
            break
        rows[line.split()[0]] = dict(zip(names, map(float, means), strict=True))
    return {name: {row: values[name] for row, values in rows.items()} for name in names}


@pytest.mark.slow
def test_the_first_tutorial_shows_what_it_says(site: Path) -> None:
    """Its sentences on who is higher, and that a fusion loses nothing, hold for the numbers below them."""
    words = re.sub(r" +", " ", _words_of(site, "tutorials/ten_minutes.html"))
    measured = _table(words, "untrained ventral dorsal")
    for name in ("translation", "h_flip", "rotation"):
        assert measured["ventral"][name] > measured["dorsal"][name]
        assert measured["ventral"][name] > measured["untrained"][name]
    for name in ("hue", "saturation", "grayscale"):
        assert measured["dorsal"][name] > measured["ventral"][name]
        assert measured["dorsal"][name] > measured["untrained"][name]
    scores = _table(words, "ventral dorsal fusion")
    assert scores["dorsal"]["hue"] < scores["ventral"]["hue"]
    assert scores["ventral"]["position"] < scores["dorsal"]["position"]
    best = {task: max(scores["ventral"][task], scores["dorsal"][task]) for task in scores["fusion"]}
    assert all(scores["fusion"][task] >= best[task] - 0.02 for task in best)
    text = (site / "tutorials" / "ten_minutes.html").read_text(encoding="utf-8")
    assert "Invariance report" in "".join(_Page(text).within)


@pytest.mark.slow
def test_notebooks_can_be_downloaded_with_what_they_printed(site: Path) -> None:
    names = {path.name: path for path in (site / "_downloads").rglob("*.ipynb")}
    assert set(names) == {"ten_minutes.ipynb", "own_model.ipynb"}
    for path in names.values():
        cells = json.loads(path.read_text())["cells"]
        assert any(cell.get("outputs") for cell in cells)
        assert not [one for cell in cells for one in cell.get("outputs", []) if one["output_type"] == "error"]


def test_the_notebook_to_play_with_follows_what_is_chosen() -> None:
    pytest.importorskip("marimo")
    script = """
import json, sys
from types import SimpleNamespace as Chosen
sys.path.insert(0, sys.argv[1])
import play
found = {}
for name in ("h_flip", "hue"):
    values = {"picture": 1, "source": "random:resnet10", "transform_name": name}
    _, defined = play.app.run(defs={key: Chosen(value=value) for key, value in values.items()})
    found[name] = [defined["measured"].unit, len(defined["measured"].parameters)]
print(json.dumps(found))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", script, str(DOCS / "tutorials")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"h_flip": ["off / on", 2], "hue": ["turns", 9]}


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.host
@pytest.mark.slow
def test_the_tutorial_with_solo_learn_runs_in_a_checkout(solo_learn: Path, tmp_path: Path, feature_cache: Path) -> None:
    """Every command of it in one shell, as it is written, but with fewer pictures and epochs."""
    page, checkout = DOCS / "tutorials" / "solo_learn.md", tmp_path / "solo-learn"
    subprocess.run(["git", "clone", "-q", str(solo_learn), str(checkout)], check=True)
    for name, module in (("python", ""), ("solo-invariance", "-m solo_invariance.cli")):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore {module} "$@"\n')
        program.chmod(0o755)
    (pictures,) = _blocks(page, "python")
    (checkout / "pictures.py").write_text(pictures.replace("1600", "160").replace("400", "80"))
    setup, *rest = _blocks(page, "sh")
    assert "git clone" in setup
    script = "\n".join(["python pictures.py", *rest])
    for usual, small in (("max_epochs=8", "max_epochs=2"), ("ep=7", "ep=1"), ("max_epochs=3", "max_epochs=1")):
        assert usual in script
        script = script.replace(usual, small)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert (checkout / "report.html").is_file()
    found = {path.parent.name for path in checkout.glob("runs/*/*/*.json")}
    assert {"ventral", "dorsal", "fused"} <= found
