import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from solo_invariance import export, fuse, load_backbone, mean_embedding
from solo_invariance.backbones import Backbone, BackboneConfig, InputSpec, Provenance, ViewsConfig
from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.fused import FusedNetwork, as_backbone
from solo_invariance.errors import UserError
from solo_invariance.fuse import fit_fusion
from solo_invariance.fuse.combine import concatenate
from solo_invariance.fuse.heads import Weighted
from solo_invariance.fuse.run import FuseSettings

_TINY: dict[str, Any] = {"kwargs": {"width": 0.125}, "crop_size": 32}
_VIT = {"kwargs": {"depth": 1, "img_size": 32}, "crop_size": 32}


def _resnet(seed: int = 0, **keys: Any) -> Backbone:
    return load_backbone("random:resnet10", seed, **(_TINY | keys))


def _other() -> Backbone:
    spec = InputSpec(40, (0.1, 0.2, 0.3), (0.3, 0.2, 0.1), "bicubic", 0.9)
    architecture = Architecture("resnet10", {"width": 0.25, "stem_padding": 1}, small_stem=True)
    path = "/home/me/runs/other.ckpt"
    origin = Provenance("other", path, "ab" * 32, "teacher", (f"{path}: as it was read",))
    torch.manual_seed(5)
    return Backbone(architecture.build(), architecture, spec, origin)


def _fused(mode: str, **settings: Any) -> Backbone:
    reference = None if mode == "concat" else torch.rand(30, 3, 32, 32)
    return fuse([_resnet(), _other()], mode, reference=reference, settings=FuseSettings(**settings), device="cpu")


def _nested() -> Backbone:
    fused = _fused("concat")
    network = FusedNetwork(
        [fused, _resnet(3)], _fused("concat").network.fusion.__class__([192, 64], concatenate), "concat"
    )
    return as_backbone(network)


_BACKBONES: dict[str, Callable[[], Backbone]] = {
    "ResNet": _resnet,
    "small stem, another input": _other,
    "ViT of timm": lambda: load_backbone("random:timm:vit_tiny_patch16_224", **_VIT),
    "timm": lambda: load_backbone("random:timm:resnet10t", crop_size=32),
    "torchvision, of several versions": lambda: load_backbone("random:torchvision:mnasnet0_5", crop_size=32),
    "torchvision": lambda: load_backbone("random:torchvision:mobilenet_v3_small", crop_size=32),
    "a layer": lambda: _resnet(layer="layer3"),
    "layers": lambda: _resnet(layer=["layer4", "layer2"]),
    "mean of tokens": lambda: load_backbone("random:timm:vit_tiny_patch16_224", pool="mean", **_VIT),
    "class token beside the mean": lambda: load_backbone("random:timm:vit_tiny_patch16_224", pool="both", **_VIT),
    "views": lambda: _resnet(views=ViewsConfig(["ventral", "dorsal"], 3)),
    "views of layers": lambda: _resnet(layer=["layer2"], views=ViewsConfig("dorsal", 2)),
    "concat": lambda: _fused("concat"),
    "standardized": lambda: _fused("standardized"),
    "weighted": lambda: fit_fusion(
        [_resnet(), _other()],
        Weighted,
        "weighted",
        {"weights": [0.5, 2.0]},
        [torch.rand(20, 64), torch.rand(20, 128)],
        frozenset({"a", "b"}),
    ),
    "weights that tasks choose": lambda: _fused("weighted"),
    "projected": lambda: _fused("projected", width=7),
    "layers of members": lambda: fuse([_resnet(layer=["layer2", "layer4"]), _other()], device="cpu"),
    "a member's layer": lambda: _layer_of_fused(),
    "views of a fusion": lambda: mean_embedding(_fused("standardized"), "ventral", 2, seed=3),
    "nested": _nested,
}


def _layer_of_fused() -> Backbone:
    from solo_invariance.backbones import LayerFeatures

    fused = _fused("concat")
    network = LayerFeatures(fused.network, ["members.0.network.layer3"])
    return Backbone(network, fused.architecture, fused.input_spec, fused.provenance)


@pytest.mark.parametrize("kind", _BACKBONES)
def test_a_folder_is_read_back_as_the_same_backbone(kind: str, tmp_path: Path) -> None:
    backbone = _BACKBONES[kind]()
    folder = export(backbone, tmp_path / "exported")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = load_backbone(folder)
    images = torch.rand(3, 3, 44, 37)
    assert torch.equal(again(images), backbone(images))
    assert again.layers == backbone.layers
    assert again.input_spec == backbone.input_spec
    assert again.fitted_on == backbone.fitted_on
    assert again.open_widths == backbone.open_widths
    assert again.scales_features == backbone.scales_features
    assert again.width_factor == backbone.width_factor
    assert [one.provenance for one in again.members] == [_elsewhere(one.provenance) for one in backbone.members]
    for key in ("views", "pool", "tokens"):
        assert again.describe()[key] == backbone.describe()[key]
    assert again.provenance.label == backbone.provenance.label
    assert again.provenance.remarks == _elsewhere(backbone.provenance).remarks
    assert again.provenance.checkpoint == str(folder)


def _elsewhere(origin: Provenance) -> Provenance:
    """What others read of where the weights came from: nothing of folders that they do not have."""
    remarks = tuple(remark.replace("/home/me/runs/", "") for remark in origin.remarks)
    return replace(origin, checkpoint=origin.checkpoint and Path(origin.checkpoint).name, remarks=remarks)


def test_another_process_reads_the_same_features(tmp_path: Path) -> None:
    backbone = _fused("standardized")
    folder = export(backbone, tmp_path / "exported")
    images = torch.rand(2, 3, 40, 40)
    torch.save(images, tmp_path / "images.pt")
    script = (
        "import sys, torch; torch.set_num_threads(1); from solo_invariance import load_backbone; "
        "torch.save(load_backbone(sys.argv[1])(torch.load(sys.argv[2])), sys.argv[3])"
    )
    arguments = [str(folder), str(tmp_path / "images.pt"), str(tmp_path / "features.pt")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, *arguments], check=True, timeout=120)
    assert torch.equal(torch.load(tmp_path / "features.pt"), backbone(images))


def test_what_was_exported_before_is_exported_again(tmp_path: Path) -> None:
    first = export(_fused("standardized"), tmp_path / "first")
    second = export(first, tmp_path / "second")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    before, after = (json.loads((folder / "config.json").read_text())["solo_invariance"] for folder in (first, second))
    assert before["backbone"]["fusion"] == after["backbone"]["fusion"]
    assert load_backbone(first).provenance.checkpoint == str(first)
    assert after["backbone"]["provenance"]["sha256"] == before["sha256"]


def test_keys_that_an_exported_backbone_reads_and_others(tmp_path: Path) -> None:
    plain, layers = export(_resnet(), tmp_path / "plain"), export(_resnet(layer=["layer2"]), tmp_path / "layers")
    fused, views = (
        export(_fused("concat"), tmp_path / "f"),
        export(_resnet(views=ViewsConfig("ventral", 2)), tmp_path / "v"),
    )
    changed = load_backbone(plain, crop_size=48, mean=[0.5] * 3, label="mine", layer="layer3")
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(changed(images), _resnet(crop_size=48, mean=[0.5] * 3, layer="layer3")(images))
    assert (changed.provenance.label, changed.input_spec.std) == ("mine", _resnet().input_spec.std)
    averaged = load_backbone(plain, views=ViewsConfig("ventral", 2))
    assert torch.equal(averaged(images), load_backbone(views)(images))
    assert load_backbone(plain, name="resnet10").num_features == 64
    refused: list[tuple[Path, dict[str, Any], str]] = [
        (plain, {"name": "resnet18"}, r"backbone\.name=resnet18: .*plain says itself that it is resnet10"),
        (plain, {"kwargs": {"width": 1}}, r"backbone\.kwargs: .*plain says itself how it is built"),
        (plain, {"heads": ["fc"]}, r"backbone\.heads: .*plain says itself"),
        (
            layers,
            {"layer": "layer1"},
            r"backbone\.layer=layer1: .* give features of layer2 alone; export it without",
        ),
        (views, {"layer": "layer1"}, r"backbone\.layer=layer1: .* features of views of images; export it without"),
        (views, {"views": ViewsConfig("dorsal")}, "averaged over views already"),
        (fused, {"mean": [0.5] * 3}, r"backbone\.mean: .*f is a fused one, whose members say this"),
    ]
    for folder, keys, message in refused:
        with pytest.raises(UserError, match=message):
            load_backbone(folder, **keys)


def _edit(folder: Path, *path: str | int, value: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    place: Any = content
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(content))


_MINE = ("solo_invariance", "backbone")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("solo_invariance", "schema"), 7, r"config\.json: solo_invariance\.schema is 7, this version reads 1"),
        (("solo_invariance",), [1], r"config\.json: solo_invariance is \[1\], expected a mapping"),
        (_MINE, None, r"config\.json: solo_invariance\.backbone describes none \('backbone'\)"),
        ((*_MINE, "architecture"), None, r"backbone describes none \('architecture'\)"),
        ((*_MINE, "architecture", "name"), 3, r"config\.json: solo_invariance\.backbone"),
        ((*_MINE, "architecture", "name"), "resnet11", r"config\.json: .*unknown backbone 'resnet11'"),
        ((*_MINE, "architecture", "name"), "resnet18", r"safetensors does not fit.*\d+ missing"),
        ((*_MINE, "architecture", "kwargs", "width"), 0.25, r"num_features is 64, but what is described has 128"),
        ((*_MINE, "architecture", "kwargs", "depht"), 1, r"config\.json: .*it takes no 'depht'"),
        ((*_MINE, "architecture", "colour"), 1, r"backbone describes none \(.*colour"),
        (
            (*_MINE, "input", "crop_size"),
            "big",
            r"config\.json: .*crop_size is 'big', expected a whole number of pixels",
        ),
        ((*_MINE, "input", "std"), [0, 1, 1], r"config\.json: .*std is .*expected positive numbers"),
        ((*_MINE, "provenance", "label"), 3, r"config\.json: .*provenance has 3, expected a text"),
        ((*_MINE, "num_features"), 65, r"config\.json: .*num_features is 65, but what is described has 64"),
        ((*_MINE, "layer"), ["layer9"], r"config\.json: .*layer9: no such layer"),
        ((*_MINE, "views"), {"family": "ventral"}, r"config\.json: .*describes none"),
        ((*_MINE, "fusion"), {"mode": "concat"}, r"config\.json: .*describes none \('members'\)"),
        ((*_MINE, "fusion"), {"mode": "concat", "members": []}, r"config\.json: .*"),
        (("solo_invariance", "sha256"), "0" * 64, r"model\.safetensors: is not what .*config\.json was written with"),
    ],
)
def test_a_changed_configuration_is_one_line(path: tuple[str, ...], value: Any, message: str, tmp_path: Path) -> None:
    folder = export(_resnet(), tmp_path / "exported")
    _edit(folder, *path, value=value)
    with pytest.raises(UserError, match=message) as error:
        load_backbone(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("name", ["python:planted:network", "torch.hub:a/b:c", "timm:hf-hub:a/b", "timm:local-dir:x"])
def test_a_strangers_folder_names_no_code_to_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = export(_resnet(), tmp_path / "exported")
    _edit(folder, *_MINE, "architecture", "name", value=name)
    with pytest.raises(UserError, match=rf"config\.json: solo_invariance\.backbone: .*{name.rpartition(':')[0]}"):
        load_backbone(folder)
    assert not (tmp_path / "ran").exists()


def test_code_of_ones_own_is_exported_and_read_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef network():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    backbone = load_backbone("python:mine:network", crop_size=8, trust=True)
    folder = export(backbone, tmp_path / "exported")
    with pytest.raises(UserError, match=r"python:mine:network.*backbone\.trust=true allows it"):
        load_backbone(folder)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(load_backbone(folder, trust=True)(images), backbone(images))
    card = (folder / "README.md").read_text()
    assert 'load_backbone("exported", trust=True)' in card
    assert "backbone.trust=true" in card
    assert "to build it would run" in card


def test_names_that_are_no_text_are_written_out(tmp_path: Path) -> None:
    folder = export(_resnet(label="caf\udce9"), tmp_path / "exported")
    assert load_backbone(folder).provenance.label == "caf\\udce9"
    assert "caf\\udce9" in (folder / "README.md").read_text()


def test_the_file_of_weights_alone_leads_to_its_folder(tmp_path: Path) -> None:
    folder = export(_resnet(), tmp_path / "exported")
    with pytest.raises(UserError, match=rf"set backbone\.name .*or backbone\.checkpoint={folder}, which says it"):
        load_backbone(folder / "model.safetensors")
    assert load_backbone(folder / "model.safetensors", name="resnet10", kwargs={"width": 0.125}).num_features == 64


def test_weights_that_are_not_those_that_were_written(tmp_path: Path) -> None:
    folder = export(_fused("standardized"), tmp_path / "exported")
    file = folder / "model.safetensors"
    whole, weights = file.read_bytes(), load_file(file)
    name = "members.0.network.conv1.weight"
    changed = {
        r"1 missing \(members\.0\.network\.conv1\.weight\)": {k: v for k, v in weights.items() if k != name},
        r"1 left over \(more\)": {**weights, "more": torch.zeros(1)},
        r"1 of another shape \(fusion\.mean": {**weights, "fusion.mean": torch.zeros(3)},
        r"conv1\.weight holds 1 numbers .* not finite": {
            **weights,
            name: weights[name].index_fill(0, torch.tensor(0), torch.nan),
        }
        if weights[name][0].numel() == 1
        else {**weights, name: torch.full_like(weights[name], torch.nan)},
        r"is not what .*config\.json was written with": {**weights, name: weights[name] + 1},
    }
    for message, content in changed.items():
        save_file(content, file)
        with pytest.raises(UserError, match=message.replace("holds 1 numbers", r"holds \d+ numbers")):
            load_backbone(folder)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"checkpoint .*model\.safetensors"):
        load_backbone(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        load_backbone(folder)
    file.write_bytes(whole)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: is not valid JSON"):
        load_backbone(folder)


def test_what_its_name_and_weights_do_not_give_again_is_refused(tmp_path: Path) -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    changed = _resnet()
    changed.network.relu = nn.LeakyReLU()
    cases = {
        "Sequential: cannot be exported to a folder, its network is not built again": Backbone.of(module, crop_size=8),
        "its name and weights alone give other features": changed,
    }
    for message, backbone in cases.items():
        with pytest.raises(UserError, match=rf"{message}.*\.pt2 and \.ts"):
            export(backbone, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t", "convnext_atto"])
def test_timm_reads_the_folder_of_a_network_of_its_own(name: str, tmp_path: Path) -> None:
    keys = _VIT if name.startswith("vit") else {"crop_size": 64}
    backbone = load_backbone(f"random:timm:{name}", mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3], **keys)
    folder = export(backbone, tmp_path / "exported")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    asked = timm.data.resolve_data_config({}, model=theirs)
    size = backbone.input_spec.crop_size
    assert [*asked["input_size"]] == [3, size, size]
    assert ([*asked["mean"]], [*asked["std"]]) == ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    assert asked["interpolation"] == backbone.input_spec.interpolation
    images = torch.rand(3, 3, size, size)
    normalised = (images - torch.tensor(asked["mean"])[:, None, None]) / torch.tensor(asked["std"])[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(normalised), backbone(images), atol=1e-5, rtol=1e-5)
    assert "library_name: timm\n" in (folder / "README.md").read_text()


def test_a_network_from_a_folder_of_timms_goes_to_another_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=7, **_VIT["kwargs"])
    timm.models._hub.save_for_hf(network, str(tmp_path / "theirs"), model_args=_VIT["kwargs"])
    backbone = load_backbone(tmp_path / "theirs", crop_size=32)
    folder = export(backbone, tmp_path / "ours")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_backbone(folder)(images), backbone(images))
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    torch.testing.assert_close(theirs((images - backbone.mean) / backbone.std), backbone(images), atol=1e-5, rtol=1e-5)


def test_timm_is_not_told_of_what_it_would_not_give(tmp_path: Path) -> None:
    layers = load_backbone("random:timm:resnet10t", crop_size=32, layer=["layer3"])
    averaged = load_backbone("random:timm:resnet10t", crop_size=32, views=ViewsConfig("ventral", 2))
    pooled = load_backbone("random:timm:vit_tiny_patch16_224", pool="mean", **_VIT)
    for number, backbone in enumerate((layers, averaged, pooled, _fused("concat"))):
        folder = export(backbone, tmp_path / str(number))
        assert list(json.loads((folder / "config.json").read_text())) == ["solo_invariance"]
        assert "library_name: solo-invariance\n" in (folder / "README.md").read_text()


def test_only_a_folder_of_the_same_backbone_is_written_again(tmp_path: Path) -> None:
    folder = export(_resnet(), tmp_path / "exported")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    export(_resnet(label="other name"), folder)
    assert load_backbone(folder).provenance.label == "other name"
    export(_resnet(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    message = r"holds another backbone \(random:resnet10, 64 features, weights .{12}; now random:resnet10, 64 features"
    for other in (_resnet(1), _resnet(crop_size=40), _resnet(layer="layer4"), _resnet(views=ViewsConfig("ventral", 2))):
        with pytest.raises(UserError, match=message):
            export(other, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_whose_configuration_is_broken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{nope")
    with pytest.raises(UserError, match=r"config\.json: is not valid JSON \(.*\)\. Choose another out, or remove it\."):
        export(_resnet(), tmp_path)
    assert (tmp_path / "config.json").read_text() == "{nope"


def test_other_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "config.json").write_text('{"architecture": "resnet18"}')
    (tmp_path / "file").write_text("")
    cases = {
        "photos": r"is there already and holds what export did not write \(a\.jpg\); choose another out",
        "timm": r"is there already and holds what export did not write \(config\.json\)",
        "file": "is a file, expected a folder",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=rf"^out=.*{name}: {message}"):
            export(_resnet(), tmp_path / name)
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    export(_resnet(), tmp_path / "repository")
    assert load_backbone(tmp_path / "repository").num_features == 64


def test_what_was_interrupted_is_done_again(tmp_path: Path) -> None:
    folder = export(_resnet(), tmp_path / "exported")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "config.json").unlink()
    (folder / ".README.md.0123abcd.part").write_text("")
    with pytest.raises(UserError, match=r"holds what export did not write \(.*model\.safetensors"):
        export(_resnet(1), folder)
    export(_resnet(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_is_left_of_a_folder_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from solo_invariance.export import folder as module

    def fail(path: Path, content: Any) -> None:
        raise UserError(f"{path}: cannot be written (no space)")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_json", fail)
        with pytest.raises(UserError, match="no space"):
            export(_resnet(), tmp_path / "deep" / "exported")
    assert list(tmp_path.iterdir()) == []


def _front_matter(card: str) -> dict[str, Any]:
    begin, matter, _ = card.split("---\n", 2)
    assert begin == ""
    found = yaml.safe_load(matter)
    assert isinstance(found, dict)
    return found


def test_the_card_says_what_it_is(tmp_path: Path) -> None:
    backbone = _other()
    card = (export(backbone, tmp_path / "my network") / "README.md").read_text()
    assert _front_matter(card) == {
        "library_name": "solo-invariance",
        "license": "unknown",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-feature-extraction", "solo-invariance"],
    }
    said = [
        "# other\n",
        "Maps images to 128 features.",
        "`resnet10` with `width=0.25, stem_padding=1`, with a stem for small images",
        f"weights from `other.ckpt`, `teacher` in it, sha256 `{'ab' * 32}`",
        "resized to 40 x 40 pixels (bicubic); then normalised with mean (0.1, 0.2, 0.3) and std (0.3, 0.2, 0.1)",
        "other.ckpt: as it was read",
        'backbone = load_backbone("my network")',
        "'backbone.checkpoint=my network'",
        "Unknown: the program that wrote this card cannot tell it.",
    ]
    for words in said:
        assert words in card
    assert "/home" not in card  # folders of whoever exported it
    said_there = json.loads((tmp_path / "my network" / "config.json").read_text())["solo_invariance"]["backbone"]
    assert said_there["provenance"]["checkpoint"] == "other.ckpt"
    assert said_there["provenance"]["remarks"] == ["other.ckpt: as it was read"]
    licensed = (export(backbone, tmp_path / "licensed", license="cc-by-nc-4.0") / "README.md").read_text()
    assert _front_matter(licensed)["license"] == "cc-by-nc-4.0"
    assert "Unknown" not in licensed


def test_places_of_whoever_exported_it_are_not_in_it(tmp_path: Path) -> None:
    """Of folders that are named, with what Markdown means something else by, and of a fusion's members."""
    home = tmp_path / "my_home"
    network = timm.create_model("resnet10t", num_classes=0)
    timm.models._hub.save_for_hf(network, str(home / "their_net"))
    named = load_backbone(f"timm:local-dir:{home / 'their_net'}", crop_size=32)
    torch.save(_resnet().network.state_dict(), home / "a_file.ckpt")
    read = load_backbone(str(home / "a_file.ckpt"), name="resnet10", **_TINY)
    fused = fuse([named, read, _other()], device="cpu")
    for number, backbone in enumerate((named, read, fused)):
        folder = export(backbone, tmp_path / str(number))
        for file in ("README.md", "config.json"):
            said = (folder / file).read_text().replace("\\", "")
            assert "my_home" not in said
            assert "/home/me" not in said
            assert ("timm:local-dir:their_net" in said) == (backbone is not read)
    assert "# timm:local-dir:their\\_net\n" in (tmp_path / "0" / "README.md").read_text()
    # What is exported is left as it is, and so is what it is called in results.
    assert named.provenance.label == f"timm:local-dir:{home / 'their_net'}"


def test_a_card_of_a_fusion_says_what_it_is_made_of(tmp_path: Path) -> None:
    card = (export(_fused("standardized"), tmp_path / "fused") / "README.md").read_text()
    for words in ("`standardized` of 2 backbones", "random:resnet10: `resnet10`", "other: `resnet10`", "30 images"):
        assert words in card
    averaged = (export(_resnet(views=ViewsConfig("ventral", 2)), tmp_path / "views") / "README.md").read_text()
    assert "2 views of each image by `ventral`" in averaged
    assert (
        "`layer2` (16), `layer4` (64)"
        in (export(_resnet(layer=["layer2", "layer4"]), tmp_path / "layers") / "README.md").read_text()
    )


def test_a_label_is_no_markup_of_the_card(tmp_path: Path) -> None:
    label = "<script>alert(1)</script> | [link](http://x) https://y www.z a@b.c `code`\n---\n# other"
    folder = export(_resnet(label=label), tmp_path / "exported")
    card = (folder / "README.md").read_text()
    assert load_backbone(folder).provenance.label == label
    assert len([line for line in card.splitlines() if line.startswith("# ")]) == 1
    without_code = re.sub(r"`[^`]*`", "", card)
    assert "<script>" not in without_code
    assert "[link](" not in without_code
    for address in ("http://", "https://", "www.z", "a@b.c"):
        assert address not in without_code  # which would be links by themselves
        assert address in without_code.replace("\\", "")
    assert _front_matter(card)["license"] == "unknown"


@pytest.mark.parametrize("license", ["", "MIT License", "mit\nx: y", "[]"])
def test_a_license_is_a_short_name(license: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="license"):
        export(_resnet(), tmp_path / "exported", license=license)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from solo_invariance import MeasureSettings, TaskConfig, measure, transfer

    root = tmp_path_factory.mktemp("results")
    measure(_resnet(), torch.rand(24, 3, 32, 32), ["hue"], MeasureSettings(k=2), out=root / "r" / "m", device="cpu")
    transfer(_resnet(), TaskConfig(name="hue", num_train=24, num_test=12), out=root / "r" / "t", device="cpu")
    return root / "r"


def test_results_are_in_the_card(results: Path, tmp_path: Path) -> None:
    card = (export(_resnet(), tmp_path / "exported", measured=[results]) / "README.md").read_text()
    found = json.loads((results / "m" / "invariance.json").read_text())["transforms"]["hue"]
    numbers = (
        f"{found[metric]['mean']:.3f} [{found[metric]['ci95'][0]:.3f}, {found[metric]['ci95'][1]:.3f}]"
        for metric in ("similarity", "width_matched_similarity", "distance")
    )
    assert f"| `hue` | appearance | {' | '.join(numbers)} |" in card
    score = json.loads((results / "t" / "transfer.json").read_text())
    low, high = score["ci95"]
    assert f"| `hue` | r2 | {score['score']:.3f} [{low:.3f}, {high:.3f}] | ridge |" in card


def test_results_of_other_backbones_are_refused(results: Path, tmp_path: Path) -> None:
    others = [
        _resnet(layer="layer4"),
        _resnet(views=ViewsConfig("ventral", 2)),
        _other(),
        export(_resnet(), tmp_path / "e"),
    ]
    for other in others:
        with pytest.raises(
            UserError, match=r"measured=.*: has results of other weights, layers or views \(random:resnet10"
        ):
            export(other, tmp_path / "exported", measured=[results])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: has no results"):
        export(_resnet(), tmp_path / "exported", measured=[tmp_path / "empty"])
    assert not (tmp_path / "exported").exists()


def test_fuse_writes_a_folder_too(tmp_path: Path) -> None:
    fused = fuse([_resnet(), _other()], out=tmp_path / "fused.ckpt", export=tmp_path / "fused", device="cpu")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_backbone(tmp_path / "fused")(images), fused(images))
    with pytest.raises(UserError, match=r"^export=.*fused: holds another backbone .*choose another export"):
        fuse([_resnet()], out=tmp_path / "other.ckpt", export=tmp_path / "fused", device="cpu")
    member = export(_resnet(), tmp_path / "member")
    again = fuse([str(member), BackboneConfig(checkpoint=str(member), layer="layer2")], device="cpu")
    assert again.num_features == 80
    with pytest.raises(UserError, match="a fused backbone cannot be a member"):
        fuse([str(tmp_path / "fused")], device="cpu")
