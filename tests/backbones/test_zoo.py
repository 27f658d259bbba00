"""Files of whole networks, classifiers included: their features are those of the network without its classifier."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.maxvit import MaxVit

from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.errors import UserError
from solo_invariance.fuse import fuse

# One or two of each name that classifiers have in timm: fc, head.fc, head.linear, head.head.l, classif, ...
_TIMMS = [
    "test_resnet",
    "test_vit",
    "test_convnext",
    "test_efficientnet",
    "mobilenetv3_small_050",
    "efficientvit_m0",
    "efficientvit_b0",
    "iformer_t",
    "swiftformer_xs",
    "inception_next_atto",
    "cpubone_nano",
    "legacy_seresnet18",
    "lambda_resnet26t",
    "levit_128s",
    "deit_tiny_distilled_patch16_224",
]


def _shaken(network: nn.Module) -> nn.Module:
    """A network in evaluation mode none of whose layers is the identity, as some are at first."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.02 * torch.randn(value.shape, generator=generator)
    return network.eval()


def _saved(path: Path, network: nn.Module) -> Path:
    torch.save({"state_dict": network.state_dict()}, path)
    return path


def _assert_same(features: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name in _TIMMS if timm.is_model(name)])
def test_timms_file_with_its_classifier(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    whole = _shaken(timm.create_model(name, num_classes=7))
    backbone = load_backbone(_saved(tmp_path / "a.pth", whole), name=f"timm:{name}")
    headless = timm.create_model(name, num_classes=0).eval()
    headless.load_state_dict({key: whole.state_dict()[key] for key in headless.state_dict()})
    size = backbone.input_spec.crop_size
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        expected = headless((images - backbone.mean) / backbone.std)
    assert backbone.num_features == expected.shape[1]
    _assert_same(backbone(images), expected)


def test_a_part_of_the_features_is_no_classifier(tmp_path: Path) -> None:
    whole = timm.create_model("test_convnext")
    state = dict(whole.state_dict())
    del state["head.norm.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"1 missing \(head\.norm\.weight\)"):
        load_backbone(tmp_path / "a.pth", name="timm:test_convnext")


def test_timms_networks_take_colour_images() -> None:
    with pytest.raises(UserError, match=r"backbone\.kwargs\.in_chans=1: images have three channels"):
        load_backbone("random:timm:test_resnet", kwargs={"in_chans": 1})


def _convnext(**kwargs: Any) -> ConvNeXt:
    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], **kwargs)


def _maxvit(**kwargs: Any) -> MaxVit:
    return MaxVit((64, 64), 8, 2, [16, 16], [1, 1], 8, 0.0, **kwargs)


def _small(monkeypatch: pytest.MonkeyPatch, name: str, size: int = 64) -> dict[str, Any]:
    """Have torchvision build small networks of the large classes; return what else these take."""
    builders = {"convnext_tiny": _convnext, "maxvit_t": _maxvit}
    get_model = torchvision.models.get_model

    def build(asked: str, weights: Any = None, **kwargs: Any) -> nn.Module:
        return builders[asked](**kwargs) if asked in builders else get_model(asked, weights=weights, **kwargs)

    monkeypatch.setattr(torchvision.models, "get_model", build)
    return {"init_weights": False} if name in ("googlenet", "inception_v3") else {}


def _last_layer(network: nn.Module) -> nn.Module:
    return [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("alexnet", 4096),
        ("squeezenet1_1", 512),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("shufflenet_v2_x0_5", 1024),
        ("mnasnet0_5", 1280),
        ("efficientnet_b0", 1280),
        ("regnet_y_400mf", 440),
        ("googlenet", 1024),
        ("convnext_tiny", 16),
        ("maxvit_t", 16),
    ],
)
def test_torchvisions_features_are_what_the_last_layer_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    kwargs = _small(monkeypatch, name)
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name, num_classes=5, **kwargs)
    whole = _shaken(whole)
    backbone = load_backbone(_saved(tmp_path / "a.pth", whole), name=f"torchvision:{name}", kwargs=kwargs, crop_size=64)
    assert backbone.num_features == width
    images, seen = torch.rand(2, 3, 64, 64), []
    _last_layer(whole).register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        whole((images - backbone.mean) / backbone.std)
    _assert_same(backbone(images), seen[0] if seen[0].ndim == 2 else seen[0].mean((2, 3)))


@pytest.mark.parametrize(("name", "width"), [("mobilenet_v3_small", 576), ("convnext_tiny", 16), ("maxvit_t", 16)])
def test_a_file_without_hidden_layers_gives_the_pooled_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    """As self-supervised training leaves it, which puts its own head where the classifier was."""
    _small(monkeypatch, name)
    torch.manual_seed(0)
    whole = _shaken(torchvision.models.get_model(name))
    maps = nn.Sequential(*list(whole.children())[:-1])
    torch.save(
        {key: v for key, v in whole.state_dict().items() if not key.startswith("classifier.")}, tmp_path / "a.pt"
    )
    backbone = load_backbone(tmp_path / "a.pt", name=f"torchvision:{name}", crop_size=64)
    images = torch.rand(2, 3, 64, 64)
    normalised = (images - backbone.mean) / backbone.std
    with torch.no_grad():
        if name == "maxvit_t":
            last = whole.stem(normalised)
            for block in whole.blocks:
                last = block(last)
        else:
            last = maps(normalised)
    assert backbone.num_features == width
    _assert_same(backbone(images), last.mean((2, 3)))
    chosen = load_backbone(
        _saved(tmp_path / "b.pt", whole), name=f"torchvision:{name}", kwargs={"hidden_layers": False}, crop_size=64
    )
    assert torch.equal(chosen(images), backbone(images))
    fuse(
        [BackboneConfig(checkpoint=str(tmp_path / "a.pt"), name=f"torchvision:{name}", crop_size=64)] * 2,
        out=tmp_path / "fused.ckpt",
    )
    again = load_backbone(tmp_path / "fused.ckpt")
    assert torch.equal(again(images)[:, :width], backbone(images))


def test_google_wants_other_statistics_of_its_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torchvision loads its weights, it builds these networks with ``transform_input``; so where a file is it."""
    torch.manual_seed(0)
    whole = _shaken(torchvision.models.get_model("googlenet", init_weights=False))
    path, keys = _saved(tmp_path / "a.pth", whole), {"name": "torchvision:googlenet", "kwargs": {"init_weights": False}}
    images = torch.rand(2, 3, 64, 64)
    own = load_backbone(path, crop_size=64, **keys)
    assert own.network.transform_input is False
    url = torchvision.models.get_model_weights("googlenet").DEFAULT.value.url
    beginning = url.removesuffix(".pth").rpartition("-")[2]
    monkeypatch.setattr("solo_invariance.backbones.load.sha256_of", lambda path: beginning + "0" * 56)
    published = load_backbone(path, crop_size=64, **keys)
    assert published.network.transform_input is True
    whole.transform_input, whole.fc = True, nn.Identity()
    with torch.no_grad():
        expected = whole((images - own.mean) / own.std)
    _assert_same(published(images), expected)
    assert not torch.allclose(own(images), expected, rtol=1e-2)
    member = load_backbone(path, crop_size=64, **keys)
    fused = fuse([member, member])
    save_fused(fused, tmp_path / "fused.ckpt")
    torch.testing.assert_close(load_backbone(tmp_path / "fused.ckpt")(images), fused(images))


@pytest.mark.parametrize("patch", [8, 14, 32])
def test_patches_of_another_size_are_another_network(tmp_path: Path, patch: int) -> None:
    # timm's conversion would resample them; 48 x 3 x 8 x 8 is also how many numbers a hidden layer has.
    small = {"depth": 2, "embed_dim": 48, "num_heads": 2}
    torch.save(timm.create_model("vit_tiny_patch16_224", img_size=96, **small).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(UserError, match=r"1 of another shape \(patch_embed\.proj\.weight \(48, 3, 16, 16\)"):
        load_backbone(tmp_path / "vit.pth", name="timm:vit_tiny_patch16_224", kwargs={**small, "patch_size": patch})
