"""What the features of vision transformers are of: the class token, the patches' mean, both; of images of any size."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.models.swin_transformer import checkpoint_filter_fn as windows_filter_fn
from timm.models.vision_transformer import VisionTransformer as TimmsViT
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from solo_invariance.backbones import BackboneConfig, load_backbone, random_init_of
from solo_invariance.backbones.chosen import with_features
from solo_invariance.backbones.tokens import Pooling, TokenKinds
from solo_invariance.errors import UserError
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.fuse import fuse

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
TINY: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2}


def _vit(**kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    network = TimmsViT(**{**SMALL, **kwargs}).eval()
    with torch.no_grad():
        for value in network.parameters():
            value += 0.1 * torch.randn(value.shape)
    return network


def _chosen(network: nn.Module, **pooling: Any) -> nn.Module:
    return with_features(network, pooling.pop("layer", None), Pooling(**pooling)).eval()


def _tokens(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    with network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output)):
        network(images)
    return seen[0]


@pytest.mark.parametrize(
    ("kwargs", "prefix"),
    [
        ({}, 1),
        ({"reg_tokens": 4}, 5),
        ({"class_token": False, "global_pool": "avg"}, 0),
        ({"class_token": False, "reg_tokens": 2, "global_pool": "avg"}, 2),
        ({"global_pool": "avg"}, 1),  # which normalises after it pools
        ({"fc_norm": True}, 1),
    ],
)
@torch.no_grad()
def test_tokens_by_hand(kwargs: dict[str, Any], prefix: int) -> None:
    network, images = _vit(**kwargs), torch.rand(2, 3, 32, 32)
    tokens = network.fc_norm(network.norm(_tokens(network, "blocks", images)))
    assert tokens.shape[1] == prefix + 16
    # A norm after pooling is of the pooled token, not of each.
    before = network.norm(_tokens(network, "blocks", images))
    mean, everything = network.fc_norm(before[:, prefix:].mean(1)), network.fc_norm(before.mean(1))
    torch.testing.assert_close(_chosen(network, pool="mean")(images), mean)
    torch.testing.assert_close(_chosen(network, pool="mean", tokens="all")(images), everything)
    if kwargs.get("class_token", True):
        first = tokens[:, 0]
        torch.testing.assert_close(_chosen(network, pool="cls")(images), first)
        torch.testing.assert_close(_chosen(network, pool="both")(images), torch.cat([first, mean], 1))
        torch.testing.assert_close(
            _chosen(network, pool="both", tokens="all")(images), torch.cat([first, everything], 1)
        )
    else:
        for pool in ("cls", "both"):
            with pytest.raises(UserError, match=rf"backbone\.pool={pool}: the network has no class token"):
                _chosen(network, pool=pool)(images)


@torch.no_grad()
def test_the_networks_own_pooling_is_one_of_them() -> None:
    images = torch.rand(2, 3, 32, 32)
    for kwargs, pool in (({}, "cls"), ({"global_pool": "avg"}, "mean"), ({"reg_tokens": 4}, "cls")):
        network = _vit(**kwargs)
        torch.testing.assert_close(_chosen(network, pool=pool)(images), network(images))


@torch.no_grad()
def test_what_pools_by_attention_has_patches_too() -> None:
    network, images = _vit(global_pool="map", class_token=False), torch.rand(2, 3, 32, 32)
    tokens = network.norm(_tokens(network, "blocks", images))
    torch.testing.assert_close(_chosen(network, pool="mean")(images), tokens.mean(1))


@torch.no_grad()
def test_torchvisions_tokens() -> None:
    torch.manual_seed(0)
    network, images = VisionTransformer(32, 8, 2, 2, 16, 32).eval(), torch.rand(2, 3, 32, 32)
    network.heads = nn.Identity()
    tokens = _tokens(network, "encoder", images)
    assert tokens.shape == (2, 17, 16)
    torch.testing.assert_close(_chosen(network, pool="cls")(images), network(images))
    torch.testing.assert_close(_chosen(network, pool="mean")(images), tokens[:, 1:].mean(1))


@torch.no_grad()
def test_dinov2s_own_code_names_its_tokens() -> None:
    class Dino(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_token, self.register_tokens = (
                nn.Parameter(torch.zeros(1, 1, 4)),
                nn.Parameter(torch.zeros(1, 2, 4)),
            )

        def forward_features(self, images: Tensor) -> dict[str, Tensor]:
            tokens = images.flatten(2).transpose(1, 2).repeat(1, 1, 2)[..., :4]
            return {
                "x_norm_clstoken": tokens[:, 0],
                "x_norm_regtokens": tokens[:, 1:3] + 100,
                "x_norm_patchtokens": tokens[:, :9],
            }

    images = torch.rand(2, 3, 3, 3)
    patches = images.flatten(2).transpose(1, 2).repeat(1, 1, 2)[..., :4]
    torch.testing.assert_close(_chosen(Dino(), pool="both")(images), torch.cat([patches[:, 0], patches.mean(1)], dim=1))


@torch.no_grad()
def test_layers_are_pooled_likewise() -> None:
    network, images = _vit(reg_tokens=4), torch.rand(2, 3, 32, 32)
    tokens = _tokens(network, "blocks.0", images)
    layer = "blocks.0"
    for pooling, expected in (
        ({}, tokens.mean(1)),
        ({"tokens": "patches"}, tokens[:, 5:].mean(1)),
        ({"pool": "mean"}, tokens[:, 5:].mean(1)),
        ({"pool": "mean", "tokens": "all"}, tokens.mean(1)),
        ({"pool": "cls"}, tokens[:, 0]),
        ({"pool": "both"}, torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], 1)),
    ):
        torch.testing.assert_close(_chosen(network, layer=layer, **pooling)(images), expected)
    # Before the class and register tokens join them, all are patches.
    patches = _tokens(network, "patch_embed", images)
    torch.testing.assert_close(_chosen(network, layer="patch_embed", pool="mean")(images), patches.mean(1))
    with pytest.raises(UserError, match=r"backbone\.pool=cls: layer patch_embed has no class token"):
        _chosen(network, layer="patch_embed", pool="cls")(images)
    with pytest.raises(UserError, match=r"backbone\.pool=mean: layer patch_embed\.proj has no tokens \(N, T, C\)"):
        _chosen(network, layer="patch_embed.proj", pool="mean")(images)


def test_which_tokens_are_of_patches() -> None:
    one, five, none = TokenKinds(1, True), TokenKinds(5, True), TokenKinds(0, False)
    assert [one.before_patches(length) for length in (1, 10, 9, 197, 196, 12)] == [1, 1, 0, 1, 0, None]
    assert [five.before_patches(length) for length in (5, 9, 201, 196, 200)] == [5, 5, 5, 0, None]
    assert [none.before_patches(length) for length in (49, 50)] == [0, None]


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (
            "random:timm:test_resnet",
            {"pool": "cls"},
            "timm:test_resnet has no tokens at its end, as vision transformers have",
        ),
        ("random:resnet10", {"pool": "mean"}, "resnet10 has no tokens at its end"),
        ("random:timm:pit_ti_224", {"pool": "mean"}, "none of the 1 tokens of the network are known to be of patches"),
    ],
)
def test_networks_that_have_none(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"backbone\.pool={keys['pool']}: {message}"):
        load_backbone(name, **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pool": "max"}, r"backbone\.pool=max: expected one of cls, mean, both"),
        ({"pool": "mean", "tokens": "cls"}, r"backbone\.tokens=cls: expected one of patches, all"),
        ({"tokens": "all"}, r"backbone\.tokens=all: .*set backbone\.pool=mean or backbone\.layer too"),
        ({"pool": "cls", "tokens": "all"}, r"backbone\.tokens=all: .*backbone\.pool=cls takes none"),
    ],
)
def test_values_that_are_none(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BackboneConfig(name="random:timm:test_vit", **keys)


def test_results_say_which() -> None:
    said = [
        load_backbone("random:timm:test_vit", **keys).describe()
        for keys in (
            {},
            {"pool": "mean"},
            {"pool": "both", "tokens": "all"},
            {"layer": "blocks.0", "tokens": "patches"},
        )
    ]
    assert [(one["pool"], one["tokens"]) for one in said] == [
        ("cls", None),
        ("mean", "patches"),
        ("both", "all"),
        (None, "patches"),
    ]
    assert load_backbone("random:timm:test_resnet").describe()["pool"] is None


def test_features_are_kept_by_their_pooling() -> None:
    choices = ({}, {"pool": "cls"}, {"pool": "mean"}, {"pool": "mean", "tokens": "all"})
    digests = {digest_of_backbone(load_backbone("random:timm:test_vit", **keys)) for keys in choices}
    assert len(digests) == len(choices)


def test_members_and_twins_keep_it(tmp_path: Path) -> None:
    members = [
        BackboneConfig(name="random:timm:test_vit", pool="both"),
        BackboneConfig(name="random:timm:test_vit", layer=["blocks.0", "norm"], pool="mean"),
        BackboneConfig(name="random:timm:test_vit"),
    ]
    fused = fuse(members, out=tmp_path / "fused.ckpt")
    again = load_backbone(tmp_path / "fused.ckpt")
    images = torch.rand(2, 3, 160, 160)
    assert [member.num_features for member in again.members] == [128, 128, 64]
    torch.testing.assert_close(again(images), fused(images))
    torch.testing.assert_close(again(images)[:, :128], load_backbone(members[0])(images))
    twin = random_init_of(again, seed=1)
    assert [member.describe()["pool"] for member in twin.members] == ["both", "mean", "cls"]
    with pytest.raises(UserError, match=r"backbone\.pool: .*fused\.ckpt is a fused one"):
        load_backbone(tmp_path / "fused.ckpt", pool="cls")


def _saved(path: Path, network: nn.Module) -> Path:
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "deit3_small_patch16_224"])
@torch.no_grad()
def test_positions_are_interpolated_as_timm_does_it(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    trained = timm.create_model(name, num_classes=0, **TINY).eval()
    trained.pos_embed += torch.randn(trained.pos_embed.shape)
    size = 6 * trained.patch_embed.patch_size[0]
    other = timm.create_model(name, num_classes=0, img_size=size, **TINY).eval()
    other.load_state_dict(checkpoint_filter_fn(trained.state_dict(), other))
    path = _saved(tmp_path / "a.pth", trained)
    images = torch.rand(2, 3, size, size)
    expected = other((images - torch.tensor(0.5)) / 0.5)
    for keys in ({"kwargs": TINY, "crop_size": size}, {"kwargs": {**TINY, "img_size": size}}):
        backbone = load_backbone(path, name=f"timm:{name}", mean=[0.5] * 3, std=[0.5] * 3, **keys)
        assert backbone.input_spec.crop_size == size
        torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-4)
        own = trained.patch_embed.img_size[0]
        assert backbone.provenance.remarks[-1].startswith(
            f"its positions, of images of {own} pixels, are interpolated to {size} pixels"
        )
    native = load_backbone(path, name=f"timm:{name}", kwargs=TINY)
    assert (native.input_spec.crop_size, native.provenance.remarks) == (own, ())


@torch.no_grad()
def test_a_file_is_of_the_size_that_its_positions_are_for(tmp_path: Path) -> None:
    """As where a network was trained, or fine-tuned, on other images than its name says."""
    torch.manual_seed(0)
    trained = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=96, **TINY).eval()
    path = _saved(tmp_path / "a.pth", trained)
    keys: dict[str, Any] = {"name": "timm:vit_tiny_patch16_224", "kwargs": TINY}
    backbone = load_backbone(path, **keys)
    assert (backbone.input_spec.crop_size, backbone.architecture.kwargs["img_size"]) == (96, 96)
    images = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(backbone(images), trained((images - backbone.mean) / backbone.std))
    wider = load_backbone(path, **keys, crop_size=160)
    assert wider.network.pos_embed.shape == (1, 101, 32)
    fused = fuse([wider, backbone])
    fuse([BackboneConfig(checkpoint=str(path), **keys, crop_size=160)] * 2, out=tmp_path / "fused.ckpt")
    large = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(load_backbone(tmp_path / "fused.ckpt")(large)[:, :32], fused(large)[:, :32])


@pytest.mark.filterwarnings("ignore::UserWarning")
@torch.no_grad()
def test_windows_are_of_another_size_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    name, kwargs = "swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1), "embed_dim": 24}
    trained = timm.create_model(name, num_classes=0, **kwargs).eval()
    backbone = load_backbone(_saved(tmp_path / "a.pth", trained), name=f"timm:{name}", kwargs=kwargs, crop_size=96)
    other = timm.create_model(name, num_classes=0, img_size=96, **kwargs).eval()
    other.load_state_dict(windows_filter_fn(trained.state_dict(), other))
    images = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(backbone(images), other((images - backbone.mean) / backbone.std), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_torchvision_interpolates_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(name: str, weights: Any = None, image_size: int = 64, **kwargs: Any) -> VisionTransformer:
        return VisionTransformer(image_size, 16, 2, 2, 16, 32, **kwargs)

    monkeypatch.setattr(torchvision.models, "get_model", build)
    torch.manual_seed(0)
    trained = build("vit_b_16", num_classes=3).eval()
    for value in trained.parameters():
        value += 0.1 * torch.randn(value.shape)
    path, images = _saved(tmp_path / "a.pth", trained), torch.rand(2, 3, 96, 96)
    backbone = load_backbone(path, name="torchvision:vit_b_16", crop_size=96)
    other = build("vit_b_16", image_size=96, num_classes=3).eval()
    state = torchvision.models.vision_transformer.interpolate_embeddings(96, 16, trained.state_dict())
    other.load_state_dict(state)
    other.heads = nn.Identity()
    torch.testing.assert_close(backbone(images), other((images - backbone.mean) / backbone.std))
    assert load_backbone(path, name="torchvision:vit_b_16").input_spec.crop_size == 64


def test_networks_that_take_any_size_are_left_alone() -> None:
    for name, kwargs in (("random:timm:test_resnet", {}), ("random:timm:test_vit", {"dynamic_img_size": True})):
        backbone = load_backbone(name, kwargs=kwargs, crop_size=64)
        assert "img_size" not in backbone.architecture.kwargs
        assert backbone.provenance.remarks == ()


def test_an_untrained_network_is_built_in_its_size() -> None:
    backbone = load_backbone("random:timm:vit_tiny_patch16_224", kwargs=TINY, crop_size=64)
    assert backbone.network.patch_embed.img_size == (64, 64)
    assert backbone.provenance.remarks == ()
    assert random_init_of(backbone, seed=1).network.pos_embed.shape == (1, 17, 32)


def test_positions_that_nobody_interpolates(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.pth", timm.create_model("mixer_s32_224"))
    message = r"backbone\.crop_size=96: timm:mixer_s32_224 has weights for images of one size"
    with pytest.raises(UserError, match=message):
        load_backbone(path, name="timm:mixer_s32_224", crop_size=96)


def test_a_network_that_pools_nothing() -> None:
    """As timm's encoders of language models do, which give all tokens."""
    keys: dict[str, Any] = {"kwargs": {"global_pool": "", **TINY}, "crop_size": 64}
    with pytest.raises(UserError, match=r"expected features \(N, D\); of its tokens, backbone\.pool=mean takes"):
        load_backbone("random:timm:vit_tiny_patch16_224", **keys)
    backbone = load_backbone("random:timm:vit_tiny_patch16_224", **keys, pool="mean")
    images = torch.rand(2, 3, 64, 64)
    tokens = backbone.network.network((images - backbone.mean) / backbone.std)
    torch.testing.assert_close(backbone(images), tokens[:, 1:].mean(1))
