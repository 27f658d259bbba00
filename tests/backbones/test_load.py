import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from solo_invariance.backbones import Architecture, BackboneConfig, load_backbone
from solo_invariance.backbones.resnet import WideResNet, use_small_stem
from solo_invariance.errors import UserError


def test_a_host_checkpoint_says_everything(host_checkpoint: Callable[..., Path]) -> None:
    path = host_checkpoint("ventral")
    backbone = load_backbone(BackboneConfig(checkpoint=str(path)))
    assert backbone.num_features == 64
    assert backbone.input_spec.crop_size == 32
    assert backbone.provenance.label == "ventral"
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    state = torch.load(path, weights_only=True)["state_dict"]
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, state[f"backbone.{name}"]), name


@pytest.mark.parametrize(
    ("families", "label"),
    [
        (["default", "default"], "default"),
        (["default", ["ventral", "corruption"]], "default/ventral+corruption"),
        ([{"name": "first", "operations": []}, {"operations": []}], "first/custom"),
        ([None], "a-run"),
    ],
)
def test_the_label_names_every_family(host_checkpoint: Callable[..., Path], families: list[Any], label: str) -> None:
    path = host_checkpoint()
    args = json.loads((path.parent / "args.json").read_text())
    args["augmentations"] = [{**args["augmentations"][0], "family": family} for family in families]
    (path.parent / "args.json").write_text(json.dumps(args))
    assert load_backbone(BackboneConfig(checkpoint=str(path))).provenance.label == label


@pytest.mark.parametrize(("seed", "known"), [(7, 7), (0, 0), ("7", None), (True, None), (None, None)])
def test_the_family_and_the_seed_of_a_run_are_known_whatever_it_is_called(
    host_checkpoint: Callable[..., Path], seed: Any, known: int | None
) -> None:
    path = host_checkpoint("dorsal")
    args = json.loads((path.parent / "args.json").read_text())
    (path.parent / "args.json").write_text(json.dumps({**args, "seed": seed}))
    described = load_backbone(BackboneConfig(checkpoint=str(path), label="mine")).describe()
    assert (described["family"], described["seed"]) == ("dorsal", known)


def test_label_and_crop_size_can_be_chosen(host_checkpoint: Callable[..., Path]) -> None:
    backbone = load_backbone(BackboneConfig(checkpoint=str(host_checkpoint()), label="mine", crop_size=48))
    assert (backbone.provenance.label, backbone.input_spec.crop_size) == ("mine", 48)


def test_a_checkpoint_without_args_needs_a_name(host_checkpoint: Callable[..., Path]) -> None:
    path = str(host_checkpoint(args=False))
    with pytest.raises(UserError, match=r"no args\.json beside it.*set backbone\.name"):
        load_backbone(BackboneConfig(checkpoint=path))
    config = BackboneConfig(checkpoint=path, name="resnet10", kwargs={"width": 0.125}, crop_size=32)
    assert load_backbone(config).num_features == 64


def test_a_checkpoint_that_is_called_like_a_model_is_a_checkpoint(
    host_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_checkpoint("ventral").parent.rename(tmp_path / "timm:runs")
    monkeypatch.chdir(tmp_path)
    (path,) = Path().glob("timm:runs/*.ckpt")
    assert load_backbone(str(path)).provenance.label == "ventral"


def test_every_weight_is_accounted_for(host_checkpoint: Callable[..., Path]) -> None:
    path = host_checkpoint()
    content = torch.load(path, weights_only=True)
    for change, message in (
        (lambda state: state.pop("backbone.bn1.bias"), r"1 missing \(bn1\.bias\)"),
        (lambda state: state.update({"backbone.extra": torch.zeros(1)}), r"1 left over \(extra\)"),
        (
            lambda state: state.update({"backbone.bn1.bias": torch.zeros(3)}),
            r"1 of another shape \(bn1\.bias \(3,\) for \(8,\)\)",
        ),
    ):
        state = dict(content["state_dict"])
        change(state)
        torch.save({**content, "state_dict": state}, path)
        with pytest.raises(UserError, match=message):
            load_backbone(BackboneConfig(checkpoint=str(path)))


def test_files_that_are_no_checkpoints(host_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    whole = host_checkpoint().read_bytes()

    class Evil:
        def __reduce__(self):
            return print, ("this must never be printed",)

    torch.save({"state_dict": {"backbone.x": Evil()}}, tmp_path / "evil.ckpt")
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.ckpt")
    torch.save({"state_dict": {"projector.weight": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
    messages = {
        "missing.ckpt": "no such file",
        "evil.ckpt": "refused, it asks for print, which is not known to be plain data",
        "half.ckpt": r"cannot be read \(truncated",
        "text.ckpt": "refused|cannot be read",
        "empty.ckpt": r"cannot be read \(truncated",
        "list.ckpt": "expected a mapping",
        "foreign.ckpt": r"no weights of the backbone in it; .*it holds state_dict\.projector",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=f"{name}.*({message})") as error:
            load_backbone(BackboneConfig(checkpoint=str(tmp_path / name), name="resnet18"))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not valid JSON"), ("[]", "must be a mapping, not a list"), ("{}", "no backbone")]
)
def test_broken_args(host_checkpoint: Callable[..., Path], content: str, message: str) -> None:
    path = host_checkpoint()
    (path.parent / "args.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_backbone(BackboneConfig(checkpoint=str(path)))


def test_the_stem_for_small_images_is_read_off_the_weights(tmp_path: Path) -> None:
    # As solo-learn builds its CIFAR backbones.
    network = resnet18()
    network.fc = nn.Identity()
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    network.maxpool = nn.Identity()
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "run.ckpt")
    args = {
        "backbone": {"name": "resnet18", "kwargs": {}},
        "data": {"dataset": "cifar10"},
        "augmentations": [{"crop_size": 32}],
        "name": "my-run",
    }
    (tmp_path / "args.json").write_text(json.dumps(args))
    backbone = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "run.ckpt")))
    images = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    expected = network.eval()((images - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(backbone(images), expected, atol=1e-4, rtol=1e-4)
    assert backbone.provenance.label == "my-run"


def test_a_bare_state_dict_of_torchvisions_with_its_head(tmp_path: Path) -> None:
    network = resnet18()
    torch.save(network.state_dict(), tmp_path / "resnet.pth")
    backbone = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "resnet.pth"), name="resnet18"))
    assert backbone.num_features == 512
    assert torch.equal(backbone.network.conv1.weight, network.conv1.weight)


def test_random_names_are_seeded_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    config = BackboneConfig(name="random:resnet10", kwargs={"width": 0.125})
    first, again, other = load_backbone(config, 1), load_backbone(config, 1), load_backbone(config, 2)
    assert torch.equal(first.network.conv1.weight, again.network.conv1.weight)
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "features"), [("random:timm:test_vit", 64), ("random:torchvision:mnasnet0_5", 1280)])
def test_models_of_other_packages(name: str, features: int) -> None:
    backbone = load_backbone(BackboneConfig(name=name))
    assert backbone.num_features == features
    assert backbone(torch.rand(1, 3, 100, 80)).shape == (1, features)


def test_timm_models_bring_their_own_input() -> None:
    spec = load_backbone(BackboneConfig(name="random:timm:test_vit")).input_spec
    assert spec.crop_size == 160


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BackboneConfig(), "no backbone"),
        (BackboneConfig(name="resnet18"), "has no weights of its own"),
        (BackboneConfig(name="random:timm:nonesuch"), "backbone 'timm:nonesuch': timm has no such model"),
        (
            BackboneConfig(name="random:torchvision:nonesuch"),
            "backbone 'torchvision:nonesuch': torchvision has no such model",
        ),
        (BackboneConfig(name="random:hub:x"), "unknown source 'hub'"),
        (BackboneConfig(name="random:resnet10", kwargs={"wide": 2}), "cannot be built with"),
        (BackboneConfig(name="random:resnet10", layer="layer9"), r"backbone\.layer=layer9: no such layer"),
    ],
)
def test_what_cannot_be_loaded(config: BackboneConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_backbone(config)


def test_an_unknown_architecture_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solo_invariance.backbones.solo_learn.host_builders", dict)
    with pytest.raises(UserError, match=r"unknown backbone 'vit_tiny'; choose from resnet10, .*SOLO_LEARN_DIR"):
        load_backbone(BackboneConfig(name="random:vit_tiny"))


def test_width_one_is_torchvisions_resnet_and_wider_is_wider() -> None:
    ours, theirs = WideResNet(18).state_dict(), resnet18().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items() if not k.startswith("fc.")}
    wide = WideResNet(18, width=3)
    assert wide.inplanes == 1536
    assert wide.conv1.out_channels == 192
    assert wide(torch.rand(1, 3, 64, 64)).shape == (1, 1536)
    use_small_stem(wide)
    assert wide(torch.rand(1, 3, 32, 32)).shape == (1, 1536)


def test_architecture_refuses_a_small_stem_where_there_is_none() -> None:
    with pytest.raises(UserError, match="no ResNet"):
        Architecture("timm:test_vit", {"pretrained": False}, small_stem=True).build()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 3}, "data is 3, expected a mapping"),
        ({"backbone": {"name": 5}}, r"no backbone\.name in it"),
        ({"backbone": {"name": "resnet10", "kwargs": 3}}, r"backbone\.kwargs is 3, expected a mapping"),
        ({"augmentations": [{"crop_size": 32, "mean": 5}]}, "mean is 5, expected three numbers"),
        ({"augmentations": [{"crop_size": 32, "mean": [0.5, 0.5]}]}, "mean is .* expected three numbers"),
        ({"augmentations": [{"crop_size": 32, "std": [0, 0, 0]}]}, "std is .* expected positive numbers"),
        ({"augmentations": [{"crop_size": -4}]}, "crop_size is -4, expected at least 1"),
        (
            {"augmentations": [{"crop_size": "${size}"}]},
            r"crop_size is '\$\{size\}'.*the same key of backbone overrides",
        ),
    ],
)
def test_args_with_wrong_values_name_the_key(host_checkpoint: Callable[..., Path], changes, message: str) -> None:
    path = host_checkpoint()
    args = json.loads((path.parent / "args.json").read_text())
    (path.parent / "args.json").write_text(json.dumps({**args, **changes}))
    with pytest.raises(UserError, match=rf"args\.json: .*{message}"):
        load_backbone(BackboneConfig(checkpoint=str(path)))


def test_a_checkpoints_own_args_never_fetch_weights(tmp_path: Path) -> None:
    network = Architecture("timm:test_vit", {"pretrained": False}).build()
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "run.ckpt")
    kwargs = {"pretrained": True, "checkpoint_path": str(tmp_path / "other.pth")}
    args = {"backbone": {"name": "timm:test_vit", "kwargs": kwargs}, "augmentations": [{"crop_size": 160}]}
    (tmp_path / "args.json").write_text(json.dumps(args))
    backbone = load_backbone(BackboneConfig(checkpoint=str(tmp_path / "run.ckpt")))
    assert torch.equal(backbone.network.cls_token, network.cls_token)


def test_an_input_that_the_network_does_not_take() -> None:
    config = BackboneConfig(name="random:timm:vit_tiny_patch16_224", crop_size=8)
    with pytest.raises(UserError, match=r"takes no images of 8 pixels .*set backbone\.crop_size"):
        load_backbone(config)


def test_a_state_dict_that_is_none(tmp_path: Path) -> None:
    for content in ({"state_dict": None}, {"state_dict": [1]}, {1: torch.zeros(1)}, {}):
        torch.save(content, tmp_path / "odd.ckpt")
        with pytest.raises(UserError, match=r"odd\.ckpt: no weights of the backbone in it; .*it holds no tensors"):
            load_backbone(BackboneConfig(checkpoint=str(tmp_path / "odd.ckpt"), name="resnet10"))
    with pytest.raises(UserError, match="is a directory"):
        load_backbone(BackboneConfig(checkpoint=str(Path(__file__).parent)))
    with pytest.raises(UserError, match=r"cannot be read.*File name too long"):
        load_backbone(BackboneConfig(checkpoint="a" * 300))
