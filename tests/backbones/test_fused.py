from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from solo_invariance.backbones import Architecture, Backbone, BackboneConfig, InputSpec, Provenance, load_backbone
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.backbones.fused import FusedNetwork, network_of
from solo_invariance.errors import UserError
from solo_invariance.fuse import Standardized, add, average, concatenate, fit_fusion


def _member(seed: int, width: float = 0.125, crop_size: int = 32, mean: float = 0.5) -> Backbone:
    torch.manual_seed(seed)
    architecture = Architecture("resnet10", {"width": width})
    spec = InputSpec(crop_size, (mean,) * 3, (0.25,) * 3)
    return Backbone(architecture.build(), architecture, spec, Provenance(f"member{seed}"))


@pytest.mark.parametrize(
    ("fusion", "expected"),
    [
        (concatenate, [[1.0, 2.0, 10.0, 20.0]]),
        (add, [[11.0, 22.0]]),
        (average, [[5.5, 11.0]]),
    ],
)
def test_known_values(fusion, expected) -> None:
    assert fusion([torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]])]).tolist() == expected


def test_each_member_sees_the_image_in_its_own_size_and_normalisation() -> None:
    first, second = _member(0), _member(1, width=0.25, crop_size=48, mean=0.2)
    fused = network_of(fit_fusion([first, second], concatenate, "concat"))
    images = torch.rand(3, 3, 48, 48)
    assert fused.num_features == 64 + 128
    assert fused.crop_size == 48
    torch.testing.assert_close(fused(images), torch.cat([first(images), second(images)], dim=1))


def test_a_mode_that_does_not_fit_names_the_members_and_their_widths() -> None:
    with pytest.raises(UserError, match=r"mode=sum does not fit its members \(member0: 64, member1: 128\)"):
        fit_fusion([_member(0), _member(1, width=0.25)], add, "sum")


def test_a_fused_checkpoint_gives_the_same_features_and_describes_itself(tmp_path: Path) -> None:
    members = [_member(0), _member(1, width=0.25, crop_size=48, mean=0.2)]
    fused = fit_fusion(members, concatenate, "concat")
    save_fused(fused, tmp_path / "fused.ckpt")
    content = torch.load(tmp_path / "fused.ckpt", weights_only=True)
    assert all(name.startswith("backbone.members.") for name in content["state_dict"])
    loaded = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "fused.ckpt")))
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(loaded(images), fused(images))
    assert loaded.num_features == 192
    assert loaded.provenance.label == "member0+member1"
    assert loaded.architecture.name == "fusion"


def test_a_fused_checkpoint_of_host_checkpoints(host_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    paths = [host_checkpoint(family, seed) for seed, family in enumerate(("default", "ventral"))]
    members = [load_backbone(BackboneConfig(checkpoint=str(path))) for path in paths]
    fused = fit_fusion(members, average, "mean")
    save_fused(fused, tmp_path / "fused.ckpt")
    loaded = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "fused.ckpt")))
    images = torch.rand(2, 3, 32, 32)
    expected = (members[0](images) + members[1](images)) / 2
    torch.testing.assert_close(loaded(images), expected)
    assert loaded.provenance.label == "default+ventral"
    assert isinstance(loaded.network, FusedNetwork)
    assert [member.provenance.sha256 for member in loaded.network.members] == [m.provenance.sha256 for m in members]


def test_members_that_are_fused_are_refused(tmp_path: Path) -> None:
    save_fused(fit_fusion([_member(0)], concatenate, "concat"), tmp_path / "fused.ckpt")
    fused = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "fused.ckpt")))
    with pytest.raises(UserError, match="a fused backbone cannot be a member"):
        fit_fusion([fused, _member(1)], concatenate, "concat")


def test_broken_descriptions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fused.ckpt"
    save_fused(fit_fusion([_member(0)], concatenate, "concat"), path)
    whole = torch.load(path, weights_only=True)
    cases = {
        "fused schema 7": {**whole, "fusion": {**whole["fusion"], "schema": 7}},
        "is incomplete": {**whole, "fusion": {"schema": 1, "mode": "concat"}},
        "1 missing": {**whole, "state_dict": dict(list(whole["state_dict"].items())[1:])},
        "there is no 'magic'": {**whole, "fusion": {**whole["fusion"], "mode": "magic"}},
    }
    for message, content in cases.items():
        torch.save(content, path)
        with pytest.raises(UserError, match=message):
            load_backbone(BackboneConfig(checkpoint=str(path)))


def test_in_the_host_images_come_normalised() -> None:
    first, second = _member(0), _member(1, mean=0.2)
    fused = network_of(fit_fusion([first, second], concatenate, "concat"))
    images = torch.rand(2, 3, 32, 32)
    expected = fused(images)
    fused.expect_normalized()
    torch.testing.assert_close(fused((images - 0.5) / 0.25), expected, atol=1e-4, rtol=1e-4)
    fused.expect_normalized([0.1] * 3, [0.3] * 3)
    torch.testing.assert_close(fused((images - 0.1) / 0.3), expected, atol=1e-4, rtol=1e-4)


def test_a_head_that_was_fitted_elsewhere_goes_to_the_members() -> None:
    members = [_member(seed).to("meta") for seed in range(2)]
    widths = [member.num_features for member in members]
    head = Standardized(widths).fit([torch.randn(20, width) for width in widths])
    fused = fit_fusion(members, head, "standardized")
    assert {tensor.device.type for tensor in fused.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("layer", ["layer4", ["layer2", "layer4"]])
def test_members_of_which_layers_are_taken_are_read_back(layer: str | list[str], tmp_path: Path) -> None:
    keys = {"name": "random:resnet10", "kwargs": {"width": 0.125}, "crop_size": 32}
    members = [load_backbone(BackboneConfig(**keys, layer=layer)), load_backbone(BackboneConfig(**keys), seed=1)]
    fused = fit_fusion(members, concatenate, "concat")
    save_fused(fused, tmp_path / "fused.ckpt")
    loaded = load_backbone(tmp_path / "fused.ckpt")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(images), fused(images))
    assert loaded.members[0].layers == members[0].layers
