"""Shaping real features of images: what it reaches, what is written, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from solo_invariance import (
    Backbone,
    ShapeSettings,
    TaskConfig,
    UserError,
    export,
    fuse,
    load_backbone,
    measure,
    shape,
    transfer,
)
from solo_invariance.config.measure import ReferenceConfig
from solo_invariance.data.sources import image_source
from solo_invariance.measure import MeasureSettings
from solo_invariance.measure.named import transforms_named
from solo_invariance.results import ShapingResult, read_result
from solo_invariance.shape import Shaped
from solo_invariance.shape.images import ShapingImages

FEW = ShapeSettings(k=4)


class _Colours(nn.Module):
    """Mean colours of the four quarters, so that what light does to features is linear."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def colours() -> Backbone:
    return Backbone.of(_Colours(), crop_size=16, label="colours")


@pytest.fixture
def photographs() -> Tensor:
    return torch.rand(80, 3, 20, 20, generator=torch.Generator().manual_seed(0)).mul(0.3).add(0.1)


def test_erase_hides_what_a_linear_probe_read(colours: Backbone, photographs: Tensor) -> None:
    found = shape(colours, "erase", ["brightness"], reference=photographs, settings=FEW, device="cpu")
    (reached,) = found.result.factors.values()
    assert found.backbone.provenance.label == "colours erase:brightness"
    assert found.result.num_images == 64
    assert found.result.num_held_out == 16
    assert reached.readout_before is not None
    assert reached.readout_after is not None
    assert reached.readout_before > 0.8
    assert reached.readout_after < 0.05
    assert reached.missed is None
    assert reached.changed == pytest.approx(reached.share_before, abs=0.05)


def test_orbit_is_exact_for_flips_and_costs_their_number(tiny_backbone: Backbone, photographs: Tensor) -> None:
    found = shape(tiny_backbone, "orbit", ["h_flip", "v_flip"], reference=photographs, settings=FEW, device="cpu")
    images = photographs[:5]
    for moved in (images.flip(-1), images.flip(-2), images.flip(-1).flip(-2)):
        torch.testing.assert_close(found.backbone(moved), found.backbone(images), atol=1e-5, rtol=1e-5)
    assert found.result.passes_per_image == 4
    assert found.result.num_images == 0
    for reached in found.result.factors.values():
        assert reached.taken_out == pytest.approx(1, abs=1e-6)
        assert reached.share_before > 0.01
    assert found.backbone.fitted_on == frozenset()


def test_orbit_of_a_grid_says_what_is_left(tiny_backbone: Backbone, photographs: Tensor) -> None:
    found = shape(tiny_backbone, "orbit", ["brightness"], reference=photographs, settings=FEW, device="cpu")
    (reached,) = found.result.factors.values()
    assert reached.missed is not None
    assert f"{1 - reached.taken_out:.2f} of what it makes is left" in reached.missed


def test_dial_goes_from_the_backbone_to_invariance(tiny_backbone: Backbone, photographs: Tensor) -> None:
    def dialled(strength: float) -> Shaped:
        settings = ShapeSettings(k=4, options={"strength": strength})
        return shape(tiny_backbone, "dial", ["brightness"], reference=photographs, settings=settings, device="cpu")

    found = [dialled(strength) for strength in (0, 0.4, 0.8)]
    taken_out = [one.result.factors["brightness"].taken_out for one in found]
    assert taken_out[0] == 0
    assert taken_out == sorted(taken_out)
    assert taken_out[-1] > 0.3
    images = torch.rand(3, 3, 32, 32)
    assert torch.equal(found[0].backbone(images), tiny_backbone(images))


@pytest.mark.parametrize(("keep", "closenesses"), [("invariant", (0.3, 10.0)), ("sensitive", (0.03, 1.0))])
def test_adapt_moves_what_a_transform_makes_as_far_as_closeness_lets_it(keep, closenesses, tiny_backbone) -> None:
    def adapted(closeness: float, seed: int = 0) -> Shaped:
        options = {"keep": keep, "closeness": closeness, "epochs": 30, "lr": 0.003}
        settings = ShapeSettings(k=4, options=options, seed=seed)
        scenes = ReferenceConfig(name="latent_scenes", num_images=400, size=36)
        return shape(tiny_backbone, "adapt", ["hue"], reference=scenes, settings=settings, device="cpu")

    free, close = (adapted(closeness) for closeness in closenesses)
    for one in (free, close):
        (reached,) = one.result.factors.values()
        assert reached.missed is None
        assert (reached.share_after < reached.share_before - 0.03) == (keep == "invariant")
        assert (reached.share_after > reached.share_before + 0.03) == (keep == "sensitive")
    moved = [one.result.factors["hue"].changed for one in (free, close)]
    assert moved[0] > 1.5 * moved[1] > 0
    images = torch.rand(3, 3, 32, 32)
    if keep == "invariant":
        assert torch.equal(adapted(closenesses[0]).backbone(images), free.backbone(images))
        assert not torch.equal(adapted(closenesses[0], seed=1).backbone(images), free.backbone(images))


def test_adapt_that_helps_no_other_image_is_the_backbone(tiny_backbone: Backbone, photographs: Tensor) -> None:
    settings = ShapeSettings(k=4, options={"closeness": 1e6, "epochs": 3})
    found = shape(tiny_backbone, "adapt", ["brightness"], reference=photographs, settings=settings, device="cpu")
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(found.backbone(images), tiny_backbone(images))
    assert found.result.factors["brightness"].missed is not None


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("adapt", {"epochs": 2}),
        ("erase", {}),
        ("dial", {"strength": 0.5}),
        ("orbit", {}),
        ("erase", {"concept": "levels"}),
    ],
)
def test_a_checkpoint_is_read_wherever_a_backbone_is(mode, options, host_checkpoint, photographs, tmp_path) -> None:
    out = tmp_path / "shaped" / "shaped.ckpt"
    settings = ShapeSettings(k=3, options=options)
    found = shape(host_checkpoint(), mode, ["hue"], reference=photographs, settings=settings, out=out, device="cpu")
    again, images = load_backbone(out), torch.rand(4, 3, 32, 32)
    assert torch.equal(again(images), found.backbone(images))
    assert again.provenance.label == found.result.label == f"ventral {mode}:hue"
    assert read_result(out.with_suffix(".json")).as_content() == found.result.as_content()
    assert ShapingResult.read(out.with_suffix(".json")).mode == mode
    both = fuse([str(host_checkpoint("default", 1)), str(out)], out=tmp_path / "both" / "fused.ckpt")
    fused = load_backbone(tmp_path / "both" / "fused.ckpt")
    assert fused.num_features == 2 * again.num_features
    torch.testing.assert_close(fused(images), both(images))
    torch.testing.assert_close(fused(images)[:, again.num_features :], again(images))
    assert fused.fitted_on == found.backbone.fitted_on
    twice = shape(str(out), "erase", ["blur"], reference=photographs, settings=FEW, out=tmp_path / "twice" / "2.ckpt")
    torch.testing.assert_close(load_backbone(tmp_path / "twice" / "2.ckpt")(images), twice.backbone(images))
    assert twice.backbone.provenance.label == f"ventral {mode}:hue erase:blur"
    score = transfer(str(out), TaskConfig("hue", num_train=40, num_test=30, size=32), device="cpu")
    assert np.isfinite(score.only.score.mean)


@pytest.mark.parametrize("mode", ["erase", "orbit"])
def test_it_is_exported(mode: str, host_checkpoint, photographs: Tensor, tmp_path: Path) -> None:
    found = shape(host_checkpoint(), mode, ["h_flip"], reference=photographs, settings=FEW, device="cpu")
    images = torch.rand(3, 3, 32, 32)
    export(found.backbone, tmp_path / "folder")
    assert torch.equal(load_backbone(tmp_path / "folder")(images), found.backbone(images))
    card = (tmp_path / "folder" / "README.md").read_text()
    assert f"| shaped | by `{mode}`: `h_flip` |" in card
    assert ("2 views of each image by `h_flip`" in card) == (mode == "orbit")
    if mode == "orbit":
        with pytest.raises(UserError, match="averaged over views need solo-invariance, which makes the views"):
            export(found.backbone, tmp_path / "program.pt2")
    else:
        export(found.backbone, tmp_path / "program.pt2")
        program = torch.export.load(tmp_path / "program.pt2").module()
        torch.testing.assert_close(program(images), found.backbone(images), atol=1e-5, rtol=1e-4)


def test_what_it_was_shaped_by_is_not_measured_or_scored(tiny_backbone: Backbone, photo_folder: Path) -> None:
    folder = photo_folder / "train"
    shaped = shape(tiny_backbone, "erase", ["hue"], reference=folder, settings=FEW, device="cpu").backbone
    how = MeasureSettings(k=2, num_images=12)
    with pytest.raises(UserError, match=r"\.jpg: tiny erase:hue was shaped by this image"):
        measure(shaped, folder, ["hue"], how, device="cpu")
    assert measure(shaped, photo_folder / "val", ["hue"], how, reference=folder, device="cpu").only.transforms
    other = shape(tiny_backbone, "erase", ["hue"], reference=photo_folder / "val", settings=FEW, device="cpu").backbone
    with pytest.raises(UserError, match="test images are among those"):
        transfer(other, TaskConfig("folder", path=str(photo_folder)), device="cpu")


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of images of two sites, one of which is redder, and a table that says of which each is."""
    draw = np.random.default_rng(0)
    folder, rows = tmp_path / "slides", ["image,site"]
    folder.mkdir()
    for index in range(150):
        pixels = draw.integers(60, 160, (20, 20, 3))
        site = "b" if index % 3 == 0 else "a"
        pixels[..., 0] += 60 * (site == "b")
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
        rows.append(f"{index}.png,{site}")
    table = tmp_path / "sites.csv"
    table.write_text("\n".join(rows))
    return folder, table


@pytest.mark.parametrize("mode", ["erase", "centre"])
def test_a_column_of_a_table_is_a_factor(mode, colours: Backbone, sites: tuple[Path, Path]) -> None:
    folder, table = sites
    settings = ShapeSettings(held_out=0.4)
    found = shape(colours, mode, reference=folder, table=table, column="site", settings=settings, device="cpu")
    (reached,) = found.result.factors.values()
    assert reached.kind == "column"
    assert reached.levels == 2
    assert reached.readout_before is not None
    assert reached.readout_after is not None
    assert reached.readout_before > 0.9
    assert reached.readout_after < 0.1
    assert reached.share_before > 0.05
    assert reached.share_after < 0.03  # one number of 60 images explains 0.017 of anything
    assert reached.changed == pytest.approx(reached.share_before, abs=0.05)  # it moves what the site makes, no more


def test_a_centred_checkpoint_is_of_a_group(colours, sites, host_checkpoint, tmp_path: Path) -> None:
    folder, table = sites
    out = tmp_path / "centred" / "centred.ckpt"
    how = {"reference": folder, "table": table, "column": "site", "settings": FEW, "device": "cpu"}
    shape(host_checkpoint(), "centre", out=out, **how)
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(UserError, match=r"backbone.kwargs.group=a\|b"):
        load_backbone(out)(images)
    of_groups = [load_backbone(out, kwargs={"group": group})(images) for group in "ab"]
    assert (of_groups[0] - of_groups[1]).abs().max() > 0.01
    with pytest.raises(UserError, match="group=c, expected one of a, b"):
        load_backbone(out, kwargs={"group": "c"})


@pytest.mark.parametrize(
    ("mode", "arguments", "message"),
    [
        ("blend", {"transforms": ["hue"]}, "mode: there is no 'blend'"),
        ("erase", {}, r"mode=erase: what is to be changed\? transforms=\[hue\]"),
        ("erase", {"transforms": ["hue"]}, "mode=erase is fitted to images: name them, reference.path=FOLDER"),
        ("erase", {"transforms": ["sepia"]}, "there is no 'sepia'"),
        ("orbit", {"column": "site", "table": "x.csv"}, "column.name=site: mode=orbit is for transforms"),
        ("centre", {"transforms": ["hue"]}, "mode=centre is for a column of a table"),
        ("erase", {"column": "site"}, "column.table and column.name go together"),
        ("erase", {"column": "site", "table": "no.csv", "reference": "."}, r"column\.table: no such file"),
        ("adapt", {"transforms": ["hue"], "reference": torch.rand(9, 3, 32, 32)}, "7 images are too few to train on"),
        ("adapt", {"transforms": ["hue"], "reference": torch.zeros(20, 3, 32, 32)}, "at least 2"),
        ("dial", {"transforms": ["hue"], "reference": torch.rand(9, 3, 32, 32)}, "expected a strength from 0 to 1"),
        ("erase", {"transforms": ["hue"], "reference": torch.rand(1, 3, 32, 32)}, "there are 1 images, at least 2"),
    ],
)
def test_what_cannot_be_shaped_is_refused(mode, arguments, message: str, tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match=message):
        shape(tiny_backbone, mode, device="cpu", **arguments)


def test_options_of_another_mode_are_refused(tiny_backbone: Backbone, photographs: Tensor) -> None:
    settings = ShapeSettings(options={"strength": 0.5})
    with pytest.raises(UserError, match="mode=erase does not take these options: strength"):
        shape(tiny_backbone, "erase", ["hue"], reference=photographs, settings=settings)


def test_nothing_else_is_overwritten(host_checkpoint, photographs: Tensor, tmp_path: Path) -> None:
    path = host_checkpoint()
    with pytest.raises(UserError, match="is what it is made of"):
        shape(path, "erase", ["hue"], reference=photographs, settings=FEW, out=path)
    out = tmp_path / "a" / "shaped.ckpt"
    shape(path, "erase", ["hue"], reference=photographs, settings=FEW, out=out, device="cpu")
    with pytest.raises(UserError, match=r"holds another fusion \(erase of ventral erase:hue.*now erase of ventral era"):
        shape(path, "erase", ["blur"], reference=photographs, settings=FEW, out=out, device="cpu")


def test_a_shaper_is_fitted_to_four_of_five_images_and_never_to_the_others(colours, photographs: Tensor) -> None:
    source = image_source(photographs)
    images = ShapingImages(colours, source, transforms_named(["brightness"]), None, FEW)
    assert (len(images.fitted), len(images.others)) == (64, 16)
    assert sorted([*images.fitted, *images.others]) == list(range(80))
    (moments,) = images.moments().values()
    views = torch.cat([one.views["brightness"] for one in images.orbits()])
    alone = ShapingImages(
        colours, image_source(photographs[images.fitted]), transforms_named(["brightness"]), None, FEW
    )
    of_these = [one for _, one in alone.features_of(colours, range(64), "all")]
    torch.testing.assert_close(views, torch.cat([one.views["brightness"] for one in of_these]))
    torch.testing.assert_close(moments.levels, views.double().mean(0))


def test_the_numbers_do_not_depend_on_the_batch_size(tiny_backbone: Backbone, photographs: Tensor) -> None:
    found = [
        shape(
            tiny_backbone,
            "erase",
            ["brightness"],
            reference=photographs,
            settings=ShapeSettings(k=3, batch_size=size),
            device="cpu",
        )
        for size in (7, 64)
    ]
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(found[0].backbone(images), found[1].backbone(images), atol=1e-5, rtol=1e-4)


def test_the_command_does_what_python_does(cli, host_checkpoint, photo_folder: Path, tmp_path: Path) -> None:
    checkpoint, outs = host_checkpoint(), [tmp_path / name / "shaped.ckpt" for name in ("cli", "python")]
    keys = (f"backbone.checkpoint={checkpoint}", "mode=dial", "transforms=[hue,blur]", "k=3", "options={strength: 0.5}")
    code, out, err = cli("shape", *keys, f"reference.path={photo_folder}", "device=cpu", f"out={outs[0]}")
    assert code == 0, err
    assert "on 14 images that nothing was fitted to, before and after" in out
    settings = ShapeSettings(k=3, options={"strength": 0.5})
    shape(checkpoint, "dial", ["hue", "blur"], reference=photo_folder, settings=settings, out=outs[1], device="cpu")
    contents = [torch.load(one, weights_only=True) for one in outs]
    assert contents[0]["fusion"] == contents[1]["fusion"]
    for name, weights in contents[0]["state_dict"].items():
        assert torch.equal(weights, contents[1]["state_dict"][name]), name
    records = [json.loads(one.with_suffix(".json").read_text()) for one in outs]
    assert records[0] == records[1]
