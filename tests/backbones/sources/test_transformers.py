"""Folders of transformers' models: their features and their input are those of transformers itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data as photographs
from torchvision.transforms import functional as F

from solo_invariance.backbones import BackboneConfig, load_backbone, random_init_of
from solo_invariance.errors import UserError
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.fuse import fuse

transformers = pytest.importorskip("transformers")
Built = tuple[Any, Any]
T = transformers

_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_DECODER = {
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
}
_SWIN = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 4,
}
_WHOLE = {"size": {"height": 32, "width": 32}}
_CROPPED = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}


def _pooled(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return model(pixels).pooler_output.flatten(1)


def _first(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return model(pixels).last_hidden_state[:, 0]


def _average(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return model(pixels).last_hidden_state.mean(1)


def _unmasked(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """MAE's encoder is a ViT: by the same weights, one of those."""
    vit = T.ViTModel(T.ViTConfig(**_VIT), add_pooling_layer=False).eval()
    vit.load_state_dict({**vit.state_dict(), **{k: v for k, v in model.state_dict().items() if k in vit.state_dict()}})
    return vit(pixels).last_hidden_state[:, 0]


def _clip() -> Any:
    return T.CLIPModel(T.CLIPConfig(vision_config=T.CLIPVisionConfig(**_VIT).to_dict(), text_config=dict(_TEXT)))


def _siglip() -> Any:
    vision = T.SiglipVisionConfig(**_VIT).to_dict()
    return T.SiglipModel(T.SiglipConfig(vision_config=vision, text_config=dict(_TEXT)))


def _dinov2(config: Any, model: Any, **more: Any) -> Any:
    kept = {key: value for key, value in _VIT.items() if key != "intermediate_size"}
    return model(config(**{**kept, **more}))


_STEPS = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "num_stages": 4}
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
_CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any], Callable[[Any], Any], Callable[..., Any], str]] = {
    "vit": (
        lambda: T.ViTModel(T.ViTConfig(**_VIT)),
        lambda: T.ViTImageProcessor(**_WHOLE),
        lambda m: m,
        _pooled,
        "its pooled output",
    ),
    "vit with a classifier": (
        lambda: T.ViTForImageClassification(T.ViTConfig(**_VIT)),
        lambda: T.ViTImageProcessor(**_WHOLE),
        lambda m: m.vit,
        _first,
        "its class token",
    ),
    "dinov2 of another size": (
        lambda: _dinov2(T.Dinov2Config, T.Dinov2Model, image_size=56),
        lambda: T.BitImageProcessor(**_CROPPED),
        lambda m: m,
        _pooled,
        "its pooled output",
    ),
    "dinov2 with registers": (
        lambda: _dinov2(T.Dinov2WithRegistersConfig, T.Dinov2WithRegistersModel, num_register_tokens=3),
        lambda: T.BitImageProcessor(**_CROPPED),
        lambda m: m,
        _pooled,
        "its pooled output",
    ),
    "beit": (
        lambda: T.BeitForImageClassification(T.BeitConfig(**_VIT)),
        lambda: T.BeitImageProcessor(**_WHOLE),
        lambda m: m.beit,
        _pooled,
        "its pooled output",
    ),
    "beit without its pooler": (
        lambda: T.BeitModel(T.BeitConfig(**_VIT), add_pooling_layer=False),
        lambda: T.BeitImageProcessor(**_WHOLE),
        lambda m: m,
        lambda m, pixels: m(pixels).last_hidden_state[:, 1:].mean(1),
        "the mean of its patches' tokens",
    ),
    "deit": (
        lambda: T.DeiTForImageClassificationWithTeacher(T.DeiTConfig(**_VIT)),
        lambda: T.DeiTImageProcessor(**_CROPPED),
        lambda m: m.deit,
        _first,
        "its class token",
    ),
    "swin": (
        lambda: T.SwinModel(T.SwinConfig(**_SWIN)),
        lambda: T.ViTImageProcessor(**_WHOLE),
        lambda m: m,
        _pooled,
        "its pooled output",
    ),
    "convnext": (
        lambda: T.ConvNextForImageClassification(T.ConvNextConfig(**_STEPS)),
        lambda: T.ConvNextImageProcessor(size={"shortest_edge": 32}),
        lambda m: m.convnext,
        _pooled,
        "its pooled output",
    ),
    "resnet": (
        lambda: T.ResNetForImageClassification(T.ResNetConfig(**_RESNET)),
        lambda: T.ConvNextImageProcessor(size={"shortest_edge": 32}),
        lambda m: m.resnet,
        _pooled,
        "its pooled output",
    ),
    "clip": (_clip, lambda: T.CLIPImageProcessor(**_CROPPED), lambda m: m.vision_model, _pooled, "its pooled output"),
    "siglip": (
        _siglip,
        lambda: T.SiglipImageProcessor(**_WHOLE),
        lambda m: m.vision_model,
        _pooled,
        "its pooled output",
    ),
    "mae": (
        lambda: T.ViTMAEForPreTraining(T.ViTMAEConfig(**_VIT, **_DECODER)),
        lambda: T.ViTImageProcessor(**_WHOLE),
        lambda m: m.vit,
        _unmasked,
        "its class token",
    ),
    "msn": (
        lambda: T.ViTMSNModel(T.ViTMSNConfig(**_VIT)),
        lambda: T.ViTImageProcessor(**_WHOLE),
        lambda m: m,
        _first,
        "its class token",
    ),
    "ijepa": (
        lambda: T.IJepaModel(T.IJepaConfig(**_VIT)),
        lambda: T.ViTImageProcessor(**_WHOLE),
        lambda m: m,
        _average,
        "the mean of its patches' tokens",
    ),
}


_WITHOUT_POOLER = ("vit with a classifier", "beit without its pooler", "deit")


def _drawn(model: Any) -> Any:
    """Weights as different from each other as trained ones, so that nothing is the same by chance."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.data += torch.rand(buffer.shape, generator=generator)
    return model.eval()


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Writes a small model of a kind as it is published."""

    def publish(kind: str, name: str = "model") -> tuple[Path, Any]:
        build, processor, _, _, _ = _CASES[kind]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = _drawn(build())
        model.save_pretrained(tmp_path / name)
        processor().save_pretrained(tmp_path / name)
        return tmp_path / name, model

    return publish


def _astronaut() -> Image.Image:
    return Image.fromarray(photographs.astronaut())


@pytest.mark.parametrize("kind", list(_CASES))
def test_features_are_those_of_transformers(kind: str, published: Callable[..., tuple[Path, Any]]) -> None:
    folder, model = published(kind)
    _, processor, network_of, features_of, said = _CASES[kind]
    backbone = load_backbone(f"hf:{folder}")
    with torch.no_grad():
        expected = features_of(network_of(model), processor()(_astronaut(), return_tensors="pt")["pixel_values"])
    # The photograph, resized and cropped as the processor does, but by Pillow: to bytes, not to fractions.
    spec = backbone.input_spec
    short = {36: 36, 32: 32}[(processor().size.get("shortest_edge") or 32)]
    short = 36 if kind in ("convnext", "resnet") else short  # 32 / 0.875
    resized = F.resize(_astronaut(), [short, short], F.InterpolationMode(spec.interpolation))
    image = F.to_tensor(F.center_crop(resized, [spec.crop_size] * 2))
    scale = expected.std()
    assert (backbone(image[None]) - expected).abs().max() < 0.02 * scale + 0.01
    # And of the very same pixels.
    pixels = processor()(_astronaut(), return_tensors="pt")["pixel_values"]
    crop = pixels * backbone.std + backbone.mean
    torch.testing.assert_close(backbone(crop.clamp(0, 1)), expected, atol=2e-5, rtol=1e-4)
    assert spec.crop_size == 32
    remarks = backbone.describe()["remarks"]
    assert remarks[0].startswith(f"hf:{folder}: gives {said} (transformers {T.__version__}), where backbone.pool and")
    assert (f"hf:{folder}: its pooler was not published" in remarks) == (kind in _WITHOUT_POOLER)
    assert torch.equal(backbone(image[None]), backbone(image[None]))


_PROCESSORS: dict[str, Callable[[], Any]] = {
    "siglip": lambda: T.SiglipImageProcessor(**_WHOLE),
    "not normalised": lambda: T.ViTImageProcessor(**_WHOLE, do_normalize=False),
    "not rescaled": lambda: T.ViTImageProcessor(
        **_WHOLE, do_rescale=False, image_mean=[100.0] * 3, image_std=[50.0] * 3
    ),
    "rescaled to [-1, 1]": lambda: T.ViTImageProcessor(
        **_WHOLE, rescale_factor=1 / 127.5, image_mean=[1.0, 0.5, 1.0], image_std=[1.0, 2.0, 1.0]
    ),
    "efficientnet": lambda: T.EfficientNetImageProcessor(**_WHOLE, image_std=[0.5, 0.25, 0.5]),
    "efficientnet, with an offset": lambda: T.EfficientNetImageProcessor(
        **_WHOLE, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False, image_mean=[0.1, 0.2, 0.3]
    ),
    "nearest": lambda: T.ViTImageProcessor(**_WHOLE, resample=0),
    "lanczos": lambda: T.ViTImageProcessor(**_WHOLE, resample=1),
}


@pytest.mark.parametrize("kind", list(_PROCESSORS))
def test_the_input_is_the_processors(kind: str, published: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = published("vit")
    processor = _PROCESSORS[kind]()
    processor.save_pretrained(folder)
    backbone = load_backbone(f"hf:{folder}")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close((images - backbone.mean) / backbone.std, expected.float(), atol=1e-4, rtol=1e-4)
    assert backbone.input_spec.interpolation == {"nearest": "nearest", "lanczos": "bicubic"}.get(
        kind, "bicubic" if "efficient" in kind or kind == "siglip" else "bilinear"
    )


def test_channels_in_the_order_of_the_processor(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, model = published("vit")
    T.MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(load_backbone(f"hf:{folder}")(images), _pooled(model, images.flip(1)))


def test_keys_win_over_the_processor(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, model = published("vit")
    backbone = load_backbone(f"hf:{folder}", mean=[0.1] * 3, crop_size=48)
    assert (backbone.input_spec.mean, backbone.input_spec.std) == ((0.1,) * 3, (0.5,) * 3)
    images = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        expected = model((images - 0.1) / 0.5, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(backbone(images), expected)


def test_without_a_processor_it_is_said_what_is_taken(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = published("vit")
    (folder / "preprocessor_config.json").unlink()
    backbone = load_backbone(f"hf:{folder}")
    assert backbone.input_spec.crop_size == 32
    assert "ImageNet's mean and std are taken" in backbone.describe()["remarks"][1]


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_every_weight_is_accounted_for(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = published("vit")
    name = "layernorm.weight"
    kept = load_file(folder / "model.safetensors")
    for change, message in (
        (lambda w: w.pop(name), r"1 missing \(layernorm\.weight\)"),
        (lambda w: w.update({"layers.7.extra": torch.ones(2)}), r"1 left over \(layers\.7\.extra"),
        (lambda w: w.update({name: torch.ones(31)}), "weight"),
        (lambda w: w.update({name: torch.full((32,), torch.nan)}), "32 numbers of 32 that are not finite"),
        (lambda w: w.pop("pooler.dense.weight"), r"missing \(pooler\.dense\.weight"),
    ):
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        _rewritten(folder, change)
        with pytest.raises(UserError, match=message) as error:
            load_backbone(f"hf:{folder}")
        assert str(folder / "model.safetensors") in str(error.value)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"there are no weights in .*; expected model\.safetensors or"):
        load_backbone(f"hf:{folder}")


def test_half_precision_is_computed_in_single(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, model = published("vit")
    model.half().save_pretrained(folder)
    backbone = load_backbone(f"hf:{folder}")
    assert {value.dtype for value in backbone.network.parameters()} == {torch.float32}


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_no_code_of_a_folder_runs(published: Callable[..., tuple[Path, Any]], tmp_path: Path) -> None:
    folder, _ = published("vit")
    marker = tmp_path / "ran"
    config = json.loads((folder / "config.json").read_text())
    (folder / "mine.py").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\nclass Mine: pass\n")
    auto = {"auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}}
    (folder / "config.json").write_text(json.dumps({**config, **auto, "_attn_implementation": "org/kernel"}))
    load_backbone(f"hf:{folder}")
    (folder / "config.json").write_text(json.dumps({**config, **auto, "model_type": "mine"}))
    with pytest.raises(UserError, match=r"model_type 'mine', which transformers .* does not have; code .* is not run"):
        load_backbone(f"hf:{folder}")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    torch.save({"layernorm.weight": _Runs(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin does not hold the weights of vit"):
        load_backbone(f"hf:{folder}")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "a bert is no network of colour images"),
        ({"model_type": "dpt", "backbone": "org/other"}, "a dpt is built around another network"),
        ({"model_type": "timm_wrapper", "architecture": "hf-hub:org/other"}, "a timm_wrapper is built around another"),
        ({"architecture": "resnet18", "pretrained_cfg": {}}, r"is timm's; write backbone\.name=timm:local-dir:"),
        ({"model_type": "vit", "hidden_size": "wide"}, r"its config\.json is none of a vit's"),
        ({"model_type": "vit", "num_channels": 1}, "no network of colour images"),
        ({}, "model_type None"),
    ],
)
def test_configurations_of_other_things(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_backbone(f"hf:{tmp_path}")


def test_what_is_no_folder(tmp_path: Path) -> None:
    for name, message in (
        (tmp_path / "none", "there is no such folder"),
        (tmp_path, r"there is no config\.json in"),
    ):
        with pytest.raises(UserError, match=f"hf:{name}: {message}"):
            load_backbone(f"hf:{name}")


def test_untrained_ones_are_drawn_anew(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = published("vit")
    backbone, other = load_backbone(f"hf:{folder}"), load_backbone(f"random:hf:{folder}", seed=3)
    assert torch.equal(
        load_backbone(f"random:hf:{folder}", seed=3)(torch.ones(1, 3, 32, 32)), other(torch.ones(1, 3, 32, 32))
    )
    twin = random_init_of(backbone, 0)
    weights = [one.network.state_dict()["layers.0.mlp.fc1.weight"] for one in (backbone, other, twin)]
    assert not any(torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    # transformers draws from a normal distribution of this deviation, cut at two of them.
    assert all(abs(float(one.std()) - 0.02) < 0.003 for one in weights[1:])
    assert twin.input_spec == other.input_spec == backbone.input_spec


def test_a_folder_is_the_architecture_of_a_file(published: Callable[..., tuple[Path, Any]], tmp_path: Path) -> None:
    folder, model = published("vit")
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "mine.pth")
    (folder / "model.safetensors").unlink()
    backbone = load_backbone(tmp_path / "mine.pth", name=f"hf:{folder}")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), _pooled(model, (images - 0.5) / 0.5))


@pytest.mark.parametrize("kind", ["vit with a classifier", "mae", "clip"])
def test_a_fusion_needs_its_members_folders_no_more(
    kind: str, published: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    folder, _ = published(kind)
    fused = fuse([f"hf:{folder}", BackboneConfig(name=f"random:hf:{folder}")], out=tmp_path / "fused.ckpt")
    images = torch.rand(2, 3, 32, 32)
    expected = fused(images)
    shutil.rmtree(folder)
    again = load_backbone(tmp_path / "fused.ckpt")
    assert torch.equal(again(images), expected)
    assert not torch.equal(expected[:, :32], expected[:, 32:])
    assert again.describe()["remarks"] == fused.describe()["remarks"]


def test_layers_by_their_names(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, model = published("vit")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        hidden = model((images - 0.5) / 0.5, output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(load_backbone(f"hf:{folder}", layer="layers.0")(images), hidden.mean(1))


@pytest.mark.parametrize(("kind", "prefix"), [("vit", 1), ("dinov2 with registers", 4), ("clip", 1), ("mae", 1)])
def test_tokens_are_pooled_as_is_asked_for(kind: str, prefix: int, published: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = published(kind)
    images = torch.rand(2, 3, 32, 32)
    own = load_backbone(f"hf:{folder}")
    with torch.no_grad():
        tokens = own.network.forward_features((images - own.mean) / own.std)  # type: ignore[operator]
    assert tokens.shape == (2, prefix + 16, 32)
    first, patches = tokens[:, 0], tokens[:, prefix:].mean(1)
    for pool, expected in (("cls", first), ("mean", patches), ("both", torch.cat([first, patches], 1))):
        torch.testing.assert_close(load_backbone(f"hf:{folder}", pool=pool)(images), expected)


def test_features_are_kept_by_the_weights(published: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = published("vit")
    first = load_backbone(f"hf:{folder}")
    _rewritten(folder, lambda weights: weights["layernorm.bias"].add_(1))
    second = load_backbone(f"hf:{folder}")
    assert digest_of_backbone(first) != digest_of_backbone(second)
    assert first.provenance.sha256 != second.provenance.sha256
