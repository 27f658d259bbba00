"""What a file looks like is said as keys that build the very network that it is from."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, load_backbone
from solo_invariance.backbones.files.layouts import looks_like
from solo_invariance.errors import UserError

State = dict[str, Tensor]


def _built(name: str, kwargs: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return Architecture(name, kwargs).without_weights().build()


def _named(state: State, rules: dict[str, str]) -> State:
    found = {}
    for name, value in state.items():
        for pattern, new in rules.items():
            name = re.sub(pattern, new, name)
        found[name] = value
    return found


def _keys(hint: str) -> tuple[str, dict[str, Any]]:
    found = re.fullmatch(r"; it looks like backbone\.name=(\S+)((?: backbone\.kwargs\.\w+=\S+)*)", hint)
    assert found is not None, hint
    pairs = [argument.removeprefix("backbone.kwargs.").partition("=") for argument in shlex.split(found[2])]
    return found[1], {key: yaml.safe_load(value) for key, _, value in pairs}


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        *((name, {}) for name in ("resnet10", "resnet18", "resnet50", "resnet18w3")),
        *(
            (f"torchvision:{name}", {})
            for name in ("resnet34", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d")
        ),
        ("resnet18", {"width": 0.5}),
        *((f"timm:vit_{name}_224", {}) for name in ("tiny_patch16", "small_patch16", "base_patch8", "large_patch16")),
        ("timm:vit_base_patch32_224", {}),
        ("timm:vit_huge_patch14_224", {}),
        ("timm:vit_tiny_patch16_224", {"img_size": 96, "patch_size": 8, "depth": 4}),
        ("timm:vit_huge_patch14_224", {"class_token": False, "global_pool": "avg", "fc_norm": False}),
        ("timm:vit_base_patch16_224", {"global_pool": "avg"}),
        *((f"timm:vit_{size}_patch14_dinov2", {}) for size in ("small", "base", "large", "giant")),
        ("timm:vit_small_patch14_dinov2", {"img_size": 224}),
        ("timm:vit_base_patch14_reg4_dinov2", {}),
        ("timm:vit_small_patch16_dinov3", {}),
        ("timm:deit_small_distilled_patch16_224", {}),
        ("timm:beit_base_patch16_224", {}),
        ("timm:vit_base_patch32_clip_224", {}),
        *((f"timm:convnext_{size}", {}) for size in ("tiny", "small", "base", "large")),
        ("timm:convnextv2_tiny", {}),
        ("torchvision:vit_b_16", {}),
        ("torchvision:vit_b_32", {"image_size": 96}),
        ("torchvision:convnext_tiny", {}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.backbone."])
def test_what_it_looks_like_builds_it(name: str, kwargs: dict[str, Any], prefix: str) -> None:
    state = _built(name, kwargs).state_dict()
    hint = looks_like({"state_dict": {f"{prefix}{own}": value for own, value in state.items()}})
    found = _built(*_keys(hint)).state_dict()
    assert {own: value.shape for own, value in found.items()} == {own: value.shape for own, value in state.items()}
    assert _keys(hint)[0].partition(":")[0] == name.partition(":")[0] or name == "resnet18w3"


def _in_chunks(state: State) -> State:
    return _named(state, {r"^blocks\.([0-5])\.": r"blocks.0.\1.", r"^blocks\.(\d\d?)\.(?!\d)": r"blocks.1.\1."})


def _by_numbers(network: nn.Module) -> State:
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("resnet50", lambda n: _by_numbers(n)),
        ("timm:vit_base_patch14_dinov2", lambda n: _in_chunks(n.state_dict())),
        (
            "timm:vit_base_patch14_reg4_dinov2",
            lambda n: _named(n.state_dict(), {"reg_token": "register_tokens"}),
        ),
        (
            "timm:convnext_tiny",
            lambda n: _named(
                n.state_dict(),
                {
                    r"^stem\.0": "embeddings.patch_embeddings",
                    r"^stages\.(\d)\.blocks": r"encoder.stages.\1.layers",
                    "conv_dw": "dwconv",
                },
            ),
        ),
        (
            "resnet50",
            lambda n: _named(
                n.state_dict(),
                {
                    r"^conv1": "embedder.embedder.convolution",
                    r"^layer(\d)\.": lambda found: f"encoder.stages.{int(found[1]) - 1}.layers.",
                    r"\.conv(\d)\.": lambda found: f".layer.{int(found[1]) - 1}.convolution.",
                },
            ),
        ),
    ],
    ids=["numbers", "chunks", "registers", "transformers' ConvNeXt", "transformers' ResNet"],
)
def test_by_the_names_of_other_codes(name: str, names: Callable[[nn.Module], State]) -> None:
    state = {f"model.{own}": value for own, value in names(_built(name, {})).items()}
    assert _keys(looks_like({"state_dict": state})) == (name, {})


@pytest.mark.parametrize("content", [{}, {"w": torch.zeros(3)}, {"conv1.weight": torch.zeros(4, 3, 7, 7)}])
def test_what_looks_like_nothing_is_not_guessed(content: dict[str, Tensor]) -> None:
    assert looks_like(content) == ""


def test_a_name_that_is_missing_is_told(tmp_path: Path) -> None:
    kwargs = {"patch_size": 8, "img_size": 32, "depth": 1}
    network = Architecture("timm:vit_tiny_patch16_224", {"pretrained": False, **kwargs}).build().eval()
    torch.save(
        {"teacher": {f"backbone.{name}": value for name, value in network.state_dict().items()}}, tmp_path / "a.pth"
    )
    with pytest.raises(UserError, match=r"set backbone\.name") as error:
        load_backbone(tmp_path / "a.pth")
    name, told = _keys("; it looks like" + str(error.value).rpartition("; it looks like")[2].partition("; it holds")[0])
    assert (name, told) == ("timm:vit_tiny_patch16_224", {**kwargs})
    backbone = load_backbone(tmp_path / "a.pth", name=name, kwargs=told, crop_size=32)
    assert torch.equal(backbone.network.pos_embed, network.pos_embed)
