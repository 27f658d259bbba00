from importlib.metadata import EntryPoint

import pytest

from solo_invariance import plugins
from solo_invariance.errors import UserError
from solo_invariance.families import ventral


class _Distribution:
    name, version = "sunset-families", "2.1"


def _entry_points(*pairs: tuple[str, str]):
    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group)._for(_Distribution()) for name, value in pairs]  # type: ignore[attr-defined]

    return found


@pytest.fixture(autouse=True)
def _forget():
    plugins.discover.cache_clear()
    yield
    plugins.discover.cache_clear()


def test_ours_come_by_entry_points_like_anybodys() -> None:
    names = {plugin.name: plugin.distribution.split()[0] for plugin in plugins.discover("families")}
    assert {"default", "ventral", "dorsal"} <= set(names)
    assert names["ventral"] == "solo-invariance"
    assert plugins.load_plugin("families", "ventral") is ventral


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"families: there is no 'ventrl'; did you mean 'ventral'\? known: .*dorsal"):
        plugins.load_plugin("families", "ventrl")


def test_a_plugin_that_fails_to_load_is_named_with_its_distribution_and_stops_nothing_else(monkeypatch) -> None:
    pairs = (("broken", "no_such_module:family"), ("works", "solo_invariance.families.paper:dorsal"))
    monkeypatch.setattr(plugins, "entry_points", _entry_points(*pairs))
    assert plugins.load_plugin("families", "works").name == "dorsal"
    with pytest.raises(UserError, match=r"families plugin 'broken' of sunset-families 2\.1 .*No module named"):
        plugins.load_plugin("families", "broken")


def test_two_plugins_of_one_name_are_ambiguous(monkeypatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", _entry_points(("twin", "a:b"), ("twin", "c:d")))
    with pytest.raises(UserError, match="'twin' is ambiguous"):
        plugins.load_plugin("families", "twin")
