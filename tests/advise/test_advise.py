"""Advice is right on tasks whose wanted invariances were put there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from solo_invariance import AdviseSettings, UserError, advise
from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.results import AdviseResult, read_result
from tests.advise.planted import SIDE, planted


def _advice(name: str, seed: int, **options: Any) -> AdviseResult:
    return advise(planted(name, seed), **{"crop_size": SIDE, "transforms": [], "cache": False, **options})


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("name", "family"), [("hue", "ventral"), ("angle", "dorsal"), ("size", "default"), ("both", "identity")]
)
def test_the_family_is_recommended_whose_invariances_the_task_wants(name: str, family: str, seed: int) -> None:
    found = _advice(name, seed)
    assert found.families[0].name == family
    assert found.families[0].first > 0.7
    assert family in found.recommended
    never = {"hue": {"dorsal"}, "angle": {"ventral", "default"}, "both": {"ventral", "dorsal", "default"}}
    assert not never.get(name, set()) & {*found.recommended}
    assert sum(one.first for one in found.families) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_there_is_no_advice_on_a_task_that_is_not_learnt(seed: int) -> None:
    found = _advice("nothing", seed)
    assert (found.verdict, found.learnt, found.recommended, found.families) == ("no advice", False, (), ())
    assert "the task is not learnt" in found.remarks[0]


def test_where_all_augmentation_costs_a_fusion_is_spoken_of() -> None:
    assert "fuse backbones of several families" in _advice("both", 0).remarks[0]


def test_transforms_say_which_changes_the_task_can_do_without() -> None:
    found = {one.name: one for one in _advice("hue", 0, transforms=["hue", "rotation", "h_flip"]).transforms}
    assert [one.kind for one in found.values()] == ["spatial", "spatial", "appearance"]
    cost = {name: one.effect.cost for name, one in found.items() if one.effect}
    assert cost["hue"].mean > 0.9  # any hue is as likely as any other then
    assert max(cost["h_flip"].mean, cost["rotation"].mean) < 0.05
    assert {name: one.effect.change.mean > 0.5 for name, one in found.items() if one.effect} == {
        "rotation": False,
        "h_flip": False,
        "hue": True,
    }


def test_identity_costs_nothing_and_gains_nothing() -> None:
    found = _advice("angle", 1, families=["ventral", "identity"])
    effect = next(one.effect for one in found.families if one.name == "identity")
    assert effect is not None
    assert (effect.strength, effect.change.mean, effect.cost.mean, effect.gain.mean) == (0, 0, 0, 0)


def test_families_may_be_composed_or_written_out() -> None:
    mirror = {"name": "mirror", "operations": [{"vertical_flip": {"p": 0.5}}]}
    found = _advice("hue", 1, families=[["ventral", "occlusion"], mirror, "identity"])
    assert {one.name for one in found.families} == {"ventral+occlusion", "mirror", "identity"}
    assert found.families[0].name == "ventral+occlusion"


def test_labels_are_advised_on_too() -> None:
    images, targets, test_images, test_targets = planted("angle", 2)
    labels, test_labels = targets > 0, test_targets > 0
    found = advise((images, labels, test_images, test_labels), crop_size=SIDE, transforms=[], cache=False)
    assert found.metric == "mean_average_precision"
    assert found.families[0].name == "dorsal"


def test_a_backbone_of_ones_own_is_read() -> None:
    """The mean colour shows no angle."""
    pooled = Backbone.of(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), SIDE, label="mean colour")
    assert _advice("angle", 0, backbone=pooled).verdict == "no advice"
    found = _advice("hue", 0, backbone=pooled)
    assert (found.label, found.families[0].name) == ("mean colour", "ventral")


def test_the_same_seed_gives_the_same_advice_whatever_the_batch_size(tmp_path: Path) -> None:
    one, other = (
        _advice("hue", 0, settings=AdviseSettings(batch_size=size), families=["ventral", "dorsal"]) for size in (7, 64)
    )
    for first, second in zip(one.families, other.families, strict=True):
        assert first.effect is not None
        assert second.effect is not None
        assert first.effect.cost.mean == pytest.approx(second.effect.cost.mean, abs=1e-4)
        assert first.first == pytest.approx(second.first, abs=0.01)


def test_it_is_written_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _advice("hue", 0, families=["ventral", "dorsal"], out=tmp_path / "out")
    assert read_result(tmp_path / "out" / "advice.json") == found

    def fail(*_: object) -> None:
        raise AssertionError("looked at again")

    monkeypatch.setattr("solo_invariance.advise.reading.Bench.effect", fail)
    assert _advice("hue", 0, families=["ventral", "dorsal"], out=tmp_path / "out") == found
    with pytest.raises(UserError, match=r"out=.*: holds results of another run \(k: 4 there, 3 now\)"):
        _advice("hue", 0, families=["ventral", "dorsal"], out=tmp_path / "out", settings=AdviseSettings(k=3))
    with pytest.raises(UserError, match="images: "):
        _advice("hue", 1, families=["ventral", "dorsal"], out=tmp_path / "out")


def _few() -> dict[str, Any]:
    images, targets, test_images, test_targets = planted("size", 0)
    return {"task": (images, targets, test_images[:20], test_targets[:20])}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (lambda: {"families": ["ventral"]}, "families=.*: expected at least two to choose from"),
        (lambda: {"families": ["ventral", "ventrl"]}, "families: .*'ventrl'; did you mean 'ventral'"),
        (lambda: {"families": ["ventral", "ventral"]}, "families: ventral is there twice"),
        (lambda: {"transforms": ["hues"]}, "there is no 'hues'; did you mean 'hue'"),
        (lambda: {"crop_size": 16}, "backbone.crop_size=16: untrained filters need at least 32 pixels"),
        (lambda: {"task": ["shape", "hue"]}, "task: 2 tasks, expected one"),
        (_few, "task.name=own: 20 test images, advice needs 40 at least"),
    ],
)
def test_what_cannot_be_advised_on_is_refused(options: Callable[[], dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        advise(**{"task": "shape", "transforms": [], **options()})


@pytest.mark.parametrize(
    ("key", "value"), [("tolerance", 1.0), ("smallest", -0.1), ("k", 1), ("num_images", 39), ("batch_size", 0)]
)
def test_settings_that_mean_nothing_are_refused(key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{key}={value}: expected"):
        AdviseSettings(**{key: value})


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    _advice("hue", 0, families=["ventral", "dorsal"])
    assert torch.equal(torch.get_rng_state(), before)


def test_other_weights_in_a_file_of_the_same_name_are_other_advice(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    for seed in (0, 1):
        torch.save(load_backbone("random:resnet10w025", seed).network.state_dict(), path)
        known = BackboneConfig(checkpoint=str(path), name="resnet10w025", crop_size=SIDE)
        if seed == 0:
            first = _advice("hue", 0, families=["ventral", "identity"], backbones=[known], out=tmp_path / "out")
            again = _advice("hue", 0, families=["ventral", "identity"], backbones=[known], out=tmp_path / "out")
            assert again.timings == first.timings  # it was read
        else:
            with pytest.raises(UserError, match="holds results of another run"):
                _advice("hue", 0, families=["ventral", "identity"], backbones=[known], out=tmp_path / "out")
