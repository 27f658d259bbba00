from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import (
    Architecture,
    Backbone,
    BackboneConfig,
    InputSpec,
    Provenance,
    load_backbone,
    random_init_of,
)
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.backbones.fused import FusedNetwork, network_of
from solo_invariance.errors import UserError
from solo_invariance.fuse import average, concatenate, fit_fusion

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TINY = {"name": "random:resnet10", "kwargs": {"width": 0.125}, "crop_size": 32}


def _same_weights(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_same_but_for_the_weights(host_checkpoint: Callable[..., Path]) -> None:
    path = host_checkpoint("ventral")
    backbone = load_backbone(BackboneConfig(checkpoint=str(path), crop_size=48))
    twin = random_init_of(backbone, 0)
    assert twin.provenance == Provenance("ventral (untrained)")
    assert twin.input_spec == backbone.input_spec
    assert (twin.num_features, twin.layers) == (backbone.num_features, backbone.layers)
    assert twin.architecture == backbone.architecture
    assert [value.shape for value in twin.state_dict().values()] == [v.shape for v in backbone.state_dict().values()]
    assert not torch.equal(twin.network.conv1.weight, backbone.network.conv1.weight)
    assert not torch.allclose(twin(IMAGES), backbone(IMAGES))
    assert not twin.training
    assert not any(parameter.requires_grad for parameter in twin.parameters())


def test_batch_normalisation_is_as_it_begins(host_checkpoint: Callable[..., Path]) -> None:
    backbone = load_backbone(BackboneConfig(checkpoint=str(host_checkpoint())))
    backbone.network.bn1.running_mean += 3
    norm = random_init_of(backbone, 0).network.bn1
    assert torch.equal(norm.running_mean, torch.zeros(8))
    assert torch.equal(norm.running_var, torch.ones(8))


def test_the_seed_tells_the_weights_and_nothing_else_does(tiny_backbone: Backbone) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = random_init_of(tiny_backbone, 5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = random_init_of(tiny_backbone, 5), random_init_of(tiny_backbone, 6)
    assert _same_weights(first, again)
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)


def test_the_original_stays_as_it_was(tiny_backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in tiny_backbone.state_dict().items()}
    random_init_of(tiny_backbone, 0)
    assert all(torch.equal(value, before[name]) for name, value in tiny_backbone.state_dict().items())
    assert tiny_backbone.provenance.label == "tiny"


def test_the_twin_of_random_weights_is_another_draw() -> None:
    backbone = load_backbone(BackboneConfig(**TINY), seed=4)
    twin = random_init_of(backbone, 4)
    assert twin.provenance.label == "random:resnet10 (untrained)"
    assert not torch.equal(twin.network.conv1.weight, backbone.network.conv1.weight)


@pytest.mark.parametrize("layer", ["layer3", ["layer3", "conv1"]])
def test_the_layers_are_the_originals(layer: Any) -> None:
    backbone = load_backbone(BackboneConfig(**TINY, layer=layer))
    twin = random_init_of(backbone, 0)
    assert list(twin.layers.items()) == list(backbone.layers.items())
    assert twin.network.names == backbone.network.names
    plain = random_init_of(load_backbone(BackboneConfig(**TINY)), 0)
    assert _same_weights(twin.network.network, plain.network)
    assert twin(IMAGES).shape == backbone(IMAGES).shape


def test_the_stem_for_small_images_is_the_originals() -> None:
    architecture = Architecture("resnet10", {"width": 0.125}, small_stem=True)
    backbone = Backbone(architecture.build(), architecture, InputSpec(32), Provenance("cifar"))
    assert random_init_of(backbone, 0).network.conv1.weight.shape == (8, 3, 3, 3)


def test_members_of_a_fused_backbone_are_replaced_each(tmp_path: Path) -> None:
    members = [load_backbone(BackboneConfig(**{**TINY, "label": f"member{seed}"}), seed) for seed in (1, 2)]
    save_fused(fit_fusion(members, average, "mean"), tmp_path / "fused.ckpt")
    backbone = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "fused.ckpt")))
    twin = random_init_of(backbone, 0)
    assert twin.provenance == Provenance("member1+member2 (untrained)")
    assert isinstance(twin.network, FusedNetwork)
    assert twin.network.mode == "mean"
    assert twin.input_spec == backbone.input_spec
    first, second = twin.network.backbones
    assert [first.provenance.label, second.provenance.label] == ["member1 (untrained)", "member2 (untrained)"]
    assert first.input_spec == members[0].input_spec
    weights = [b.network.conv1.weight for b in (first, second, *members)]
    assert all(not torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])
    torch.testing.assert_close(twin(IMAGES), (first(IMAGES) + second(IMAGES)) / 2)
    assert _same_weights(twin, random_init_of(backbone, 0))


def test_layers_of_a_fused_backbones_twin(tmp_path: Path) -> None:
    members = [load_backbone(BackboneConfig(**TINY), seed) for seed in (1, 2)]
    save_fused(fit_fusion(members, concatenate, "concat"), tmp_path / "fused.ckpt")
    layers = ["members.0.network.layer2", "members.1.network.layer3"]
    backbone = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "fused.ckpt"), layer=layers))
    twin = random_init_of(backbone, 0)
    assert twin.layers == backbone.layers == dict(zip(layers, [16, 32], strict=True))
    assert not torch.allclose(twin(IMAGES), backbone(IMAGES))


def test_a_fusion_that_expects_normalised_images_still_does(tiny_backbone: Backbone) -> None:
    fused = network_of(fit_fusion([tiny_backbone], concatenate, "concat"))
    fused.expect_normalized([0.1] * 3, [0.3] * 3)
    other = fused.with_members([random_init_of(tiny_backbone, 0)])
    torch.testing.assert_close(other((IMAGES - 0.1) / 0.3), other.backbones[0](IMAGES), atol=1e-4, rtol=1e-4)


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a download")

    for place in ("online", "timm"):  # as where there is a network
        monkeypatch.setattr(f"solo_invariance.backbones.sources.{place}.why_unreachable", lambda url: None)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    cases = {"torchvision:mnasnet0_5": {"weights": "DEFAULT"}, "timm:test_vit": {"pretrained": True}}
    for name, kwargs in cases.items():
        with pytest.raises(UserError, match="a download"):
            Architecture(name, kwargs).build()
        architecture = Architecture(name, kwargs)
        backbone = Backbone(architecture.without_weights().build(), architecture, InputSpec(160), Provenance(name))
        twin = random_init_of(backbone, 0)
        assert twin.num_features == backbone.num_features
        twin.architecture.build()


class _Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(images.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Architecture("mine"), r"unknown backbone 'mine'"),
        (Architecture("resnet10", {"width": 0.125}), r"'resnet10' builds another network \(see project"),
        (Architecture("fusion"), r"unknown backbone 'fusion'"),
    ],
)
def test_networks_that_no_name_builds(architecture: Architecture, message: str) -> None:
    backbone = Backbone(_Custom(), architecture, InputSpec(32), Provenance("custom"))
    wanted = "custom: an untrained twin needs an architecture that can be built by name"
    with pytest.raises(UserError, match=f"{wanted}.*{message}"):
        random_init_of(backbone, 0)


def test_a_width_that_the_architecture_does_not_say(tiny_backbone: Backbone) -> None:
    tiny_backbone.architecture = Architecture("resnet10", {"width": 0.25})
    with pytest.raises(UserError, match=r"tiny: an untrained twin .* builds another network \(see conv1\.weight\)"):
        random_init_of(tiny_backbone, 0)


def test_the_twin_has_the_originals_precision(tiny_backbone: Backbone) -> None:
    twin = random_init_of(tiny_backbone.to(torch.float64), 0)
    assert {value.dtype for value in twin.state_dict().values() if value.is_floating_point()} == {torch.float64}
    assert twin(IMAGES.double()).dtype == torch.float64
