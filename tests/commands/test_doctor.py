from importlib.metadata import PackageNotFoundError

from solo_invariance import installation, plugins
from solo_invariance.commands.terminal import console


def test_everything_is_named(cli, monkeypatch) -> None:
    monkeypatch.delenv("SOLO_LEARN_DIR", raising=False)
    code, out, err = cli("doctor")
    assert code == 0, err
    for word in (
        "python",
        "torch",
        "lightning",
        "devices",
        "solo-learn",
        "faiss",
        "ventral",
        "rotation",
        "solo-invariance",
    ):
        assert word in out


def test_what_is_missing_comes_with_advice(monkeypatch) -> None:
    monkeypatch.setattr(installation, "find_solo_learn", lambda: None)
    monkeypatch.setattr(installation, "version", _not_installed)
    missing = {finding.what: finding for finding in installation.doctor() if finding.state == "missing"}
    assert "SOLO_LEARN_DIR" in missing["solo-learn"].advice
    assert missing["lightly"].advice == "pip install 'lightly>=1.5.22'"
    assert missing["scikit-learn"].advice == "pip install 'scikit-learn>=1.5'"


def _not_installed(name):
    raise PackageNotFoundError(name)


def test_what_is_optional_and_missing_is_exit_code_1_only_where_it_is_asked_for(cli, monkeypatch) -> None:
    monkeypatch.setattr(installation, "find_solo_learn", lambda: None)
    monkeypatch.setattr(installation, "version", _not_installed)
    assert cli("doctor")[0] == 0
    code, out, err = cli("doctor", "need=[solo-learn,ventral,auto,faiss]")
    assert (code, len(err.splitlines())) == (1, 1)
    start = "solo-invariance: error: "
    assert err.startswith(f"{start}solo-learn is missing; git clone https://github.com/vturrisi/solo-learn")
    assert "plugins" in out
    assert cli("doctor", "need=lightly")[2] == f"{start}lightly is missing; pip install 'lightly>=1.5.22'\n"
    assert cli("doctor", "need=[ventral,rotation,faiss]")[0] == 0
    code, _, err = cli("doctor", "need=[ventrall]")
    assert code == 1
    assert "ventrall is nothing that was found; it is no plugin, and none of " in err


def test_it_fits_into_80_columns_without_cutting_words(cli, monkeypatch) -> None:
    monkeypatch.setattr(console, "width", 80)
    monkeypatch.setattr(installation, "find_solo_learn", lambda: None)
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE", "")
    out = cli("doctor")[1]
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "https://github.com/vturrisi/solo-learn" in out.split()
    assert "causal3dident_background_hue," in out.split()
    assert "auto, which chooses among these" in out
    assert [line for line in lines if not line.startswith(" ")] == [
        "solo-invariance doctor",
        "versions",
        "machine",
        "host",
        "optional libraries",
        "backbones by name",
        "seams to solo-learn",
        "plugins, by kind",
    ]


def test_a_broken_plugin_or_variable_is_exit_code_1_and_hides_nothing_else(cli, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SOLO_LEARN_DIR", str(tmp_path))
    broken = plugins.Plugin("families", "sunrise", "sun 1.0", plugins.EntryPoint("sunrise", "no_such_module:x", "g"))
    original = plugins.discover

    def discover(kind):
        return (*original(kind), broken) if kind == "families" else original(kind)

    monkeypatch.setattr(installation, "discover", discover)
    code, out, err = cli("doctor")
    assert code == 1
    lines = err.splitlines()
    start = "solo-invariance: error: "
    assert lines[0].startswith(f"{start}solo-learn is broken: SOLO_LEARN_DIR={tmp_path}: no solo-learn")
    assert lines[1].startswith(f"{start}families: sunrise is broken: families plugin 'sunrise' of sun 1.0")
    assert len(lines) == 2
    assert "sun 1.0" in out
    assert "ventral" in out


def _cache_line() -> installation.Finding:
    return next(finding for finding in installation.doctor() if finding.what == "feature cache")


def test_the_feature_cache_says_where_it_is_how_large_and_its_limit(feature_cache, monkeypatch) -> None:
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE_GB", "2.5")
    unit = feature_cache / "ab" / f"{'ab' * 16}.npy"
    unit.parent.mkdir()
    with unit.open("wb") as file:
        file.truncate(300_000_000)
    assert _cache_line().found == f"0.3 of at most 2.5 GB in {feature_cache}"


def test_a_feature_cache_that_is_off_or_has_a_bad_limit(monkeypatch) -> None:
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE", "")
    assert (_cache_line().state, _cache_line().found) == ("ok", "turned off")
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE", "features")
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE_GB", "much")
    assert (_cache_line().state, _cache_line().found.split(":")[0]) == ("broken", "SOLO_INVARIANCE_CACHE_GB=much")
