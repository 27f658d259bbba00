from solo_invariance import installation, plugins


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
    missing = {finding.what: finding for finding in installation.doctor() if finding.state == "missing"}
    assert "SOLO_LEARN_DIR" in missing["solo-learn"].advice


def test_a_broken_plugin_or_variable_is_exit_code_2_and_hides_nothing_else(cli, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SOLO_LEARN_DIR", str(tmp_path))
    broken = plugins.Plugin("families", "sunrise", "sun 1.0", plugins.EntryPoint("sunrise", "no_such_module:x", "g"))
    original = plugins.discover

    def discover(kind):
        return (*original(kind), broken) if kind == "families" else original(kind)

    monkeypatch.setattr(installation, "discover", discover)
    code, out, err = cli("doctor")
    assert code == 2
    assert "broken: solo-learn, families: sunrise" in err
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
