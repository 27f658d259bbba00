"""Checkpoints that other packages write themselves, here: the features are those of their network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, load_backbone
from solo_invariance.errors import UserError

VIT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 192, "image_size": 32}
VIT |= {"patch_size": 8, "layer_norm_eps": 1e-6}
TIMMS_VIT = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 32, "patch_size": 8}
DINOV2 = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 42, "patch_size": 14}
TIMMS_DINOV2 = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 42}
GATED = {"mlp_ratio": 2.66667 * 2}
BASIC = {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
BOTTLENECK = {"embedding_size": 8, "hidden_sizes": [32, 64, 128, 256], "depths": [3, 4, 6, 3]}
NARROW = {"width": 0.125}
NEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
TIMMS_NEXT = {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}


def _class_token(network: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = network(images).last_hidden_state[:, 0]
    return features


def _mean(network: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = network(images).last_hidden_state.mean(1)
    return features


def _mean_of_patches(network: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = network(images).last_hidden_state[:, 5:].mean(1)
    return features


def _pooled(network: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = network(images).pooler_output.flatten(1)
    return features


TRANSFORMERS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], Callable[[nn.Module, Tensor], Tensor]]] = {
    "ViT": ("ViT", VIT, "timm:vit_tiny_patch16_224", TIMMS_VIT, _class_token),
    "ViTMSN": ("ViTMSN", VIT, "timm:vit_tiny_patch16_224", TIMMS_VIT, _class_token),
    "IJepa": (
        "IJepa",
        VIT,
        "timm:vit_tiny_patch16_224",
        {**TIMMS_VIT, "class_token": False, "global_pool": "avg", "fc_norm": False},
        _mean,
    ),
    "Dinov2": ("Dinov2", DINOV2, "timm:vit_small_patch14_dinov2", TIMMS_DINOV2, _class_token),
    "Dinov2, gated": (
        "Dinov2",
        {**DINOV2, "use_swiglu_ffn": True},
        "timm:vit_giant_patch14_dinov2",
        {**TIMMS_DINOV2, **GATED},
        _class_token,
    ),
    "Dinov2WithRegisters": (
        "Dinov2WithRegisters",
        {**DINOV2, "num_register_tokens": 4},
        "timm:vit_small_patch14_reg4_dinov2",
        TIMMS_DINOV2,
        _class_token,
    ),
    "DINOv3ViT": (
        "DINOv3ViT",
        {**VIT, "patch_size": 16, "num_register_tokens": 4, "layer_norm_eps": 1e-5},
        "timm:vit_small_patch16_dinov3_qkvb",
        {**TIMMS_VIT, "patch_size": 16},
        _mean_of_patches,  # as timm has it
    ),
    "ResNet": ("ResNet", BASIC, "resnet10", NARROW, _pooled),
    "ResNet, of bottlenecks": ("ResNet", BOTTLENECK, "resnet50", NARROW, _pooled),
    "ConvNext": ("ConvNext", NEXT, "timm:convnext_tiny", TIMMS_NEXT, _pooled),
}


def _features(network: Callable[[Tensor], Tensor], backbone: Backbone) -> Tensor:
    size = backbone.input_spec.crop_size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return network((images - backbone.mean) / backbone.std)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_transformers(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    family, theirs, name, kwargs, features = TRANSFORMERS[kind]
    config = getattr(transformers, f"{family}Config")(**theirs)
    torch.manual_seed(0)
    network = getattr(transformers, f"{family}Model")(config).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value += 0.02 * torch.rand_like(value)
    network.save_pretrained(tmp_path)
    files = {
        "published": load_file(tmp_path / "model.safetensors"),
        "in memory": network.state_dict(),
        "in a module": {"state_dict": {f"model.net.{own}": value for own, value in network.state_dict().items()}},
    }
    size = theirs.get("image_size", 64)
    for content in files.values():
        torch.save(content, tmp_path / "a.pth")
        backbone = load_backbone(tmp_path / "a.pth", name=name, kwargs=kwargs, crop_size=size)
        expected = _features(lambda images: features(network, images), backbone)
        torch.testing.assert_close(_features(backbone.network, backbone), expected, atol=1e-3, rtol=1e-2)
    short = dict(network.state_dict())
    del short[next(own for own in short if own.endswith("bias"))]
    torch.save(short, tmp_path / "a.pth")
    with pytest.raises(UserError, match="does not fit the backbone"):
        load_backbone(tmp_path / "a.pth", name=name, kwargs=kwargs, crop_size=size)


def test_lightlys_masked_vit(tmp_path: Path) -> None:
    modules = pytest.importorskip("lightly.models.modules")
    torch.manual_seed(0)
    vit = Architecture("timm:vit_tiny_patch16_224", {"pretrained": False, **TIMMS_VIT}).build()
    masked = modules.MaskedVisionTransformerTIMM(vit=vit).eval()
    student = modules.MaskedVisionTransformerTIMM(vit=Architecture("timm:vit_tiny_patch16_224", TIMMS_VIT).build())
    both = nn.ModuleDict({"teacher_backbone": masked, "student_backbone": student, "student_head": nn.Linear(3, 3)})
    torch.save({"state_dict": both.state_dict()}, tmp_path / "a.ckpt")
    backbone = load_backbone(tmp_path / "a.ckpt", name="timm:vit_tiny_patch16_224", kwargs=TIMMS_VIT, crop_size=32)
    torch.testing.assert_close(_features(backbone.network, backbone), _features(masked, backbone), atol=1e-5, rtol=1e-4)
    assert backbone.provenance.key == "state_dict.teacher_backbone.vit"


def test_averaged_models_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Architecture("resnet10", NARROW).build()
    averaged = torch.optim.swa_utils.AveragedModel(network)
    with torch.no_grad():
        network.conv1.weight += 1
    averaged.update_parameters(network)
    with torch.no_grad():
        network.conv1.weight += 1
    averaged.update_parameters(network)
    torch.save({"model": network.state_dict(), "swa_model": averaged.state_dict()}, tmp_path / "a.pth")
    backbone = load_backbone(tmp_path / "a.pth", name="resnet10", kwargs=NARROW, crop_size=32)
    assert torch.equal(backbone.network.conv1.weight, averaged.module.conv1.weight)
    assert not torch.equal(backbone.network.conv1.weight, network.conv1.weight)
