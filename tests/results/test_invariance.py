import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results import Estimate, InvarianceResult

Make = Callable[..., Any]


def test_reads_every_number_of_an_invariance_file(
    write_invariance: Make, make_transform: Make, make_view: Make
) -> None:
    file = write_invariance(
        "run", "ventral", transforms={"rotation": make_transform(0.75)}, views={"pose": make_view(0.5)}
    )
    result = InvarianceResult.read(file)
    rotation, pose = result.transforms["rotation"], result.views["pose"]
    assert (result.label, result.protocol, result.num_images, result.k, result.seed) == ("ventral", "clean", 256, 16, 7)
    assert rotation.parameters == ((0.0,), (90.0,), (180.0,))
    assert (rotation.kind, rotation.unit, rotation.identity) == ("spatial", "degrees", 0)
    assert (rotation.similarity.mean, rotation.similarity.ci95) == (0.75, (0.73, 0.77))
    assert rotation.curve == (1.0, 0.75, 0.5)
    assert (rotation.distance.low, rotation.distance.high) == (2.48, 2.52)
    assert rotation.similarity_without_identity == Estimate(mean=0.65, ci95=(0.65 - 0.02, 0.65 + 0.02))
    assert (pose.similarity.mean, pose.distance.mean, pose.num_groups, pose.num_views) == (0.5, 5.0, 64, 8)


def test_transforms_and_views_may_be_missing(write_invariance: Make) -> None:
    result = InvarianceResult.read(write_invariance("run", "ventral"))
    assert result.transforms == {}
    assert result.views == {}


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
        InvarianceResult.read(file)
    assert message in str(error.value)


def test_what_measuring_writes_is_read_and_written_again_as_it_was(written: Path, tmp_path: Path) -> None:
    content = json.loads((written / "measure/resnet10/invariance.json").read_text())
    assert {"rotation", "translation", "h_flip", "hue"} == content["transforms"].keys()
    assert content["views"]
    assert InvarianceResult.from_content(content).as_content() == content
    InvarianceResult.read(written / "measure/resnet10/invariance.json").write(tmp_path / "again" / "invariance.json")
    assert json.loads((tmp_path / "again" / "invariance.json").read_text()) == content


def test_what_measuring_writes_is_at_hand(written: Path) -> None:
    file = written / "measure/resnet10/invariance.json"
    content, result = json.loads(file.read_text()), InvarianceResult.read(file)
    rotation, there = result.transforms["rotation"], content["transforms"]["rotation"]
    assert rotation.similarity.mean == there["similarity"]["mean"]
    assert [rotation.similarity.low, rotation.similarity.high] == there["similarity"]["ci95"]
    assert rotation.similarity.standard_error == there["similarity"]["standard_error"]
    assert list(rotation.curve) == there["similarity"]["curve"]
    assert [parameter for (parameter,) in rotation.parameters] == there["parameters"]
    assert (
        list(map(list, result.transforms["translation"].parameters))
        == content["transforms"]["translation"]["parameters"]
    )
    assert rotation.metric("recall_at_1").mean == rotation.further["recall_at_1"].mean == there["recall_at_1"]["mean"]
    assert {"similarity", "similarity_without_identity", "distance", "mrr"} < rotation.metrics.keys()
    assert not {name for name in rotation.further if name.startswith(("similarity", "distance"))}
    view = next(iter(result.views.values()))
    assert view.metric("similarity_with_diagonal").mean > view.similarity.mean
    assert result.geometry == {"resize": 37, "crop_size": 32}
    assert result.reference is not None
    assert result.reference.num_images == 4
    with pytest.raises(KeyError, match="speed was not measured; there are similarity"):
        rotation.metric("speed")


def test_files_of_older_versions_are_read_and_written_as_they_were(
    write_invariance: Make, make_transform: Make, make_view: Make
) -> None:
    bare = make_transform(0.5, unit="", parameters=[False, True, [1]])
    del bare["identity"], bare["similarity_without_identity"], bare["distance"]["curve"]
    transforms = {"rotation": make_transform(0.75), "warp": bare}
    file = write_invariance("run", "ventral", transforms=transforms, views={"pose": make_view(0.5)})
    content = json.loads(file.read_text())
    result = InvarianceResult.read(file)
    assert result.transforms["warp"].parameters == ((0.0,), (1.0,), (1.0,))
    assert result.transforms["warp"].identity is None
    assert result.transforms["rotation"].similarity.standard_error is None
    assert (result.budget, result.reference, result.geometry) == (None, None, None)
    content["transforms"]["warp"]["parameters"][2] = 1
    assert result.as_content() == content
    del content["transforms"], content["views"]
    assert InvarianceResult.from_content(content).as_content() == content


def test_what_is_not_known_is_kept(write_invariance: Make, make_transform: Make) -> None:
    entry = make_transform(
        0.5, novel={"mean": 1.0, "ci95": [0.0, 2.0], "curve": [0, 1, 2], "note": "x"}, odd=[{"a": 1}]
    )
    file = write_invariance("run", "ventral", transforms={"hue": entry}, comment={"by": "hand"})
    result = InvarianceResult.read(file)
    assert result.transforms["hue"].further.keys() == {"novel"}
    assert result.transforms["hue"].metric("novel").curve == (0, 1, 2)
    assert result.as_content() == json.loads(file.read_text())


def test_other_metrics_are_checked_as_well(write_invariance: Make, make_transform: Make) -> None:
    entry = make_transform(0.5, mrr={"mean": "high", "ci95": [0, 1]})
    with pytest.raises(UserError, match=r"'transforms\.hue\.mrr\.mean' must be a finite number, not \"high\""):
        InvarianceResult.read(write_invariance("run", "ventral", transforms={"hue": entry}))


def test_it_is_shown_in_a_line_and_cannot_be_changed(written: Path) -> None:
    result = InvarianceResult.read(written / "measure/resnet10/invariance.json")
    assert len(repr(result)) < 300
    assert "rotation" in repr(result)
    assert "curve" not in repr(result.transforms["rotation"])
    with pytest.raises(ValueError, match="frozen"):
        result.k = 3  # type: ignore[misc]
