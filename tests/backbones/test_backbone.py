"""What a backbone knows about what it is made of, and modules of one's own."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.backbones.load import config_of
from solo_invariance.errors import UserError
from solo_invariance.fuse import Standardized, Weighted, concatenate, fit_fusion

TINY = {"kwargs": {"width": 0.125}, "crop_size": 32}


def test_a_module_of_ones_own_is_copied_frozen_and_normalised_for() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module(torch.rand(4, 3, 16, 16))
    backbone = Backbone.of(module, crop_size=16, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3), label="mine")
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert (backbone.num_features, backbone.layers, backbone.provenance.label) == (5, {"": 5}, "mine")
    images = torch.rand(2, 3, 16, 16)
    normalised = (images - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    torch.testing.assert_close(backbone(images), module.eval()(normalised))
    message = r"^Conv2d: the backbone returns a tensor \(1, 5, 14, 14\), expected features \(N, D\)"
    with pytest.raises(UserError, match=message):
        Backbone.of(nn.Conv2d(3, 5, 3), crop_size=16)
    with pytest.raises(UserError, match=r"^mine: the backbone returns a tuple, expected features \(N, D\)"):
        Backbone.of(nn.AdaptiveMaxPool2d(1, return_indices=True), crop_size=16, label="mine")


def test_a_module_that_is_in_use_is_copied_too() -> None:
    """Compiled, or with what its last pass made: tensors, and containers of them."""

    class Keeping(nn.Sequential):
        kept: Any = None

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = super().forward(images)
            self.kept = {"last": [features]}
            return features

    module = Keeping(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.rand(2, 3, 16, 16)
    expected = module(images)
    statistics: dict[str, Any] = {"crop_size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    torch.testing.assert_close(Backbone.of(module, **statistics)(images), expected)
    compiled = torch.compile(module, backend="eager")
    backbone = Backbone.of(compiled, **statistics)  # type: ignore[arg-type]
    assert backbone.provenance.label == "Keeping"
    torch.testing.assert_close(backbone(images), expected)
    assert module.kept["last"][0] is expected


def test_a_plain_backbone_has_no_members() -> None:
    backbone = load_backbone("random:resnet10", **TINY)
    assert (backbone.members, backbone.fitted_on, backbone.open_widths) == ((), frozenset(), None)
    assert not backbone.scales_features


@pytest.mark.parametrize(("name", "factor"), [("resnet18", 1), ("resnet18w3", 3)])
def test_how_wide_a_network_is(name: str, factor: float) -> None:
    assert load_backbone(f"random:{name}", crop_size=32).width_factor == factor
    assert load_backbone(f"random:{name}", crop_size=32, layer="layer3").width_factor == factor


def test_a_fused_backbone_says_what_it_combines_and_was_fitted_on(tmp_path) -> None:
    members = [load_backbone("random:resnet10", seed, **TINY) for seed in (1, 2)]
    features = [torch.randn(20, 64) for _ in members]
    fused = fit_fusion(members, Weighted, "weighted", features=features, fitted_on=frozenset({"one", "two"}))
    assert fused.members == tuple(members)
    assert (fused.scales_features, fused.open_widths) == (True, [64, 64])
    save_fused(fused, tmp_path / "fused.ckpt")
    for loaded in (load_backbone(tmp_path / "fused.ckpt"), load_backbone(tmp_path / "fused.ckpt", layer="members.0")):
        assert loaded.fitted_on == {"one", "two"}  # of a layer's features, too
    assert not fit_fusion(members, concatenate, "concat").scales_features
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(fused.combine([member(images) for member in members]), fused(images))


def test_a_fitted_mode_without_images_is_refused() -> None:
    with pytest.raises(UserError, match="mode=standardized is fitted to reference images"):
        fit_fusion([load_backbone("random:resnet10", **TINY)], Standardized, "standardized")


def test_a_word_is_a_model_or_a_checkpoint() -> None:
    assert config_of("timm:resnet18").name == "timm:resnet18"
    assert config_of("runs/timm:x.ckpt").checkpoint == "runs/timm:x.ckpt"
    assert load_backbone("random:resnet10", layer=("layer2", "layer4"), **TINY).layers == {
        "layer2": 16,
        "layer4": 64,
    }


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), r"images of torch.uint8: expected floating point in \[0, 1\]"),
        (torch.full((2, 3, 32, 32), 255.0), r"values from 255 to 255: expected \[0, 1\], neither bytes nor normalised"),
        (torch.full((2, 3, 32, 32), -2.0), r"values from -2 to -2: expected \[0, 1\]"),
        (torch.rand(3, 32, 32), r"images: \(3, 32, 32\), expected a tensor \(N, 3, H, W\)"),
        (np.zeros((2, 3, 32, 32)), r"images: ndarray, expected a tensor \(N, 3, H, W\)"),
    ],
)
def test_what_is_no_image_in_0_to_1_is_refused_at_each_call(tiny_backbone: Backbone, images: Any, message: str) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            tiny_backbone(images)
        assert tiny_backbone(torch.rand(2, 3, 32, 32)).shape == (2, 64)


def test_images_that_a_sharp_filter_made_are_taken(tiny_backbone: Backbone) -> None:
    assert tiny_backbone(torch.linspace(-0.1, 1.1, 3 * 32 * 32).reshape(1, 3, 32, 32)).shape == (1, 64)


def test_where_looking_waits_for_the_device_it_is_done_once(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    aminmax = Tensor.aminmax
    monkeypatch.setattr(Tensor, "aminmax", lambda images: looked.append(len(images)) or aminmax(images))
    images = torch.rand(2, 3, 32, 32)
    tiny_backbone(images)
    tiny_backbone(images)
    assert looked == [2, 2]
    elsewhere = SimpleNamespace(type="cuda")
    monkeypatch.setattr(Tensor, "device", property(lambda self: elsewhere))
    tiny_backbone._has_looked = False
    for _ in range(3):
        tiny_backbone._require_images(images)
    assert looked == [2, 2, 2]
