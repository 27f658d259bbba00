"""The page of a shaped backbone: before, after, what it cost, and the dial."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance import Backbone, ShapeSettings, UserError, load_backbone, measure, shape, transfer
from solo_invariance.backbones.resize_crop import ResizeCrop
from solo_invariance.config.task import TaskConfig
from solo_invariance.measure import MeasureSettings
from solo_invariance.results import DialCurve, InvarianceComparison, InvarianceResult, ShapingResult, TransferResult
from solo_invariance.shape import PageSettings, Shaped, write_page

HOW = MeasureSettings(k=3, num_images=12)
HUE = TaskConfig("hue", num_train=40, num_test=30, size=32)


@pytest.fixture
def photographs() -> Tensor:
    return torch.rand(40, 3, 20, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def others() -> Tensor:
    return torch.rand(30, 3, 36, 36, generator=torch.Generator().manual_seed(1))


def _dialled(backbone: Backbone, photographs: Tensor, strength: float = 0.6) -> Shaped:
    settings = ShapeSettings(k=3, options={"strength": strength})
    return shape(backbone, "dial", ["hue"], reference=photographs, settings=settings, device="cpu")


def test_before_and_after_are_what_measure_and_transfer_say(tiny_backbone, photographs, others, tmp_path) -> None:
    shaped = _dialled(tiny_backbone, photographs)
    how = PageSettings(["hue", "blur"], HOW, [HUE], strengths=[], device="cpu")
    page = write_page(shaped, others, tmp_path / "page", how)
    assert page == tmp_path / "page" / "report.html"
    for name, backbone in {"before": shaped.before, "after": shaped.backbone}.items():
        found = InvarianceResult.read(tmp_path / "page" / name / "invariance" / "invariance.json")
        expected = measure(backbone, others, ["hue", "blur"], HOW, device="cpu").only
        assert found.label == backbone.provenance.label
        for transform in ("hue", "blur"):
            assert found.transforms[transform].similarity == expected.transforms[transform].similarity
        scored = TransferResult.read(tmp_path / "page" / name / "transfer" / "hue" / "transfer.json")
        assert scored.score == transfer(backbone, HUE, device="cpu", cache=False).only.score
    compared = InvarianceComparison.read(tmp_path / "page" / "after" / "invariance" / "comparison.json")
    assert compared.label == "tiny dial:hue"
    assert ShapingResult.read(tmp_path / "page" / "shaped.json").label == "tiny dial:hue"
    text = page.read_text()
    assert "What shaping reached" in text
    assert "Differences" in text
    assert not (tmp_path / "page" / "dial.json").exists()
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "page").rglob("*.npz")}
    write_page(shaped, others, tmp_path / "page", how)
    assert written
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "page").rglob("*.npz")} == written


def test_the_dial_goes_from_the_backbone_to_what_is_left(tiny_backbone, photographs, others, tmp_path) -> None:
    shaped = _dialled(tiny_backbone, photographs)
    how = PageSettings(["hue"], HOW, [HUE], strengths=[0.8, 0, 0.4], device="cpu")
    text = write_page(shaped, others, tmp_path, how).read_text()
    curve = DialCurve.read(tmp_path / "dial.json")
    assert [point.strength for point in curve.points] == [0, 0.4, 0.8]
    assert curve.metrics == {"hue": "r2"}
    for point in curve.points:
        one = _dialled(tiny_backbone, photographs, point.strength)
        assert point.share["hue"] == pytest.approx(one.result.factors["hue"].share_after, abs=1e-6)
        assert point.directions == one.backbone.num_features - one.result.options["rank"]
        expected = measure(one.backbone, others, ["hue"], HOW, device="cpu").only.transforms["hue"].similarity
        assert point.similarity["hue"].mean == pytest.approx(expected.mean, abs=1e-5)
        score = transfer(one.backbone, HUE, device="cpu", cache=False).only.score
        assert point.scores["hue"].mean == pytest.approx(score.mean, abs=1e-4)
    assert curve.points[0].directions == shaped.backbone.num_features > curve.points[2].directions
    assert "invariance over strength" in text
    assert "hue, share of variance" in text
    assert "scores over strength" in text


def test_other_modes_have_no_dial(tiny_backbone: Backbone, photographs: Tensor, others: Tensor, tmp_path: Path) -> None:
    found = shape(tiny_backbone, "orbit", ["h_flip"], device="cpu")
    measuring = MeasureSettings(k=3, num_images=12, geometry=ResizeCrop(36, 32))  # as much cut off on either side
    text = write_page(found, others, tmp_path, PageSettings(["h_flip"], measuring, device="cpu")).read_text()
    assert "It takes 2 forward passes for each image" in text
    assert "over strength" not in text
    after = InvarianceResult.read(tmp_path / "after" / "invariance" / "invariance.json")
    assert after.transforms["h_flip"].distance.mean == pytest.approx(0, abs=1e-3)


def test_an_image_that_it_was_shaped_by_is_refused_before_anything_is_measured(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
) -> None:
    settings = ShapeSettings(k=2)
    shaped = shape(tiny_backbone, "erase", ["hue"], reference=photo_folder, settings=settings, device="cpu")
    with pytest.raises(UserError, match="was shaped by this image"):
        write_page(shaped, photo_folder, tmp_path / "page", PageSettings(["hue"], HOW, device="cpu"))
    assert not (tmp_path / "page" / "before").exists()


def test_shaping_again_with_other_options_is_shaping_with_these(tiny_backbone, photographs: Tensor) -> None:
    first = _dialled(tiny_backbone, photographs)
    images = torch.rand(3, 3, 32, 32)
    again, expected = first.again({"strength": 0.2}), _dialled(tiny_backbone, photographs, 0.2)
    assert torch.equal(again.backbone(images), expected.backbone(images))
    assert again.result.as_content() == expected.result.as_content()
    assert torch.equal(first.backbone(images), _dialled(tiny_backbone, photographs).backbone(images))
    with pytest.raises(UserError, match="does not take these options"):
        first.again({"colour": 1})


def test_the_command_writes_it(cli, host_checkpoint, photo_folder: Path, tmp_path: Path) -> None:
    keys = (
        "mode=dial",
        "transforms=[hue]",
        "options={strength: 0.5}",
        f"reference.path={photo_folder / 'train'}",
        "k=3",
    )
    where = (f"out={tmp_path / 's' / 'shaped.ckpt'}", f"page={tmp_path / 'page'}")
    what = (f"data.path={photo_folder / 'val'}", "measured=[hue,blur]", "num_images=8", "strengths=[0,1]")
    tasks = "tasks=[{name: hue, num_train: 40, num_test: 30, size: 32}]"
    code, out, err = cli("shape", f"backbone.checkpoint={host_checkpoint()}", *keys, *where, *what, tasks, "device=cpu")
    assert code == 0, err
    assert f"page: {tmp_path / 'page' / 'report.html'}" in out
    after = InvarianceResult.read(tmp_path / "page" / "after" / "invariance" / "invariance.json")
    assert list(after.transforms) == ["hue", "blur"]
    assert np.isfinite(DialCurve.read(tmp_path / "page" / "dial.json").points[1].scores["hue"].mean)
    assert load_backbone(tmp_path / "s" / "shaped.ckpt").provenance.label == after.label


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("page=p",), "set data.path=FOLDER or data.name=latent_scenes"),
        (("data.name=latent_scenes",), "data and tasks are for the page: page=FOLDER"),
        (("tasks=[hue]",), "data and tasks are for the page: page=FOLDER"),
        (("page=p", "data.name=latent_scenes", "strengths=[2]"), r"strengths=\[2.0\]: expected numbers from 0 to 1"),
        (("page=p", "data.name=latent_scenes", "measured=[sepia]"), "there is no 'sepia'"),
        (("page=p", "data.name=latent_scenes", "tasks=[sepia]"), "there is no .*'sepia'"),
    ],
)
def test_wrong_keys_are_one_line_and_leave_nothing(
    keys, message: str, cli, host_checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "s" / "shaped.ckpt"
    usual = (
        f"backbone.checkpoint={host_checkpoint()}",
        "mode=orbit",
        "transforms=[h_flip]",
        f"out={out}",
        "device=cpu",
    )
    code, _, err = cli("shape", *usual, *keys)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err)
    assert not out.exists()
    assert not Path("p").exists()
