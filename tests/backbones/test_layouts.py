"""Checkpoints of many codes: the network that a file was saved from is the one that is loaded from it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50, resnet101

from solo_invariance.backbones import Architecture, Backbone, load_backbone
from solo_invariance.backbones.files.checkpoint_tensors import names_of
from solo_invariance.errors import UserError

State = Mapping[str, Tensor]
NARROW = {"width": 0.125}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def _network(seed: int, name: str = "resnet10") -> nn.Module:
    torch.manual_seed(seed)
    network = Architecture(name, NARROW).build()
    for value in network.state_dict().values():  # statistics that a fresh network does not have
        if value.is_floating_point():
            value += 0.01 * torch.rand_like(value)
    return network.eval()


def _below(state: State, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def _fc(*names: str, width: int = 64) -> dict[str, Tensor]:
    return {name: torch.zeros(8, width) for name in names}


def _numbered(network: nn.Module) -> State:
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


ONE: dict[str, Callable[[State], Any]] = {
    "bare": dict,
    "bare, with its classifier": lambda s: {**s, **_fc("fc.weight", "fc.bias")},
    "DistributedDataParallel": lambda s: _below(s, "module."),
    "torch.compile": lambda s: _below(s, "_orig_mod."),
    "both": lambda s: {"state_dict": _below(s, "module._orig_mod.")},
    "torch.compile of a block": lambda s: {n.replace("layer2.", "layer2._orig_mod."): v for n, v in s.items()},
    "FSDP": lambda s: {n.replace("layer", "_fsdp_wrapped_module.layer", 1): v for n, v in s.items()},
    "activation checkpointing": lambda s: {
        n.replace("layer3.0.", "layer3.0._checkpoint_wrapped_module."): v for n, v in s.items()
    },
    "DeepSpeed": lambda s: {"module": _below(s, "model."), "global_steps": 5},
    "model": lambda s: {"model": s, "epoch": 3, "optimizer": {"state": {0: {"momentum": torch.zeros(3)}}}},
    "model_state_dict": lambda s: {"model_state_dict": s, "loss": torch.tensor(0.1)},
    "net": lambda s: {"net": _below(s, "module."), "acc": 91.2},
    "network": lambda s: {"network": s},
    "weights": lambda s: {"weights": s},
    "a mapping deep down": lambda s: {"a": {"b": {"c": _below(s, "d.e.")}}},
    "Lightning, any attribute": lambda s: {"state_dict": _below(s, "my_net."), "hyper_parameters": {"lr": 0.1}},
    "Lightning, compiled": lambda s: {"state_dict": _below(s, "backbone._orig_mod.")},
    "SimCLR": lambda s: {"state_dict": _below({**s, **_fc("fc.0.weight", "fc.2.weight")}, "backbone.")},
    "SimSiam": lambda s: {
        "state_dict": {**_below({**s, **_fc("fc.0.weight")}, "module.encoder."), **_fc("module.predictor.0.weight")}
    },
    "SwAV": lambda s: {**_below(s, "module."), **_fc("module.projection_head.0.weight", "module.prototypes.weight")},
    "Barlow Twins, VICReg": lambda s: {
        "model": {
            **_below(s, "module.backbone."),
            **_fc("module.projector.0.weight"),
            "module.bn.running_mean": torch.zeros(8),
        }
    },
    "VISSL": lambda s: {
        "classy_state_dict": {"base_model": {"model": {"trunk": _below(s, "_feature_blocks."), "heads": {}}}}
    },
    "mmselfsup": lambda s: {
        "meta": {},
        "state_dict": {**_below(s, "backbone."), **_fc("neck.fc.weight"), **_fc("data_preprocessor.mean")},
    },
    "DeepCluster": lambda s: {"state_dict": {**_below(s, "module."), **_fc("module.top_layer.weight")}},
    "EMA beside numbers": lambda s: {"ema_state": _below(s, "module."), "ema_decay": 0.99},
    "a number among the weights": lambda s: {**s, "tau": torch.tensor(0.1)},
    "without counters": lambda s: {n: v for n, v in s.items() if not n.endswith("num_batches_tracked")},
    "half precision": lambda s: {n: v.half() if v.is_floating_point() else v for n, v in s.items()},
    "double precision": lambda s: {n: v.double() if v.is_floating_point() else v for n, v in s.items()},
    "CIFAR's names": lambda s: {n.replace("downsample", "shortcut"): v for n, v in s.items()},
}


def _load(path: Path, **keys: Any) -> Backbone:
    return load_backbone(path, **{"name": "resnet10", "kwargs": NARROW, "crop_size": 32, **keys})


def _same_features(backbone: Backbone, network: nn.Module, **tolerance: float) -> bool:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network((images - MEAN) / STD)
    return torch.allclose(backbone(images), expected, **{"atol": 1e-5, "rtol": 1e-4, **tolerance})


@pytest.mark.parametrize("code", ONE)
def test_layouts_of_one_network(tmp_path: Path, code: str) -> None:
    network = _network(0)
    torch.save(ONE[code](network.state_dict()), tmp_path / "a.pth")
    tolerance = {"atol": 2e-2, "rtol": 2e-2} if code == "half precision" else {}
    backbone = _load(tmp_path / "a.pth")
    assert _same_features(backbone, network, **tolerance)
    assert not _same_features(backbone, _network(1), **tolerance)
    assert backbone.provenance.remarks == ()


def test_children_by_their_numbers(tmp_path: Path) -> None:
    network = _network(0)
    state = {**_below(_numbered(network), "backbone."), **_fc("backbone.9.weight", "projection_head.layers.0.weight")}
    torch.save({"state_dict": state}, tmp_path / "lightly.ckpt")
    assert _same_features(_load(tmp_path / "lightly.ckpt"), network)


def test_a_network_that_was_saved_whole_is_read_without_its_code(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = resnet18().eval()
    torch.save({"epoch": 1, "net": network}, tmp_path / "whole.pth")
    backbone = load_backbone(tmp_path / "whole.pth", name="resnet18", crop_size=32)
    network.fc = nn.Identity()
    assert _same_features(backbone, network)


TWO: dict[str, tuple[str, str]] = {
    # What is taken, and what else is there.
    "MoCo": ("encoder_q", "encoder_k"),
    "MoCo v3": ("base_encoder", "momentum_encoder"),
    "DINO": ("teacher", "student"),
    "BYOL": ("online_encoder.net", "target_encoder.net"),
    "BYOL, by networks": ("online_network.encoder", "target_network.encoder"),
    "I-JEPA, MSN": ("target_encoder", "encoder"),
    "solo-learn": ("backbone", "momentum_backbone"),
    "lightly's MoCo": ("backbone", "backbone_momentum"),
    "lightly's DINO": ("teacher_backbone", "student_backbone"),
    "a network and its target": ("network", "target_network"),
    "timm": ("state_dict_ema", "state_dict"),
    "ema": ("model_ema", "model"),
    "a network and its teacher": ("teacher", "model"),
}


@pytest.mark.parametrize("first", [True, False], ids=["in order", "reversed"])
@pytest.mark.parametrize("code", TWO)
def test_of_two_networks_one_is_taken_and_the_other_can_be_chosen(tmp_path: Path, code: str, first: bool) -> None:
    taken, other = TWO[code]
    networks = {taken: _network(0), other: _network(1)}
    names = [taken, other] if first else [other, taken]
    torch.save({f"{name}": _below(networks[name].state_dict(), "module.") for name in names}, tmp_path / "two.pth")
    backbone = _load(tmp_path / "two.pth")
    assert _same_features(backbone, networks[taken])
    assert backbone.provenance.key == f"{taken}.module"
    assert backbone.provenance.remarks == (
        f"two.pth: the weights are those of {taken}.module; backbone.weights chooses {other}.module",
    )
    assert backbone.describe()["remarks"] == list(backbone.provenance.remarks)
    chosen = _load(tmp_path / "two.pth", weights=other)
    assert _same_features(chosen, networks[other])
    assert chosen.describe()["key"] == f"{other}.module"
    with pytest.raises(
        UserError, match=rf"backbone\.weights=nobody: checkpoint .*two\.pth has the weights in .*{taken}"
    ):
        _load(tmp_path / "two.pth", weights="nobody")


def test_equal_copies_are_not_worth_a_word(tmp_path: Path) -> None:
    state = _network(0).state_dict()
    copies = {"teacher": {name: value.clone() for name, value in state.items()}, "student": state}
    torch.save(copies, tmp_path / "copies.pth")
    assert _load(tmp_path / "copies.pth").provenance.remarks == ()
    student = _load(tmp_path / "copies.pth", weights="student")
    assert student.provenance.key == "student"
    # Two backbones of one file are not taken for two seeds of one.
    assert (student.provenance.label, _load(tmp_path / "copies.pth").provenance.label) == ("copies student", "copies")


@pytest.mark.parametrize("code", ["bare", "SimSiam", "VISSL"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.0.bn2.running_var"), r"1 missing \(layer2\.0\.bn2\.running_var\)"),
        (lambda s: s.update({"bn1.bias": torch.zeros(9)}), r"1 of another shape \(bn1\.bias \(9,\) for \(8,\)\)"),
        (lambda s: s.update({"layer4.1.conv1.weight": torch.zeros(1)}), r"1 left over \(layer4\.1\.conv1\.weight\)"),
        (
            lambda s: s.update({"reg_token": torch.zeros(4)}),
            r"1 left over \(reg_token\).*backbone\.heads=\[reg_token\]",
        ),
        (
            lambda s: s.update({"gate.weight": torch.zeros(4)}),
            r"1 left over \(gate\.weight\).*backbone\.heads=\[gate\]",
        ),
    ],
    ids=["missing", "shape", "deeper", "token", "unknown"],
)
def test_no_network_is_loaded_in_part(
    tmp_path: Path, code: str, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    state = dict(_network(0).state_dict())
    change(state)
    torch.save(ONE[code](state), tmp_path / "part.pth")
    with pytest.raises(UserError, match=rf"part\.pth does not fit the backbone: {message}") as error:
        _load(tmp_path / "part.pth")
    assert "; it holds " in str(error.value)
    assert "; tried: as named, timm, " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_head_of_an_unknown_name_is_left_out_where_it_is_named(tmp_path: Path) -> None:
    network = _network(0)
    torch.save({**network.state_dict(), "gate.weight": torch.zeros(4)}, tmp_path / "a.pth")
    assert _same_features(_load(tmp_path / "a.pth", heads=["gate"]), network)


@pytest.mark.parametrize(
    ("build", "asked", "hint"),
    [
        (resnet50, "resnet18", "backbone.name=resnet50"),
        (resnet34, "resnet18", "backbone.name=torchvision:resnet34"),
        (resnet18, "resnet50", "backbone.name=resnet18"),
        (
            lambda: Architecture("resnet18", {"width": 2}).build(),
            "resnet18",
            "backbone.name=resnet18 backbone.kwargs.width=2",
        ),
        (
            lambda: Architecture("timm:vit_tiny_patch16_224", {"pretrained": False}).build(),
            "resnet18",
            "backbone.name=timm:vit_tiny_patch16_224",
        ),
    ],
    ids=["resnet50", "resnet34", "resnet18", "wide", "vit"],
)
def test_another_network_is_known_by_its_look(tmp_path: Path, build: Any, asked: str, hint: str) -> None:
    torch.save({"state_dict": _below(build().state_dict(), "module.")}, tmp_path / "other.pth")
    with pytest.raises(UserError) as error:
        load_backbone(tmp_path / "other.pth", name=asked)
    assert f"; it looks like {hint}; it holds " in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"no args\.json beside it says which backbone it holds") as error:
        load_backbone(tmp_path / "other.pth")
    assert str(error.value).endswith(f"it looks like {hint}")


def test_transformers_networks_are_known_by_their_names(tmp_path: Path) -> None:
    torch.save({"vit.encoder.layer.0.attention.attention.query.weight": torch.zeros(2, 2)}, tmp_path / "hf.bin")
    with pytest.raises(UserError, match="Hugging Face transformers"):
        load_backbone(tmp_path / "hf.bin", name="timm:test_vit")


def test_masked_autoencoders_lose_their_decoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Architecture("timm:test_vit", {"pretrained": False}).build().eval()
    decoder = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_pos_embed": torch.zeros(1, 9, 8),
        **_fc("decoder_blocks.0.attn.qkv.weight"),
    }
    torch.save({"model": {**network.state_dict(), **decoder}}, tmp_path / "mae.pth")
    backbone = load_backbone(tmp_path / "mae.pth", name="timm:test_vit")
    images = torch.rand(2, 3, 160, 160)
    mean, std = backbone.mean, backbone.std
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), network((images - mean) / std), atol=1e-4, rtol=1e-4)


def test_an_arch_in_the_file_is_torchvisions(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = resnet101().state_dict()
    torch.save(
        {"arch": "resnet101", "state_dict": {n: torch.zeros(v.shape) for n, v in state.items()}}, tmp_path / "a.pth"
    )
    assert load_backbone(tmp_path / "a.pth", crop_size=32).architecture.name == "torchvision:resnet101"


@pytest.mark.parametrize(("padding", "size"), [(1, 32), (2, 34)])
def test_a_stem_for_small_images_of_either_padding(tmp_path: Path, padding: int, size: int) -> None:
    network = _network(0)
    network.conv1 = nn.Conv2d(3, 8, 3, padding=padding, bias=False)
    network.maxpool = nn.Identity()
    torch.save({"model": network.state_dict()}, tmp_path / "cifar.pth")
    keys = {"kwargs": {**NARROW, "stem_padding": padding}} if padding == 1 else {}
    backbone = _load(tmp_path / "cifar.pth", **keys)
    assert _same_features(backbone, network)
    said = "".join(backbone.provenance.remarks)
    assert ("its 3x3 stem is taken for solo-learn's, padded by 2" in said) is (padding == 2)
    assert backbone.network.conv1(torch.zeros(1, 3, 32, 32)).shape[-1] == size


def test_what_a_mapping_that_holds_itself_has_is_there_once() -> None:
    content: dict[str, object] = {"weight": torch.zeros(2)}
    content["again"] = content
    assert names_of(content) == ["weight"]


def test_a_file_that_refers_to_itself(tmp_path: Path) -> None:
    network = _network(0)
    content: dict[str, Any] = {"state_dict": dict(network.state_dict()), "log": {}}
    content["log"]["whole"] = content
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"deeper": deep, "again": deep}
    torch.save({**content, "deep": deep}, tmp_path / "circle.pth")
    assert _same_features(_load(tmp_path / "circle.pth"), network)


def _clips_names(state: State) -> dict[str, Tensor]:
    """Names of OpenAI's CLIP, of a ViT with one block: https://github.com/openai/CLIP, ``clip/model.py``."""
    block, ours = "visual.transformer.resblocks.0.", "blocks.0."
    names = {
        "cls_token": "visual.class_embedding",
        "pos_embed": "visual.positional_embedding",
        "patch_embed.proj.weight": "visual.conv1.weight",
        **{f"norm_pre.{end}": f"visual.ln_pre.{end}" for end in ("weight", "bias")},
        **{f"norm.{end}": f"visual.ln_post.{end}" for end in ("weight", "bias")},
        **{f"{ours}norm{n}.{end}": f"{block}ln_{n}.{end}" for n in (1, 2) for end in ("weight", "bias")},
        **{f"{ours}attn.qkv.{end}": f"{block}attn.in_proj_{end}" for end in ("weight", "bias")},
        **{f"{ours}attn.proj.{end}": f"{block}attn.out_proj.{end}" for end in ("weight", "bias")},
        **{f"{ours}mlp.fc1.{end}": f"{block}mlp.c_fc.{end}" for end in ("weight", "bias")},
        **{f"{ours}mlp.fc2.{end}": f"{block}mlp.c_proj.{end}" for end in ("weight", "bias")},
    }
    squeezed = {name: value.flatten(0, -2) if name == "pos_embed" else value for name, value in state.items()}
    squeezed["cls_token"] = state["cls_token"].flatten()
    return {names[name]: value for name, value in squeezed.items()}


def _dinov2s_names(state: State) -> dict[str, Tensor]:
    """Names of DINOv2's own code, with registers: https://github.com/facebookresearch/dinov2."""
    renamed = {name.replace("reg_token", "register_tokens"): value for name, value in state.items()}
    # There, positions begin with the class token's; timm adds them to the patches alone.
    positions = torch.cat([torch.zeros(1, 1, state["pos_embed"].shape[2]), state["pos_embed"]], dim=1)
    return {**renamed, "pos_embed": positions, "mask_token": torch.zeros(1, 64)}


@pytest.mark.parametrize(
    ("name", "names"),
    [
        (
            "vit_base_patch32_clip_224",
            lambda s: {**_clips_names(s), "visual.proj": torch.zeros(64, 8), "logit_scale": torch.zeros(())},
        ),
        (
            "vit_base_patch32_clip_224",
            lambda s: {"state_dict": _below({**_clips_names(s), "visual.proj": torch.zeros(64, 8)}, "module.")},
        ),
        ("vit_small_patch14_reg4_dinov2", _dinov2s_names),
    ],
    ids=["CLIP", "OpenCLIP", "DINOv2"],
)
def test_names_that_timm_knows(tmp_path: Path, name: str, names: Callable[[State], Any]) -> None:
    kwargs = {"depth": 1, "embed_dim": 64, "num_heads": 2, "img_size": 64 if "clip" in name else 56}
    torch.manual_seed(0)
    network = Architecture(f"timm:{name}", {"pretrained": False, **kwargs}).build().eval()
    torch.save(names(network.state_dict()), tmp_path / "a.pth")
    backbone = load_backbone(tmp_path / "a.pth", name=f"timm:{name}", kwargs=kwargs, crop_size=kwargs["img_size"])
    images = torch.rand(2, 3, kwargs["img_size"], kwargs["img_size"])
    with torch.no_grad():
        expected = network((images - backbone.mean) / backbone.std)
    torch.testing.assert_close(backbone(images), expected, atol=1e-4, rtol=1e-4)
    # Of another size, it is the same network, whose positions are interpolated.
    other = load_backbone(tmp_path / "a.pth", name=f"timm:{name}", kwargs={**kwargs, "img_size": 112})
    assert other.input_spec.crop_size == 112
    assert "are interpolated to 112 pixels" in other.provenance.remarks[-1]
