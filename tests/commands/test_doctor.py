from solo_invariance.commands import doctor
from solo_invariance.hosts import plugins


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
    monkeypatch.setattr(doctor, "find_solo_learn", lambda: None)
    missing = {finding.what: finding for finding in doctor.examine() if finding.state == "missing"}
    assert "SOLO_LEARN_DIR" in missing["solo-learn"].advice


def test_a_broken_plugin_or_variable_is_exit_code_2_and_hides_nothing_else(cli, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SOLO_LEARN_DIR", str(tmp_path))
    broken = plugins.Plugin("families", "sunrise", "sun 1.0", plugins.EntryPoint("sunrise", "no_such_module:x", "g"))
    original = plugins.discover

    def discover(kind):
        return (*original(kind), broken) if kind == "families" else original(kind)

    monkeypatch.setattr(doctor, "discover", discover)
    code, out, err = cli("doctor")
    assert code == 2
    assert "broken: solo-learn, families: sunrise" in err
    assert "sun 1.0" in out
    assert "ventral" in out
