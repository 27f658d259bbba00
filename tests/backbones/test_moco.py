from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from solo_invariance.backbones import Architecture, BackboneConfig, load_backbone
from solo_invariance.backbones.files.moco import moco_architecture
from solo_invariance.errors import UserError

NARROW = {"width": 0.125}
"""A builder's argument that makes MoCo's resnet18 small."""

V2_HEAD = {"fc.0.weight": (64, 64), "fc.0.bias": (64,), "fc.2.weight": (128, 64), "fc.2.bias": (128,)}
V3_HEAD = {"fc.0.weight": (64, 64), "fc.1.running_mean": (64,), "fc.3.weight": (256, 64)}


@pytest.fixture
def moco_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkpoint as MoCo's code does, of a narrow ResNet-18."""

    def write(
        encoder: str = "module.encoder_q.",
        momentum_encoder: str = "module.encoder_k.",
        head: dict[str, tuple[int, ...]] | None = None,
        name: str = "default.pth.tar",
        **changes: Any,
    ) -> Path:
        network = _narrow()
        weights = {**network.state_dict(), **{key: torch.zeros(shape) for key, shape in (head or V2_HEAD).items()}}
        state = {f"{encoder}{key}": value for key, value in weights.items()}
        state |= {f"{momentum_encoder}{key}": value + 1 for key, value in weights.items()}
        state |= {"module.queue": torch.zeros(128, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
        state |= {"module.predictor.0.weight": torch.zeros(2, 2)}
        optimizer = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9)
        content = {"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": optimizer.state_dict()}
        content = {key: value for key, value in {**content, **changes}.items() if value is not None}
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def _narrow() -> nn.Module:
    torch.manual_seed(3)
    return Architecture("resnet18", NARROW).build()


def _holds(network: nn.Module, expected: nn.Module) -> bool:
    ours, theirs = network.state_dict(), expected.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _normalized(images: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean[:, None, None]) / std[:, None, None]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_file_alone_gives_torchvisions_network(tmp_path: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    network = resnet18(num_classes=128)
    state = {f"module.encoder_q.{name}": value for name, value in network.state_dict().items()}
    content = {"epoch": 200, "arch": "resnet18", "state_dict": {**state, "module.queue": torch.zeros(128, 8)}}
    path = tmp_path / "dorsal.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    backbone = load_backbone(BackboneConfig(checkpoint=str(path)))
    assert (backbone.architecture.name, backbone.num_features) == ("resnet18", 512)
    assert backbone.input_spec.crop_size == 224
    assert backbone.provenance.label == "dorsal"
    assert backbone.provenance.sha256
    network.fc = nn.Identity()
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = network.eval()(_normalized(images))
    torch.testing.assert_close(backbone(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "momentum_encoder", "head"),
    [
        ("module.encoder_q.", "module.encoder_k.", {"fc.weight": (128, 64), "fc.bias": (128,)}),
        ("module.encoder_q.", "module.encoder_k.", V2_HEAD),
        ("encoder_q.", "encoder_k.", V2_HEAD),
        ("module.base_encoder.", "module.momentum_encoder.", V3_HEAD),
        ("base_encoder.", "momentum_encoder.", V3_HEAD),
    ],
    ids=["v1", "v2", "v2-one-device", "v3", "v3-one-device"],
)
def test_the_trained_encoder_without_its_head(
    moco_checkpoint: Callable[..., Path], encoder: str, momentum_encoder: str, head: dict[str, tuple[int, ...]]
) -> None:
    path = moco_checkpoint(encoder, momentum_encoder, head)
    backbone = load_backbone(BackboneConfig(checkpoint=str(path), kwargs=NARROW, crop_size=32))
    assert _holds(backbone.network, _narrow())
    assert backbone(torch.rand(2, 3, 40, 40)).shape == (2, 64)


def test_the_wide_resnets_are_three_times_as_wide() -> None:
    # 3 x 64 planes in the stem and in the first stage, 3 x 512 in the last; a bottleneck gives out four times its
    # planes. ResNet-50 (3x) has 211 million parameters without a classifier.
    with torch.device("meta"):
        basic = _of_arch("resnet18w3").build()
        bottleneck = _of_arch("resnet50w3").build()
    assert basic.conv1.weight.shape == bottleneck.conv1.weight.shape == (192, 3, 7, 7)
    assert basic.layer1[0].conv1.weight.shape == (192, 192, 3, 3)
    assert basic.layer1[0].downsample is None
    assert basic.layer4[1].conv2.weight.shape == (1536, 1536, 3, 3)
    assert bottleneck.layer1[0].conv1.weight.shape == (192, 192, 1, 1)
    assert bottleneck.layer1[0].downsample[0].weight.shape == (768, 192, 1, 1)
    assert bottleneck.layer3[5].conv2.weight.shape == (768, 768, 3, 3)
    assert bottleneck.layer4[2].conv3.weight.shape == (6144, 1536, 1, 1)
    assert len(bottleneck.state_dict()) == 318
    assert round(sum(parameter.numel() for parameter in bottleneck.parameters()) / 1e6) == 211


def _of_arch(arch: str) -> Architecture:
    return moco_architecture({"arch": arch}, {}, Path("x.pth.tar"))


def test_a_name_overrides_the_arch(moco_checkpoint: Callable[..., Path]) -> None:
    for arch in ("resnet50", "vit_small", None):
        path = moco_checkpoint(arch=arch)
        config = BackboneConfig(checkpoint=str(path), name="resnet18", kwargs=NARROW, crop_size=32)
        assert _holds(load_backbone(config).network, _narrow())


@pytest.mark.parametrize("arch", ["resnet1001", "vit_small", None, 50])
def test_an_unknown_arch_names_the_file_and_what_to_do(moco_checkpoint: Callable[..., Path], arch: Any) -> None:
    path = moco_checkpoint(arch=arch)
    message = rf"default\.pth\.tar: its arch is {arch!r}, expected one of resnet18, .*; set backbone\.name"
    with pytest.raises(UserError, match=message):
        load_backbone(BackboneConfig(checkpoint=str(path)))


def test_weights_that_do_not_fit_the_arch(moco_checkpoint: Callable[..., Path]) -> None:
    path = moco_checkpoint(arch="resnet50")
    with pytest.raises(UserError, match=r"default\.pth\.tar does not fit the backbone: .* missing"):
        load_backbone(BackboneConfig(checkpoint=str(path), kwargs=NARROW))


def test_another_runs_args_beside_it_do_not_count(moco_checkpoint: Callable[..., Path]) -> None:
    path = moco_checkpoint(name="ventral_0200.pth.tar")
    (path.parent / "args.json").write_text('{"name": "other", "backbone": {"name": "resnet10"}}')
    backbone = load_backbone(BackboneConfig(checkpoint=str(path), kwargs=NARROW))
    assert backbone.provenance.label == "ventral_0200"
    assert (backbone.input_spec.crop_size, backbone.input_spec.mean) == (224, (0.485, 0.456, 0.406))


def test_a_head_alone_is_no_encoder(tmp_path: Path) -> None:
    torch.save({"arch": "resnet18", "state_dict": {"module.encoder_q.fc.weight": torch.zeros(2)}}, tmp_path / "a.tar")
    with pytest.raises(UserError, match=r"a\.tar: no weights of the backbone in it; .*it holds state_dict\.module"):
        load_backbone(BackboneConfig(checkpoint=str(tmp_path / "a.tar")))


def test_nothing_but_plain_data_is_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("this must never be printed",)

    state = {"module.encoder_q.conv1.weight": torch.zeros(1)}
    torch.save({"arch": "resnet18", "state_dict": state, "optimizer": Evil()}, tmp_path / "evil.pth.tar")
    with pytest.raises(UserError, match=r"evil\.pth\.tar: refused"):
        load_backbone(BackboneConfig(checkpoint=str(tmp_path / "evil.pth.tar")))


@pytest.mark.parametrize(("arch", "heads"), [("vit_small", 12), ("vit_base", 12)])
def test_moco_v3s_vits_have_their_heads(tmp_path: Path, arch: str, heads: int) -> None:
    """https://github.com/facebookresearch/moco-v3, ``vits.py``: vit_small has 12 heads, where timm's has 6."""
    name = f"timm:{arch}_patch16_224"
    network = Architecture(name, {"pretrained": False, "depth": 1, "num_heads": heads}).build().eval()
    state = {f"module.base_encoder.{key}": value for key, value in network.state_dict().items()}
    state |= {"module.base_encoder.head.0.weight": torch.zeros(4, 4), "module.predictor.0.weight": torch.zeros(4, 4)}
    torch.save({"arch": arch, "state_dict": state}, tmp_path / "a.pth.tar")
    backbone = load_backbone(tmp_path / "a.pth.tar", kwargs={"depth": 1})
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():  # normalised as MoCo v3 does, not as timm's network of that name
        expected = network(_normalized(images))
    torch.testing.assert_close(backbone(images), expected, atol=1e-4, rtol=1e-4)


def test_an_arch_of_timms(tmp_path: Path) -> None:
    network = Architecture("timm:test_vit", {"pretrained": False}).build().eval()
    other = {key: value + 1 for key, value in network.state_dict().items()}
    content = {"arch": "test_vit", "state_dict": other, "state_dict_ema": network.state_dict(), "version": 2}
    torch.save(content, tmp_path / "a.pth.tar")
    backbone = load_backbone(tmp_path / "a.pth.tar")
    assert backbone.architecture.name == "timm:test_vit"
    assert backbone.input_spec.crop_size == 160
    assert _holds(backbone.network, network)
