"""Claims are read from plain keys and values, and refused before anything is trained."""

from typing import Any

import pytest

from solo_invariance.config.claims import Claim, Role, claims_from, members_of, require_judgeable
from solo_invariance.errors import UserError

ARMS: dict[str, Role] = {
    "default": "trained",
    "ventral": "trained",
    "untrained": "untrained",
    "default x3": "wide",
    "D+V": "fusion",
    "D+D+D": "ensemble",
}
KINDS = {
    "invariance/hue": "appearance",
    "invariance/blur": "appearance",
    "invariance/shift": "spatial",
    "views/pose": "spatial",
    "score/hue": "",
    "score/shape": "",
    "projected/hue": "",
}
DIFFERENCE = {
    "finding": "2a",
    "says": "hue wants ventral",
    "of": "score/hue",
    "arm": "ventral",
    "against": "default",
    "smallest": 0.02,
}
CORRELATION = {
    "finding": "1c",
    "says": "hue carries over",
    "between": ["invariance/hue", "views/pose"],
    "expect": "positive",
    "smallest": 0.2,
}


def _read(entry: Any) -> Claim:
    return claims_from({"hue": entry})[0]


def _require(entry: Any) -> None:
    require_judgeable(claims_from({"hue": entry}), ARMS, KINDS)


def test_what_is_written_is_read() -> None:
    difference, correlation = claims_from({"a": {**DIFFERENCE, "finding": 2}, "b": CORRELATION})
    assert (difference.name, difference.finding, difference.smallest) == ("a", "2", 0.02)
    assert (difference.of, difference.arm, difference.against) == (("score/hue",), "ventral", ("default",))
    assert (correlation.between, correlation.expect) == (("invariance/hue", "views/pose"), "positive")
    require_judgeable([difference, correlation], ARMS, KINDS)


def test_what_names_stand_for() -> None:
    assert members_of("invariance/appearance", KINDS) == ("invariance/hue", "invariance/blur")
    assert members_of("views/spatial", KINDS) == ("views/pose",)
    assert members_of("rank/score", KINDS) == ("score/hue", "score/shape")
    assert members_of("rank/projected", KINDS) == ("projected/hue",)
    assert members_of("views/appearance", KINDS) == members_of("invariance/", KINDS) == members_of("score", KINDS) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agianst": "default"}, "study.claims: hue: there is no key 'agianst'; did you mean 'against'?"),
        ({"finding": None}, "study.claims: hue: finding is missing"),
        ({"says": ""}, "study.claims: hue: says is missing"),
        ({"arm": ""}, "study.claims: hue: arm is missing"),
        ({"against": []}, "study.claims: hue: against is missing"),
        ({"smallest": None}, "study.claims: hue: smallest is missing"),
        ({"smallest": 0}, "smallest=0: expected a number above 0"),
        ({"smallest": "much"}, "smallest=much: expected a number above 0"),
        ({"smallest": float("nan")}, "smallest=nan: expected a number above 0"),
        ({"smallest": True}, "smallest=True: expected a number above 0"),
        ({"of": 3}, "of=3: expected a name or a list of names"),
        ({"of": {"score/hue": 1}}, "expected a name or a list of names"),
        ({"against": ["default", "default"]}, "against: names 'default' twice"),
        ({"expect": "positive"}, "has of and expect; a claim has of, arm and against, or between and expect"),
        ({"between": ["score/hue", "invariance/hue"]}, "has between and of"),
        ({"over": ["default"]}, "has of and over"),
    ],
)
def test_claims_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        _read({**DIFFERENCE, **changes})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"between": ["score/hue"]}, "between=['score/hue']: expected two quantities"),
        ({"expect": "large"}, "expect=large: expected positive or negative"),
        ({"expect": None}, "expect is missing"),
    ],
)
def test_correlations_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        _read({**CORRELATION, **changes})
    assert message in str(refused.value)


def test_what_is_no_mapping() -> None:
    with pytest.raises(UserError, match=r"study\.claims: hue: expected keys and values"):
        _read("ventral is better")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": "score/heu"}, "study.claims: hue: of=score/heu: there is no such quantity; did you mean 'score/hue'?"),
        ({"of": "invariance/appearence"}, "did you mean 'invariance/appearance'?"),
        ({"of": "rank/scores"}, "did you mean 'rank/score'?"),
        ({"arm": "ventrl"}, "study.claims: hue: arm=ventrl: there is no such arm; did you mean 'ventral'?"),
        ({"against": "dfault"}, "against=dfault: there is no such arm; did you mean 'default'?"),
        ({"against": "best singel"}, "did you mean 'best single'?"),
        ({"against": ["default", "ventral"]}, "against=ventral: is the claim's own arm"),
        (
            {"of": "rank/score", "against": "D+D+D"},
            "of=rank/score: ranks are among trained arms of one seed, and D+D+D is an ensemble",
        ),
        ({"of": "rank/score", "against": "untrained"}, "of one seed, and untrained is untrained"),
        ({"of": ["rank/score", "score/hue"]}, "of=score/hue: has no mean with ranks"),
        (
            {"of": "invariance/hue", "against": "D+D+D"},
            "of=invariance/hue: is not measured of D+D+D: ensembles of seeds",
        ),
    ],
)
def test_claims_that_cannot_be_judged(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        _require({**DIFFERENCE, **changes})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"between": ["invariance/heu", "score/hue"]}, "between=invariance/heu: there is no such quantity"),
        ({"between": ["rank/score", "score/hue"]}, "between=rank/score: expected quantities"),
        ({"over": ["default", "D+V", "nobody"]}, "over=nobody: there is no such arm"),
        ({"over": ["default", "D+V", "D+D+D"]}, "over=D+D+D: is an ensemble of seeds"),
        ({"over": ["default", "D+V"]}, "between: a rank correlation is over 3 arms at least, not 2"),
    ],
)
def test_correlations_that_cannot_be_judged(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        _require({**CORRELATION, **changes})
    assert message in str(refused.value)


def test_the_best_of_no_other_arm() -> None:
    claims = claims_from({"hue": {**DIFFERENCE, "against": "best single"}})
    require_judgeable(claims, ARMS, KINDS)
    with pytest.raises(UserError, match="there is no other arm that is trained"):
        require_judgeable(claims, {"ventral": "trained", "untrained": "untrained"}, KINDS)


def test_a_correlation_of_few_arms_by_default_leaves_out_fusions() -> None:
    few: dict[str, Role] = {"a": "trained", "b": "trained", "a+b": "fusion", "a+a+a": "ensemble"}
    with pytest.raises(UserError, match="at least, not 2"):
        require_judgeable(claims_from({"hue": CORRELATION}), few, KINDS)
