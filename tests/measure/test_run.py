import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from solo_invariance.backbones import Backbone, BackboneConfig, load_backbone
from solo_invariance.cli import main
from solo_invariance.config.measure import DataConfig, ViewKind
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.errors import UserError
from solo_invariance.measure import (
    Group,
    InvarianceMeasurement,
    MeasureSettings,
    PartialResultFiles,
    ResizeCrop,
    ViewGroups,
    measure,
)
from solo_invariance.measure.metrics import InvarianceSimilarity, ParameterReadout, RetrievalRecall
from solo_invariance.measure.transforms import h_flip, hue, rotation
from solo_invariance.processes import Processes
from solo_invariance.results import InvarianceResult
from solo_invariance.results.files import read_arrays

_SCENES = DataConfig(name="latent_scenes", num_images=40, size=32, num_groups=4, num_views=3)
_SCENES_OF_CLI = [
    "data.name=latent_scenes",
    "data.num_images=40",
    "data.size=32",
    "data.num_groups=4",
    "data.num_views=3",
]


def _command(checkpoint: Path | str, out: Path, *arguments: str) -> dict[str, Any]:
    key = "name" if str(checkpoint).startswith("random:") else "checkpoint"
    try:
        code = main(["measure", f"backbone.{key}={checkpoint}", "device=cpu", f"out={out}", *arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    assert code == 0
    return _written(out)


def _written(out: Path) -> dict[str, Any]:
    return {
        path.parent.relative_to(out).as_posix().removeprefix("."): json.loads(path.read_text())
        for path in out.rglob("invariance.json")
    }


def _numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but how long it took and what the configuration says of the place."""
    plain = {layer: one if isinstance(one, dict) else one.as_content() for layer, one in results.items()}
    return {
        layer: {key: value for key, value in result.items() if key not in ("timings", "config")}
        for layer, result in plain.items()
    }


def _noise(count: int, *size: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _pooled() -> nn.Module:
    """Twelve features: each colour's mean in each quarter of the image."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())


# The command's numbers, to the last digit


@pytest.mark.parametrize(
    ("options", "arguments", "settings"),
    [
        (["transforms=[rotation,hue]", "k=4", "num_images=10"], {"transforms": ["rotation", "hue"]}, {}),
        (
            ["transforms=[scale]", "views=[pose]", "protocol=paper", "k=4", "num_images=10", "layer2.0.bn2"],
            {"transforms": ["scale"], "views": ["pose"]},
            {"protocol": "paper"},
        ),
        (
            ["transforms=[hue]", "views=[]", "twin=true", "metrics=[mrr]", "k=4", "num_images=10"],
            {"transforms": ["hue"], "views": [], "twin": True, "metrics": ["mrr"]},
            {},
        ),
        (
            ["transforms=[hue]", "views=[light_hue]", "metrics=all", "k=4", "num_images=10", "[layer2,layer3]"],
            {"transforms": ["hue"], "views": ["light_hue"], "metrics": "all"},
            {},
        ),
        (
            ["transforms=[hue,h_flip]", "views=[]", "budget=adaptive", "target_se=0.2", "k=16"],
            {"transforms": ["hue", "h_flip"], "views": []},
            {"budget": "adaptive", "target_se": 0.2, "k": 16, "num_images": None},
        ),
    ],
    ids=["two transforms", "paper", "twin", "layers", "adaptive"],
)
def test_the_command_and_python_give_the_same(host_checkpoint, tmp_path: Path, options, arguments, settings) -> None:
    checkpoint = host_checkpoint()
    layer = None if "=" in options[-1] else options[-1]
    given = [*options[:-1], f"backbone.layer={layer}"] if layer else options
    expected = _command(checkpoint, tmp_path / "command", *_SCENES_OF_CLI, *given)
    layers = layer.strip("[]").split(",") if layer and layer.startswith("[") else layer
    backbone = BackboneConfig(str(checkpoint), layer=layers)
    how = MeasureSettings(**{"k": 4, "num_images": 10, **settings})
    found = measure(backbone, _SCENES, settings=how, device="cpu", out=tmp_path / "python", **arguments)
    assert _numbers(found) == _numbers(expected) == _numbers(_written(tmp_path / "python"))
    in_memory = _numbers(measure(backbone, _SCENES, settings=how, device="cpu", **arguments))
    for layer, result in _numbers(expected).items():
        del result["images"]  # which of them there are is asked where others may go on with the run
        assert in_memory[layer] == result
    for path in (tmp_path / "command").rglob("*.npz"):
        ours = read_arrays(tmp_path / "python" / path.relative_to(tmp_path / "command"))
        for name, array in read_arrays(path).items():
            np.testing.assert_array_equal(ours[name], array)
    if arguments.get("twin"):
        (comparison,) = found.comparisons
        assert comparison.as_content() == json.loads((tmp_path / "python" / "comparison_untrained.json").read_text())


def test_photographs_are_measured_at_the_backbones_own_size(photo_folder: Path, tmp_path: Path) -> None:
    name, options = "random:resnet10", ["backbone.crop_size=64", "transforms=[rotation]", "k=4", "num_images=12"]
    expected = _command(name, tmp_path, f"data.path={photo_folder}", *options)[""]
    assert expected["geometry"] == {"resize": 73, "crop_size": 64}
    settings, backbone = MeasureSettings(k=4, num_images=12), load_backbone(name, crop_size=64)
    found = measure(backbone, photo_folder, ["rotation"], settings, device="cpu").only
    content = found.as_content()
    assert (content["geometry"], content["transforms"]) == (expected["geometry"], expected["transforms"])
    for resize in (None, 256):  # whatever the files were to have been resized to
        images = ImageFiles(photo_folder, resize)
        measured = InvarianceMeasurement(backbone, images, settings).measure({"rotation": rotation}, images)[""]
        assert measured["rotation"].summary["similarity"] == expected["transforms"]["rotation"]["similarity"]


def test_two_runs_are_compared(host_checkpoint, tmp_path: Path) -> None:
    settings = MeasureSettings(k=4, num_images=10)

    def measured(checkpoint: Path, name: str, **more: Any) -> Any:
        return measure(checkpoint, _SCENES, ["hue"], settings, views=[], out=tmp_path / name, device="cpu", **more)

    theirs = measured(host_checkpoint("dorsal", 1), "theirs").only
    ours = measured(host_checkpoint(), "ours", against=tmp_path / "theirs")
    (comparison,) = ours.comparisons
    difference = comparison.transforms["hue"].metric("similarity").mean
    means = [one.transforms["hue"].similarity.mean for one in (ours.only, theirs)]
    assert difference == pytest.approx(means[0] - means[1], abs=1e-6)
    with pytest.raises(UserError, match="measured with k 4, here 5"):
        measure(host_checkpoint(), _SCENES, settings=MeasureSettings(k=5), against=tmp_path / "theirs", out=tmp_path)
    arrays = dict(np.load(tmp_path / "theirs" / "hue.npz"))
    for name, value in (
        ("similarity_influence", np.float64(1)),
        ("names", np.arange(3)),
        ("similarity_per_image", "x"),
    ):
        np.savez(tmp_path / "theirs" / "hue.npz", **{**arrays, name: np.asarray(value)})
        with pytest.raises(UserError, match=rf"theirs/hue\.npz: '{name}' in it is "):
            measured(host_checkpoint(), "again", against=tmp_path / "theirs")
        assert not (tmp_path / "again").exists()


def test_a_part_that_is_none_is_named(host_checkpoint, tmp_path: Path) -> None:
    settings = MeasureSettings(k=2, num_images=4)
    arguments = {"transforms": ["hue"], "settings": settings, "out": tmp_path / "out", "device": "cpu"}
    measure(host_checkpoint(), _noise(40, 32, 32), **arguments)
    (tmp_path / "out" / "invariance.json").unlink()
    part = tmp_path / "out" / "parts" / "hue.json"
    content = json.loads(part.read_text())
    part.write_text(json.dumps({**content, "similarity": {**content["similarity"], "ci95": [False, 1.0]}}))
    with pytest.raises(
        UserError, match=r"parts/hue\.json: key 'similarity\.ci95\[0\]' must be a finite number, not false"
    ):
        measure(host_checkpoint(), _noise(40, 32, 32), **arguments)


# Going on


class _StopsAt(Exception):
    pass


@pytest.mark.parametrize("first", ["command", "python"])
def test_what_the_one_began_the_other_goes_on_with(
    host_checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    checkpoint, options = host_checkpoint(), ["transforms=[rotation,hue]", "views=[pose]", "k=64", "num_images=40"]

    def by_command(out: Path) -> Any:
        return _command(checkpoint, out, *_SCENES_OF_CLI, *options)

    def by_python(out: Path) -> Any:
        settings = MeasureSettings(k=64, num_images=40)
        return measure(checkpoint, _SCENES, ["rotation", "hue"], settings, views=["pose"], out=out, device="cpu")

    whole = _numbers(by_command(tmp_path / "whole"))
    begin, go_on = (by_command, by_python) if first == "command" else (by_python, by_command)
    rows: list[int] = []
    add = PartialResultFiles.add

    def counted(self, part) -> None:
        if len(rows) == 1:
            rows.append(0)
            raise _StopsAt
        rows.append(len(part.rows))
        add(self, part)

    monkeypatch.setattr(PartialResultFiles, "add", counted)
    with pytest.raises(_StopsAt):
        begin(tmp_path / "out")
    assert not (tmp_path / "out" / "invariance.json").exists()
    assert _numbers(go_on(tmp_path / "out")) == whole
    assert sum(rows) == 40 + 4  # every image once, and the groups of the view set
    assert not list((tmp_path / "out" / "parts").glob("rows-*"))


def test_a_module_of_ones_own_is_known_by_its_weights_and_images_by_their_pixels(tmp_path: Path) -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 4, 3), _pooled()), _noise(40, 40, 50)
    settings = MeasureSettings(k=4, geometry=ResizeCrop(37, 32))

    def measured(network: nn.Module, images: Tensor, **more: Any) -> InvarianceResult:
        return measure(network, images, ["hue"], settings, out=tmp_path / "out", device="cpu", **more).only

    result = measured(network, images)
    again = measured(network, images)
    assert again.transforms == result.transforms
    assert again.timings == result.timings  # not the moment that it takes to find all of it done
    others = images.clone()
    others[7, 0, 3, 3] += 1
    with pytest.raises(UserError, match="images: "):
        measured(network, others)
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    with pytest.raises(UserError, match="sha256: "):
        measured(network, images)


def test_a_metric_of_other_options_is_another_run(tmp_path: Path) -> None:
    settings = MeasureSettings(k=4, geometry=ResizeCrop(32, 32))

    def measured(metrics: Any) -> InvarianceResult:
        return measure(
            _pooled(), _noise(40, 32, 32), ["hue"], settings, metrics=metrics, out=tmp_path, device="cpu"
        ).only

    by_name = measured(["parameter_readout"])
    with pytest.raises(UserError, match=r"holds results of another run \(own"):
        measured({"parameter_readout": ParameterReadout(seed=3)})
    assert measured({"parameter_readout": ParameterReadout()}).transforms == by_name.transforms


# Any module, any images


class _Pairs(Dataset[tuple[Image.Image, int]]):
    """Pictures and their labels, as torchvision's datasets give them."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index].permute(1, 2, 0).numpy()), index


@pytest.mark.parametrize(
    "form",
    [
        lambda pixels: pixels.float() / 255,
        lambda pixels: TensorImages(pixels),
        lambda pixels: TensorDataset(pixels, torch.arange(len(pixels))),
        lambda pixels: TensorDataset(pixels.double() / 255),
        _Pairs,
    ],
    ids=["floats", "source", "labelled tensors", "float tensors", "labelled pictures"],
)
def test_images_in_any_form_give_the_same(form: Callable[[Tensor], Any]) -> None:
    pixels, settings = _noise(40, 48, 60), MeasureSettings(k=4, geometry=ResizeCrop.of_crop(32))
    expected = measure(_pooled(), pixels, ["rotation"], settings, device="cpu").only
    found = measure(_pooled(), form(pixels), {"rotation": rotation}, settings, device="cpu").only
    assert found.transforms == expected.transforms
    assert found.label == "Sequential"


def test_a_module_and_a_folder(photo_folder: Path) -> None:
    settings = MeasureSettings(k=4, geometry=ResizeCrop.of_crop(32))
    result = measure(_pooled(), photo_folder, ["h_flip"], settings, device="cpu").only
    assert (result.num_images, list(result.transforms), result.views) == (72, ["h_flip"], {})


def test_groups_of_ones_own() -> None:
    pixels = _noise(30, 32, 32).repeat_interleave(2, dim=0)
    groups = [Group(f"thing {index}", (2 * index, 2 * index + 1)) for index in range(30)]
    views = {"twice": ViewGroups("spatial", TensorImages(pixels), groups)}
    result = measure(_pooled(), views=views, settings=MeasureSettings(geometry=ResizeCrop(32, 32)), device="cpu").only
    assert (result.transforms, result.views["twice"].num_groups) == ({}, 30)
    assert result.views["twice"].similarity.mean == pytest.approx(1)


class _Unresizable:
    """A source of images that nobody resizes."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index]

    def name_of(self, index: int) -> str:
        return f"picture {index}"


@pytest.mark.parametrize("size", [(30, 40), (64, 80)])
@pytest.mark.parametrize("transforms", [{"h_flip": h_flip}, {"hue": hue}])
def test_images_of_another_size_are_refused_not_padded(tiny_backbone: Backbone, size, transforms) -> None:
    message = rf"^picture \d+: {size[1]} x {size[0]} pixels, expected a short side of 37: "
    wrong, right = _Unresizable(_noise(20, *size)), _Unresizable(_noise(80, 37, 50))
    with pytest.raises(UserError, match=message):
        measure(tiny_backbone, wrong, transforms, device="cpu")
    measurement = InvarianceMeasurement(tiny_backbone, right, MeasureSettings(k=4, num_images=4))
    assert measurement.geometry == ResizeCrop(37, 32)
    with pytest.raises(UserError, match=message):
        measurement.measure(transforms, wrong)
    with pytest.raises(UserError, match=message):
        measurement.gallery(wrong)
    assert list(measurement.measure(transforms, right)[""]) == list(transforms)


@pytest.mark.parametrize(
    ("images", "more", "message"),
    [
        (torch.zeros(4, 32, 32), {}, r"images: a tensor of shape \(4, 32, 32\), expected \(N, 3, H, W\)"),
        (torch.full((4, 3, 32, 32), 255.0), {}, "images: a tensor of torch.float32, expected uint8, or numbers in"),
        (torch.zeros(4, 3, 32, 32, dtype=torch.int64), {}, "images: a tensor of torch.int64, expected uint8"),
        (3, {}, "images of int: expected a folder, a tensor"),
        (None, {}, "data: set data.path=FOLDER or data.name=latent_scenes"),
        (
            TensorDataset(torch.zeros(40, 1, 32, 32)),
            {},
            r"TensorDataset image 0: a tensor of shape \(1, 32, 32\), expected",
        ),
        (_noise(40, 32, 32), {"views": ["pose"]}, "a folder of images has no view sets"),
        (_noise(40, 32, 32), {"transforms": []}, "nothing to measure"),
        (_noise(40, 32, 32), {"transforms": ["hues"]}, "there is no 'hues'; did you mean 'hue'"),
        (_noise(40, 32, 32), {"metrics": "mrr"}, r"metrics=mrr: expected all, or a list such as"),
        (_noise(40, 32, 32), {"against": "elsewhere"}, "against=elsewhere: set out, too"),
        (_noise(40, 32, 32), {"settings": MeasureSettings(geometry=ResizeCrop(16, 32))}, "resize=16 is smaller"),
    ],
)
def test_what_cannot_be_measured(tiny_backbone: Backbone, images, more, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(tiny_backbone, images, device="cpu", **{"transforms": ["h_flip"], **more})


def test_several_processes_need_a_place_to_share(tiny_backbone: Backbone) -> None:
    processes = Processes()
    processes.count = 2
    with pytest.raises(UserError, match="2 processes share their work by files: set out"):
        measure(tiny_backbone, _noise(40, 32, 32), processes=processes)


def test_only_is_for_one_result(tiny_backbone: Backbone) -> None:
    results = measure(tiny_backbone, _noise(80, 40, 40), ["h_flip"], twin=True, device="cpu")
    assert list(results) == ["", "untrained"]
    with pytest.raises(ValueError, match=r"2 results \('', 'untrained'\), expected one"):
        _ = results.only


# Metrics that are configured


def test_two_metrics_of_one_class_are_measured_side_by_side_and_left_as_they_are() -> None:
    class FirstRows(ParameterReadout):
        max_rows = 24

    first, second, few = ParameterReadout(seed=0), ParameterReadout(seed=3), FirstRows()
    metrics = {"similarity": InvarianceSimilarity, "first": first, "second": second, "few": few}
    metrics["recall"] = RetrievalRecall()  # whose gallery comes later
    settings = MeasureSettings(k=4, geometry=ResizeCrop(32, 32))
    images = _noise(40, 32, 32)
    result = measure(_pooled(), images, ["brightness"], settings, metrics=metrics, device="cpu").only
    entry = result.transforms["brightness"]
    assert entry.metric("first").mean != entry.metric("second").mean
    named = measure(
        _pooled(), images, ["brightness"], settings, metrics=["parameter_readout", "recall_at_1"], device="cpu"
    )
    expected = named.only.transforms["brightness"]
    assert (entry.metric("first"), entry.metric("recall")) == (
        expected.metric("parameter_readout"),
        expected.metric("recall_at_1"),
    )
    assert all(not metric.clean for metric in (first, second, few))
    assert metrics["recall"].gallery_features is None


def test_a_metric_that_has_seen_images_forgets_them_for_the_measurement(tiny_backbone: Backbone) -> None:
    used = InvarianceSimilarity()
    used.update(torch.ones(1, 2), torch.ones(1, 3, 2))
    images, settings = _noise(80, 37, 37), MeasureSettings(k=4, num_images=20)
    measurement = InvarianceMeasurement(tiny_backbone, TensorImages(images), settings)
    measured = [
        measurement.measure({"hue": hue}, TensorImages(images), {"similarity": one})[""]["hue"]
        for one in (used, InvarianceSimilarity)
    ]
    assert measured[0].summary == measured[1].summary
    assert len(used.rows) == 1


def test_what_is_no_metric_is_named(tiny_backbone: Backbone) -> None:
    with pytest.raises(TypeError, match="metrics: distance is 3, expected a subclass of ViewMetric"):
        measure(tiny_backbone, _noise(40, 32, 32), ["hue"], metrics={"distance": 3}, device="cpu")  # type: ignore[dict-item]


def test_a_metric_without_its_gallery_says_so() -> None:
    with pytest.raises(ValueError, match="RetrievalRecall compares with other images: expected a gallery, got none"):
        RetrievalRecall().update(torch.ones(1, 2), torch.ones(1, 3, 2), images=torch.tensor([0]))


class _CountedImages(TensorImages):
    """Images that count how often each is hashed."""

    def __init__(self, images: Tensor) -> None:
        super().__init__(images)
        self.hashed = [0] * len(images)

    def digest(self, index: int) -> str:
        self.hashed[index] += 1
        return super().digest(index)


_POOLED = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())


@pytest.mark.parametrize(("protocol", "counted"), [("clean", 30), ("paper", 60)])
def test_a_reference_is_hashed_once_a_run(protocol: str, counted: int) -> None:
    pixels = torch.randint(0, 256, (30, 3, 37, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    reference = _CountedImages(torch.cat([pixels, pixels]))
    settings = MeasureSettings(num_images=4, k=2, geometry=ResizeCrop(37, 32), protocol=protocol)
    found = measure(_POOLED, TensorImages(pixels[:4]), ["h_flip"], settings, reference=reference, device="cpu").only
    assert reference.hashed == [1] * 60
    assert found.reference is not None
    assert (found.reference.num_images, found.reference.num_files) == (counted, 60)


def test_under_paper_a_reference_is_few_where_it_has_measured_images_though_from_elsewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (61, 3, 37, 37), dtype=torch.uint8, generator=generator)
    settings = MeasureSettings(num_images=50, k=2, geometry=ResizeCrop(37, 32), protocol="paper")

    def cautions(images: Tensor, reference: Tensor, **more) -> tuple[str, ...]:
        return measure(_POOLED, images, ["h_flip"], settings, reference=reference, device="cpu", **more).only.cautions

    measured, others = pixels[:20], pixels[20:60]
    assert cautions(measured, others) == ()  # 40 for 12 features
    (caution,) = cautions(measured, torch.cat([others, measured[:1]]))
    assert caution.startswith("41 reference images are few for 12 features: measured images that are among them")
    views = {"pairs": ViewGroups("spatial", TensorImages(others[:6]), [Group(str(g), (g, g + 3)) for g in range(3)])}
    (caution,) = cautions(measured, others, views=views)
    assert caution.endswith("192 would be enough (reference.path).")


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_a_reference_is_known_by_its_images(protocol: str) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 3, 37, 37), dtype=torch.uint8, generator=generator)
    settings = MeasureSettings(num_images=4, k=2, geometry=ResizeCrop(37, 32), protocol=protocol)

    def fingerprint(reference: Tensor) -> str:
        found = measure(_POOLED, pixels[:4], ["h_flip"], settings, reference=reference, device="cpu").only.reference
        assert found is not None
        assert found.fingerprint is not None
        return found.fingerprint

    assert fingerprint(pixels[4:]) == fingerprint(pixels[4:].clone()) != fingerprint(pixels[3:-1])


def test_what_is_left_of_a_reference_without_the_measured_images_must_be_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 37, 37), dtype=torch.uint8, generator=generator)
    settings = MeasureSettings(k=2, geometry=ResizeCrop(37, 32))

    def views(of_group: int) -> dict[str, ViewGroups]:
        images = TensorImages(pixels[:of_group, :, :32, :32])
        return {"pairs": ViewGroups("spatial", images, [Group("one", tuple(range(of_group)))])}

    with pytest.raises(UserError, match="reference: without the images that are measured, it has 1 to whiten by"):
        measure(_POOLED, pixels[:2], ["h_flip"], settings, device="cpu")
    assert measure(_POOLED, pixels[:3], ["h_flip"], settings, device="cpu").only.transforms
    for others in (0, 1):
        reference = TensorImages(pixels[: 4 + others, :, :32, :32], 37)
        with pytest.raises(UserError, match=f"reference: .* has {others} to whiten by"):
            measure(_POOLED, None, None, settings, views=views(4), reference=reference, device="cpu")
    reference = TensorImages(pixels[:, :, :32, :32], 37)
    assert measure(_POOLED, None, None, settings, views=views(4), reference=reference, device="cpu").only.views


def test_one_parameter_that_changes_nothing_is_refused_before_any_work(tmp_path: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match=r"^k=1: the one parameter of rotation changes nothing"):
        measure(
            tiny_backbone, torch.rand(4, 3, 40, 40), {"rotation": rotation}, MeasureSettings(k=1), out=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


_ALL_OF_12 = "num_images=50: there are 12, all of which were measured."


@pytest.mark.parametrize(("asked", "said"), [(50, [_ALL_OF_12]), (12, [])])
def test_images_that_there_are_not_are_said(tiny_backbone: Backbone, asked: int, said: list[str]) -> None:
    images = torch.randint(0, 256, (12, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = measure(tiny_backbone, images, {"h_flip": h_flip}, MeasureSettings(num_images=asked), device="cpu").only
    assert [one for one in result.cautions if one.startswith("num_images")] == said
    assert result.num_images == 12


def test_views_of_a_kind_that_nobody_said_are_a_caution(tiny_backbone: Backbone, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for group in "abcd":
        (tmp_path / group).mkdir()
        for view in range(3):
            pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / group / f"{view}.png")

    def cautions(**kind: Any) -> list[str]:
        data = DataConfig(name="view_folders", path=str(tmp_path), **kind)
        result = measure(tiny_backbone, data, reference=tmp_path, device="cpu").only
        return [one for one in result.cautions if "data.kind" in one]

    assert cautions()[0].startswith("view_folders: taken for spatial views")
    assert cautions(kind=ViewKind.spatial) == []
