import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results.documents import Estimate, InvarianceResult, TransferResult, read_result

Make = Callable[..., Any]


def test_reads_every_number_of_an_invariance_file(
    write_invariance: Make, make_transform: Make, make_view: Make
) -> None:
    file = write_invariance(
        "run", "ventral", transforms={"rotation": make_transform(0.75)}, views={"pose": make_view(0.5)}
    )
    result = read_result(file)
    assert isinstance(result, InvarianceResult)
    rotation, pose = result.transforms["rotation"], result.views["pose"]
    assert (result.label, result.protocol, result.num_images, result.k, result.seed) == ("ventral", "clean", 256, 16, 7)
    assert rotation.parameters == ((0.0,), (90.0,), (180.0,))
    assert (rotation.kind, rotation.unit, rotation.identity) == ("spatial", "degrees", 0)
    assert rotation.similarity == Estimate(0.75, 0.73, 0.77)
    assert rotation.curve == (1.0, 0.75, 0.5)
    assert rotation.distance == Estimate(2.5, 2.48, 2.52)
    assert rotation.similarity_without_identity == Estimate(0.65, 0.65 - 0.02, 0.65 + 0.02)
    assert (pose.similarity.mean, pose.distance.mean, pose.num_groups, pose.num_views) == (0.5, 5.0, 64, 8)


def test_reads_every_number_of_a_transfer_file(write_transfer: Make) -> None:
    result = read_result(write_transfer("run", "ventral", "shape", 0.5, penalty=None))
    assert isinstance(result, TransferResult)
    assert (result.task, result.metric, result.score) == ("shape", "accuracy", Estimate(0.5, 0.48, 0.52))
    assert (result.penalty, result.folds, result.probe) == (None, 5, "logistic")
    assert (result.num_train, result.num_test, result.protocol) == (1000, 500, None)
    assert (result.backbone.name, result.backbone.checkpoint, result.backbone.num_features) == (
        "resnet10",
        "ventral.ckpt",
        128,
    )


def test_transforms_and_views_may_be_missing(write_invariance: Make) -> None:
    result = read_result(write_invariance("run", "ventral"))
    assert isinstance(result, InvarianceResult)
    assert result.transforms == {}
    assert result.views == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "expected schema 1, found 2"),
        ({"schema": None}, "expected schema 1, found None"),
        ({"kind": "transfer"}, "key 'kind' must be 'invariance', not \"transfer\""),
        ({"label": " "}, "key 'label' must be a text"),
        ({"num_images": 2.5}, "key 'num_images' must be a whole number, not 2.5"),
        ({"seed": True}, "key 'seed' must be a whole number, not true"),
        ({"backbone": {}}, "key 'backbone.name' is missing"),
        ({"config": []}, "key 'config' must be a mapping"),
    ],
)
def test_names_the_file_and_the_key(write_invariance: Make, changes: dict[str, Any], message: str) -> None:
    file = write_invariance("run", "ventral", **changes)
    with pytest.raises(UserError) as error:
        read_result(file)
    assert str(error.value).startswith(f"{file}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"distance": {"mean": float("nan"), "ci95": [0, 1]}},
            "'transforms.hue.distance.mean' must be a finite number",
        ),
        ({"distance": {"mean": 1, "ci95": [1]}}, "'transforms.hue.distance.ci95' must be [low, high], not [1]"),
        ({"distance": {"mean": 1, "ci95": [2, 1]}}, "'transforms.hue.distance.ci95' must be [low, high], not [2, 1]"),
        ({"parameters": [0, 1]}, "'transforms.hue.similarity.curve' must be a list of 2 numbers, one per parameter"),
        (
            {"parameters": [0, [1, 2], 3]},
            "'transforms.hue.parameters' must be a list of numbers, or of lists of the same",
        ),
        ({"parameters": [0, "x", 3]}, "'transforms.hue.parameters[1]' must be a finite number, not \"x\""),
        ({"identity": 3}, "'transforms.hue.identity' must be the index of a parameter (0 to 2) or null, not 3"),
    ],
)
def test_names_the_key_inside_a_transform(
    write_invariance: Make, make_transform: Make, changes: dict[str, Any], message: str
) -> None:
    file = write_invariance("run", "ventral", transforms={"hue": make_transform(0.5, **changes)})
    with pytest.raises(UserError) as error:
        read_result(file)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2", b"\xff\xfe"])
def test_a_broken_file_is_an_error_that_says_what_to_do(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "transfer.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"transfer\.json: is not valid JSON .* Write the result again or remove it\."):
        read_result(file)


def test_a_document_that_is_no_mapping_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "transfer.json"
    file.write_text(json.dumps([1]))
    with pytest.raises(UserError, match="the document must be a mapping, not"):
        read_result(file)
