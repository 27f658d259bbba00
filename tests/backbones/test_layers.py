import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from solo_invariance.backbones import (
    Architecture,
    Backbone,
    BackboneConfig,
    InputSpec,
    LayerFeatures,
    Provenance,
    load_backbone,
)
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.config.measure import MeasureConfig
from solo_invariance.errors import UserError
from solo_invariance.fuse import concatenate, fit_fusion

TINY = {"name": "random:resnet10", "kwargs": {"width": 0.125}, "crop_size": 64}
LAYERS = ["layer3", "layer1.0.conv1", "avgpool", "fc"]


def _convolution(weight: list[list[float]]) -> nn.Conv2d:
    """A 1x1 convolution without a bias: a matrix at each position."""
    convolution = nn.Conv2d(len(weight[0]), len(weight), kernel_size=1, bias=False)
    convolution.weight.data = torch.tensor(weight, dtype=torch.float)[:, :, None, None]
    return convolution


def _ramps() -> Tensor:
    """One image (1, 3, 4, 4) whose channels are 0, ..., 15 plus 0, 1 and 2: their means are 7.5, 8.5 and 9.5."""
    return torch.arange(16.0).reshape(1, 1, 4, 4) + torch.arange(3.0).reshape(1, 3, 1, 1)


def _tap_by_hand(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    with network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output.clone())):
        network(images)
    return seen[0]


def test_two_layers_by_hand() -> None:
    first, second = _convolution([[1, 0, 0], [0, 1, 1]]), _convolution([[2, 0], [0, 1], [1, 1]])
    network = nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tapped = LayerFeatures(network, ["0", "1"])
    assert tapped.widths == {}
    assert tapped(_ramps()).tolist() == [[7.5, 18.0, 15.0, 18.0, 25.5]]
    assert tapped.widths == {"0": 2, "1": 3}


@pytest.mark.parametrize("pooled_first", [False, True])
def test_a_layer_is_read_before_the_next_one_overwrites_it(pooled_first: bool) -> None:
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    negative = _convolution([[-1, 0, 0], [0, 1, 0]])
    layers = [negative, *pool, nn.ReLU(inplace=True)] if pooled_first else [negative, nn.ReLU(inplace=True), *pool]
    tapped = LayerFeatures(nn.Sequential(*layers), ["2" if pooled_first else "0", "3"])
    assert tapped(_ramps()).tolist() == [[-7.5, 8.5, 0.0, 8.5]]


def test_a_layers_features_are_averaged_over_positions() -> None:
    backbone, whole = load_backbone(BackboneConfig(**TINY, layer="layer2")), load_backbone(BackboneConfig(**TINY))
    images = torch.rand(2, 3, 64, 64)
    normalized = ((images - whole.mean) / whole.std).contiguous(memory_format=torch.channels_last)
    expected = _tap_by_hand(whole.network, "layer2", normalized).mean(dim=(2, 3))
    torch.testing.assert_close(backbone(images), expected)
    assert backbone.num_features == 16


def test_several_layers_in_one_pass_are_each_of_them_side_by_side() -> None:
    several = load_backbone(BackboneConfig(**TINY, layer=LAYERS))
    images = torch.rand(2, 3, 64, 64)
    passes = []
    several.network.network.conv1.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    features = several(images)
    assert passes == [2]
    singles = [load_backbone(BackboneConfig(**TINY, layer=layer)) for layer in LAYERS]
    assert torch.equal(features, torch.cat([single(images) for single in singles], dim=1))
    assert list(several.layers.items()) == [("layer3", 32), ("layer1.0.conv1", 8), ("avgpool", 64), ("fc", 64)]
    assert several.num_features == 168
    for block, single in zip(features.split(list(several.layers.values()), dim=1), singles, strict=True):
        assert torch.equal(block, single(images))


@pytest.mark.parametrize(
    ("layer", "blocks"),
    [
        (None, {"": 64}),
        ("layer2", {"": 16}),
        (["layer2"], {"layer2": 16}),
        (["fc", "layer2"], {"fc": 64, "layer2": 16}),
    ],
)
def test_blocks_say_what_the_columns_are(layer: Any, blocks: dict[str, int]) -> None:
    backbone = load_backbone(BackboneConfig(**TINY, layer=layer))
    assert list(backbone.layers.items()) == list(blocks.items())
    assert sum(backbone.layers.values()) == backbone.num_features == backbone.describe()["num_features"]


def test_the_pooled_map_is_the_output() -> None:
    images = torch.rand(2, 3, 64, 64)
    pooled = load_backbone(BackboneConfig(**TINY, layer="avgpool"))(images)
    assert torch.equal(pooled, load_backbone(BackboneConfig(**TINY))(images))


def test_the_tokens_of_a_vision_transformer() -> None:
    name = "random:timm:test_vit"
    backbone = load_backbone(BackboneConfig(name=name, layer=["blocks.0", "blocks.1.mlp.fc1", "norm"]))
    images = torch.rand(2, 3, 160, 160)
    network = load_backbone(BackboneConfig(name=name)).network
    normalized = (images - backbone.mean) / backbone.std
    expected = [_tap_by_hand(network, layer, normalized).mean(dim=1) for layer in backbone.layers]
    torch.testing.assert_close(backbone(images), torch.cat(expected, dim=1))


def test_layers_of_a_fused_backbone(tmp_path: Path) -> None:
    members = [load_backbone(BackboneConfig(**TINY), seed) for seed in (1, 2)]
    save_fused(fit_fusion(members, concatenate, "concat"), tmp_path / "fused.ckpt")
    layers = ["members.0.network.layer2", "members.1.network.layer3", "members.1"]
    fused = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "fused.ckpt"), layer=layers))
    images = torch.rand(2, 3, 64, 64)
    first = load_backbone(BackboneConfig(**TINY, layer="layer2"), 1)
    second = load_backbone(BackboneConfig(**TINY, layer=["layer3", "fc"]), 2)
    assert torch.equal(fused(images), torch.cat([first(images), second(images)], dim=1))
    assert fused.layers == dict(zip(layers, [16, 32, 64], strict=True))


class _Returns(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((2, 7, 5, 5), 7),
        ((2, 5, 5, 7), 7),
        ((2, 7, 1, 1), 7),
        ((2, 1, 1, 7), 7),
        ((2, 1, 1, 1), 1),
        ((2, 1, 5, 5), 1),
        ((2, 9, 7), 7),
        ((2, 7), 7),
        ((2, 5, 5, 5), None),
        ((2, 3, 9, 7), None),
        ((2, 5, 5, 5, 5), None),
        ((2,), None),
    ],
)
def test_channels_are_told_from_positions_or_refused(shape: tuple[int, ...], width: int | None) -> None:
    network = LayerFeatures(nn.Sequential(_Returns(torch.ones(shape))), "0")
    if width is None:
        with pytest.raises(UserError, match=r"backbone\.layer=0: its output .* does not tell positions from channels"):
            network(torch.zeros(2, 3, 8, 8))
    else:
        assert torch.equal(network(torch.zeros(2, 3, 8, 8)), torch.ones(2, width))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((torch.zeros(2, 4), None), r"backbone\.layer=0: its output is a tuple, expected a tensor"),
        (torch.zeros(8, 9, 4), r"backbone\.layer=0: its output has 8 rows for 2 images"),
    ],
)
def test_outputs_that_are_no_features_of_the_images(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LayerFeatures(nn.Sequential(_Returns(value), nn.Identity()), "0")(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer9", r"backbone\.layer=layer9: no such layer; the network's first level is conv1, bn1"),
        (["layer1", "layer9"], r"backbone\.layer=layer9: no such layer"),
        (["layer1", "layer2.0.relu"], r"backbone\.layer=layer2\.0\.relu: called 2 times in a pass, expected once"),
        ("unused", r"backbone\.layer=unused: not called in a pass"),
    ],
)
def test_layers_that_a_pass_does_not_give(layer: Any, message: str) -> None:
    network = Architecture("resnet10", {"width": 0.125}).build()
    network.unused = nn.Identity()
    with pytest.raises(UserError, match=message):
        Backbone(LayerFeatures(network, layer), Architecture("resnet10"), InputSpec(64), Provenance("tiny"))


def test_a_pass_leaves_nothing_behind() -> None:
    outputs: list[weakref.ref[Tensor]] = []

    class Watched(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            output = super().forward(images)
            outputs.append(weakref.ref(output))
            return output

    network = nn.Sequential(Watched(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Identity())
    tapped = LayerFeatures(network, ["0", "2"])
    with torch.no_grad():
        features = tapped(torch.zeros(2, 3, 8, 8))
    assert features.shape == (2, 10)
    assert outputs[0]() is None
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(RuntimeError):
        tapped(torch.zeros(2, 4, 8, 8))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ([], r"backbone\.layer=\[\]: expected a layer's name or a list of names"),
        ("", r"backbone\.layer is empty"),
        (0, r"backbone\.layer=0: expected a layer's name"),
        (["layer1", 2], "expected a layer's name or a list of names"),
        (["layer1", ["layer2"]], "expected a layer's name or a list of names"),
        ({"layer1": 1}, "expected a layer's name or a list of names"),
        (["layer1", "layer2", "layer1"], "names layer1 twice"),
    ],
)
def test_values_that_name_no_layers(layer: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        BackboneConfig(layer=layer)
    composed = OmegaConf.merge(OmegaConf.structured(MeasureConfig), {"backbone": {"layer": layer}})
    with pytest.raises(UserError, match=message):
        OmegaConf.to_object(composed)


@pytest.mark.parametrize("layer", ["layer1", ["layer1", "layer2"]])
def test_a_composed_configuration_gives_plain_names(layer: Any) -> None:
    composed = OmegaConf.merge(OmegaConf.structured(MeasureConfig), {"backbone": {"layer": layer}})
    config = OmegaConf.to_object(composed)
    assert isinstance(config, MeasureConfig)
    assert config.backbone.layer == layer
    assert type(config.backbone.layer) is type(layer)


@pytest.mark.parametrize("layers", [[], "", ["0", "0"]])
def test_layers_are_named_and_named_once(layers: Any) -> None:
    with pytest.raises(UserError, match="each of them once"):
        LayerFeatures(nn.Sequential(nn.Identity()), layers)


def test_layers_of_a_host_checkpoint(host_checkpoint: Callable[..., Path]) -> None:
    config = BackboneConfig(checkpoint=str(host_checkpoint()), layer=["layer2", "layer4"], label="mine")
    backbone = load_backbone(config)
    assert (backbone.provenance.label, backbone.layers) == ("mine", {"layer2": 16, "layer4": 64})
    assert backbone.provenance.sha256
