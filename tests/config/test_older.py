"""What a key was called before is still read, and means the same."""

import pytest

from solo_invariance.backbones import BackboneConfig
from solo_invariance.config.composed import compose_command
from solo_invariance.config.older import in_todays_words, with_todays_names
from solo_invariance.config.reference import keys_of
from solo_invariance.errors import UserError


def test_an_older_name_of_a_key_is_read() -> None:
    for command in ("measure", "transfer"):
        config = compose_command(command, ["backbone.checkpoint=a.pth", "backbone.key=student"])
        assert config.backbone.weights == "student"
    assert in_todays_words(["+backbone.key=a", "--multirun", "backbone.key=a,b"])[0] == "+backbone.weights=a"
    assert BackboneConfig(checkpoint="a.pth", key="student") == BackboneConfig(checkpoint="a.pth", weights="student")
    assert with_todays_names("backbone", {"checkpoint": "a", "key": "b"}) == {"checkpoint": "a", "weights": "b"}


def test_a_key_by_both_of_its_names_is_refused() -> None:
    message = r"backbone\.key and backbone\.weights: the first is an older name of the second"
    both = ["backbone.checkpoint=a.pth", "backbone.key=student", "backbone.weights=teacher"]
    with pytest.raises(UserError, match=message):
        compose_command("measure", both)
    with pytest.raises(UserError, match=message):
        BackboneConfig(checkpoint="a.pth", key="student", weights="teacher")
    with pytest.raises(UserError, match=message):
        with_todays_names("backbone", {"key": "a", "weights": "b"})


def test_todays_name_alone_is_explained() -> None:
    names = {key.name for command in ("measure", "transfer") for key in keys_of(command)}
    assert "backbone.weights" in names
    assert "backbone.key" not in names
