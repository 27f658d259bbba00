"""Checkpoints as published codes write them: the network that their authors evaluate is the one that is loaded.

What is called how is each code's own saving code's to say; the row names it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, load_backbone
from solo_invariance.errors import UserError

State = dict[str, Tensor]
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": ("resnet10", {"width": 0.125}),
    "ViT": (
        "timm:vit_tiny_patch16_224",
        {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 32, "patch_size": 8},
    ),
}
DINOV2 = {"depth": 4, "embed_dim": 48, "num_heads": 3, "img_size": 42}
DINOV3 = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 32}


@lru_cache
def _network(kind: str, seed: int) -> nn.Module:
    return _built(*NETWORKS[kind], seed)


def _built(name: str, kwargs: Mapping[str, Any], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = Architecture(name, {**({"pretrained": False} if ":" in name else {}), **kwargs}).build()
    for value in network.state_dict().values():  # statistics and scales that a fresh network does not have
        if value.is_floating_point():
            value += 0.02 * torch.rand_like(value)
    return network.eval()


def _pre(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def _heads(*names: str) -> State:
    return {name: torch.rand(4, 8) for name in names}


@dataclass(frozen=True)
class Layout:
    """How a code saves.

    Args:
        source: Whose code it is, and where in it the names are from.
        write: From the evaluated network's weights, and those of the other one beside it, to the file's content.
        other: What chooses the other one; None where there is none.
    """

    source: str
    write: Callable[[State, State], Any]
    other: str | None = None


LAYOUTS: dict[str, Layout] = {
    "bare": Layout("torch.save(network.state_dict())", lambda s, o: s),
    "bare with heads": Layout("timm, torchvision", lambda s, o: {**s, **_heads("fc.weight", "head.weight")}),
    "DDP": Layout("torch.nn.parallel", lambda s, o: {"state_dict": _pre("module.", s)}),
    "compiled": Layout("torch.compile", lambda s, o: _pre("_orig_mod.", s)),
    "DDP, compiled": Layout("torch.compile(DDP(...))", lambda s, o: {"model": _pre("_orig_mod.module.", s)}),
    "compiled, DDP": Layout("DDP(torch.compile(...))", lambda s, o: {"model": _pre("module._orig_mod.net.", s)}),
    "averaged": Layout(
        "torch.optim.swa_utils.AveragedModel", lambda s, o: {**_pre("module.", s), "n_averaged": torch.tensor(7)}
    ),
    "averaged beside": Layout(
        "torch.optim.swa_utils' tutorial",
        lambda s, o: {
            "model_state_dict": o,
            "swa_model_state_dict": {**_pre("module.", s), "n_averaged": torch.tensor(7)},
        },
        "model_state_dict",
    ),
    "Lightning": Layout("LightningModule with self.model", lambda s, o: {"state_dict": _pre("model.", s), "loops": {}}),
    "Lightning, averaged": Layout(
        "lightning.pytorch.callbacks.WeightAveraging: on_save_checkpoint",
        lambda s, o: {"state_dict": _pre("model.", s), "current_model_state": _pre("model.", o)},
        "current_model_state",
    ),
    "timm": Layout(
        "timm/utils/checkpoint_saver.py; load_state_dict(use_ema=True)",
        lambda s, o: {"epoch": 3, "arch": "x", "state_dict": o, "state_dict_ema": s, "version": 2, "metric": 0.5},
        "state_dict",
    ),
    "no counters": Layout(
        "torch before 0.4.1", lambda s, o: {name: value for name, value in s.items() if "num_batches" not in name}
    ),
    "solo-learn": Layout(
        "solo/methods/base.py; main_linear.py takes backbone",
        lambda s, o: {
            "state_dict": {
                **_pre("backbone.", s),
                **_pre("momentum_backbone.", o),
                **_heads("classifier.weight", "momentum_classifier.weight", "projector.0.weight", "queue"),
                **_heads("momentum_projector.0.weight", "predictor.0.weight", "prototypes.weight"),
            }
        },
        "momentum_backbone",
    ),
    "solo-learn, older": Layout(
        "main_linear.py, which renames encoder",
        lambda s, o: {"state_dict": {**_pre("encoder.", s), **_pre("momentum_encoder.", o), **_heads("projector.0.a")}},
        "momentum_encoder",
    ),
    "MoCo": Layout(
        "facebookresearch/moco main_lincls.py: module.encoder_q",
        lambda s, o: {
            "arch": "resnet50",
            "state_dict": {
                **_pre("module.encoder_q.", {**s, **_heads("fc.0.weight", "fc.2.weight")}),
                **_pre("module.encoder_k.", {**o, **_heads("fc.0.weight", "fc.2.weight")}),
                **_heads("module.queue"),
                "module.queue_ptr": torch.zeros(1, dtype=torch.long),
            },
        },
        "encoder_k",
    ),
    "MoCo v3": Layout(
        "facebookresearch/moco-v3 main_lincls.py: module.base_encoder",
        lambda s, o: {
            "arch": "vit_base",
            "state_dict": {
                **_pre("module.base_encoder.", {**s, **_heads("head.0.weight", "head.4.running_mean")}),
                **_pre("module.momentum_encoder.", {**o, **_heads("head.0.weight")}),
                **_heads("module.predictor.0.weight"),
            },
        },
        "momentum_encoder",
    ),
    "SimSiam": Layout(
        "facebookresearch/simsiam main_lincls.py: module.encoder",
        lambda s, o: {
            "arch": "resnet50",
            "state_dict": {
                **_pre("module.encoder.", {**s, **_heads("fc.0.weight", "fc.6.bias")}),
                **_heads("module.predictor.0.weight"),
            },
        },
    ),
    "SimCLR": Layout(
        "sthalles/SimCLR simclr.py: backbone.fc",
        lambda s, o: {
            "arch": "resnet18",
            "state_dict": _pre("backbone.", {**s, **_heads("fc.0.weight", "fc.2.weight")}),
        },
    ),
    "BYOL": Layout(
        "lucidrains/byol-pytorch, BYOL evaluates the online network",
        lambda s, o: {
            **_pre("online_encoder.net.", s),
            **_heads("online_encoder.projector.0.weight", "online_predictor.0.weight"),
            **_pre("target_encoder.net.", o),
            **_heads("target_encoder.projector.0.weight"),
        },
        "target_encoder",
    ),
    "DINO": Layout(
        "facebookresearch/dino main_dino.py; eval_*.py: checkpoint_key=teacher",
        lambda s, o: {
            "student": _pre("module.", {**_pre("backbone.", o), **_heads("head.mlp.0.weight", "head.last_layer.a")}),
            "teacher": {**_pre("backbone.", s), **_heads("head.mlp.0.weight", "head.last_layer.weight_v")},
            "optimizer": {"state": {0: {"exp_avg": torch.rand(3)}}, "param_groups": []},
            "dino_loss": {"center": torch.rand(1, 8)},
        },
        "student",
    ),
    "iBOT": Layout(
        "bytedance/ibot main_ibot.py, utils.py: checkpoint_key=teacher",
        lambda s, o: {
            "student": _pre("module.", {**_pre("backbone.", o), **_heads("backbone.masked_embed", "head.mlp.0.a")}),
            "teacher": {**_pre("backbone.", s), **_heads("backbone.masked_embed", "head.last_layer2.weight_g")},
            "ibot_loss": {"center": torch.rand(1, 8), "center2": torch.rand(1, 1, 8)},
        },
        "student",
    ),
    "DINOv2, without registers": Layout(
        "facebookresearch/dinov2 dinov2/train/train.py do_test: teacher_checkpoint.pth",
        lambda s, o: {
            "teacher": {**_pre("backbone.", s), **_heads("backbone.mask_token", "dino_head.mlp.0.a", "ibot_head.a")}
        },
    ),
    "SwAV": Layout(
        "facebookresearch/swav src/resnet50.py: projection_head, prototypes",
        lambda s, o: {
            "epoch": 1,
            "state_dict": _pre(
                "module.", {**s, **_heads("projection_head.1.running_mean", "prototypes.prototypes0.weight")}
            ),
        },
    ),
    "VISSL": Layout(
        "facebookresearch/vissl vissl/utils/checkpoint.py, extra_scripts/convert_vissl_to_torchvision.py",
        lambda s, o: {
            "iteration": 1,
            "loss": {},
            "classy_state_dict": {
                "base_model": {"model": {"trunk": _pre("_feature_blocks.", s), "heads": _heads("0.clf.0.weight")}},
                "optimizer": {"optim": _heads("momentum_buffer")},
                "loss": _heads("queue"),
            },
        },
    ),
    "VISSL's ViT": Layout(
        "vissl/models/trunks/vision_transformer.py: IBOTMaskedModeling",
        lambda s, o: {
            "classy_state_dict": {
                "base_model": {"model": {"trunk": {**s, **_heads("patch_masking.masked_embed")}, "heads": {}}}
            }
        },
    ),
    "Barlow Twins": Layout(
        "facebookresearch/barlowtwins main.py: module.backbone, projector, bn",
        lambda s, o: {
            "epoch": 1,
            "model": _pre("module.", {**_pre("backbone.", s), **_heads("projector.0.weight", "bn.running_mean")}),
            "optimizer": {"state": {}},
        },
    ),
    "VICReg": Layout(
        "facebookresearch/vicreg evaluate.py: model, module.backbone",
        lambda s, o: {"model": {**_pre("module.backbone.", s), **_heads("module.projector.0.weight")}},
    ),
    "MAE": Layout(
        "facebookresearch/mae models_mae.py",
        lambda s, o: {
            "model": {
                **s,
                **_heads("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.attn.qkv.weight"),
                **_heads("decoder_norm.weight", "decoder_pred.weight"),
            },
            "scaler": {},
        },
    ),
    "SimMIM": Layout(
        "microsoft/SimMIM models/simmim.py: encoder, decoder",
        lambda s, o: {"model": {**_pre("encoder.", {**s, **_heads("mask_token")}), **_heads("decoder.0.weight")}},
    ),
    "I-JEPA": Layout(
        "facebookresearch/ijepa src/train.py; the paper evaluates the target encoder",
        lambda s, o: {
            "encoder": _pre("module.", o),
            "predictor": _heads("module.predictor_blocks.0.norm1.weight", "module.mask_token"),
            "target_encoder": _pre("module.", s),
            "opt": {"state": {}},
            "scaler": None,
        },
        "encoder",
    ),
    "MSN": Layout(
        "facebookresearch/msn src/msn_train.py; linear_eval.py: target_encoder",
        lambda s, o: {
            "encoder": _pre("module.", {**o, **_heads("fc.fc1.weight")}),
            "target_encoder": _pre("module.", {**s, **_heads("fc.fc1.weight")}),
            "prototypes": torch.rand(4, 8),
        },
        "encoder",
    ),
    "BEiT, data2vec": Layout(
        "microsoft/unilm beit/modeling_pretrain.py: lm_head, mask_token",
        lambda s, o: {"model": {**s, **_heads("lm_head.weight", "mask_token")}},
    ),
    "mmselfsup": Layout(
        "open-mmlab/mmselfsup: backbone, neck, head, data_preprocessor",
        lambda s, o: {
            "meta": {},
            "state_dict": {**_pre("backbone.", s), **_heads("neck.fc0.weight", "head.a", "data_preprocessor.mean")},
        },
    ),
    "DeepSpeed": Layout("DeepSpeed's mp_rank_00_model_states.pt: module", lambda s, o: {"module": _pre("net.", s)}),
    "lightly's MoCo, of networks": Layout(
        "lightly-ai/lightly benchmarks/imagenet/resnet50/mocov2.py: forward is backbone",
        lambda s, o: {
            "state_dict": {
                **_pre("backbone.", s),
                **_pre("key_backbone.", o),
                **_heads("projection_head.layers.0.weight", "key_projection_head.layers.0.a", "online_classifier.fc.a"),
                **_heads("criterion.memory_bank.bank"),
            }
        },
        "key_backbone",
    ),
    "lightly's BYOL": Layout(
        "lightly-ai/lightly benchmarks/imagenet/resnet50/byol.py: forward is backbone, the online network",
        lambda s, o: {
            "state_dict": {
                **_pre("backbone.", s),
                **_pre("teacher_backbone.", o),
                **_heads("projection_head.layers.0.weight", "teacher_projection_head.layers.0.weight"),
                **_heads("prediction_head.layers.0.weight", "online_classifier.classification_head.weight"),
            }
        },
        "teacher_backbone",
    ),
    "lightly's DINO": Layout(
        "lightly-ai/lightly benchmarks/imagenet/resnet50/dino.py: forward is backbone, the teacher",
        lambda s, o: {
            "state_dict": {
                **_pre("backbone.", s),
                **_pre("student_backbone.", o),
                **_heads("projection_head.a", "student_projection_head.a", "criterion.center"),
            }
        },
        "student_backbone",
    ),
    "lightly's iBOT": Layout(
        "lightly-ai/lightly benchmarks/imagenet/vitb16/ibot.py: forward is teacher_backbone",
        lambda s, o: {
            "state_dict": {
                **_pre("teacher_backbone.vit.", s),
                **_pre("student_backbone.vit.", o),
                **_heads("teacher_backbone.mask_token", "student_backbone.mask_token"),
                **_heads("student_cls_head.a", "teacher_patch_head.a", "cls_criterion.center"),
            }
        },
        "student",
    ),
    "lightly's MSN": Layout(
        "lightly-ai/lightly examples/pytorch_lightning/msn.py: backbone follows anchor_backbone",
        lambda s, o: {
            "state_dict": {
                **_pre("backbone.vit.", s),
                **_pre("anchor_backbone.vit.", o),
                **_heads("backbone.mask_token", "anchor_backbone.mask_token", "anchor_projection_head.a", "prototypes"),
            }
        },
        "anchor",
    ),
    "lightly-train": Layout(
        "lightly-train _methods/dino/dino.py, _models/embedding_model.py",
        lambda s, o: {
            "state_dict": {
                **_pre("teacher_embedding_model.wrapped_model._model.", s),
                **_pre("student_embedding_model.wrapped_model._model.", o),
                **_heads("teacher_embedding_model.embed_head.weight", "student_projection_head.a", "criterion.center"),
            },
            "lightly_train": {"version": "0.18.0", "normalize_args": {"mean": [0.5]}},
        },
        "student",
    ),
    "stable-pretraining": Layout(
        "stable_pretraining/backbone/utils.py TeacherStudentWrapper: forward is forward_teacher",
        lambda s, o: {
            "state_dict": {
                **_pre("backbone.teacher.", s),
                **_pre("backbone.student.", o),
                "backbone.ema_coefficient": torch.tensor(0.99),
                **_heads("projector.student.0.weight", "projector.teacher.0.weight", "predictor.0.weight"),
                **_heads("callbacks_modules.probe.weight", "callbacks_metrics.knn.a"),
            }
        },
        "student",
    ),
}


def _load(path: Path, kind: str, **keys: Any) -> Backbone:
    name, kwargs = NETWORKS[kind]
    return load_backbone(path, name=name, kwargs=kwargs, crop_size=32, **keys)


def _features(network: nn.Module, backbone: Backbone) -> Tensor:
    size = backbone.input_spec.crop_size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: Tensor = network((images - backbone.mean) / backbone.std)
    return found


def _is(backbone: Backbone, network: nn.Module) -> bool:
    found = _features(backbone.network, backbone)
    return torch.allclose(found, _features(network, backbone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("code", LAYOUTS)
def test_the_network_that_is_evaluated_is_loaded(tmp_path: Path, code: str, kind: str) -> None:
    layout, evaluated, other = LAYOUTS[code], _network(kind, 0), _network(kind, 1)
    torch.save(layout.write(evaluated.state_dict(), other.state_dict()), tmp_path / "a.pth")
    backbone = _load(tmp_path / "a.pth", kind)
    assert _is(backbone, evaluated)
    assert not _is(backbone, other)
    assert len(backbone.provenance.remarks) == (layout.other is not None)
    if layout.other is not None:
        chosen = _load(tmp_path / "a.pth", kind, weights=layout.other)
        assert _is(chosen, other)
        assert not _is(chosen, evaluated)


@pytest.mark.parametrize("code", LAYOUTS)
@pytest.mark.parametrize(
    ("change", "kind"), [("one unknown", "ViT"), ("one too few", "ResNet"), ("one in a block", "ViT")]
)
def test_every_weight_is_accounted_for(tmp_path: Path, code: str, kind: str, change: str) -> None:
    state = dict(_network(kind, 0).state_dict())
    block, norm = ("layer1.0", "bn1.weight") if kind == "ResNet" else ("blocks.1", "norm.weight")
    wrong = {"one unknown": "gate.weight", "one too few": norm, "one in a block": f"{block}.head.weight"}[change]
    if change == "one too few":
        del state[wrong]
    else:
        state[wrong] = torch.rand(3, 3)
    torch.save(LAYOUTS[code].write(state, _network(kind, 1).state_dict()), tmp_path / "a.pth")
    with pytest.raises(UserError, match=re.escape(wrong)) as error:
        _load(tmp_path / "a.pth", kind)
    assert "does not fit the backbone: 1 " in str(error.value)
    assert "\n" not in str(error.value)


AROUND: dict[str, Callable[[State, State], Any]] = {
    "beside the prefix": lambda s, o: {"state_dict": {**_pre("backbone.", s), **_heads("gate.weight")}},
    "in another module": lambda s, o: {"state_dict": _pre("module.", {**_pre("encoder.", s), **_heads("gate.fc.a")})},
    "at the top": lambda s, o: {"model": s, "gate": torch.rand(3)},
    "in another mapping": lambda s, o: {"model": s, "gate": {"weight": torch.rand(3)}},
    "in a nested mapping": lambda s, o: {"a": {"model": {"trunk": s, "gate": {"weight": torch.rand(3)}}}},
    "beside the teacher": lambda s, o: {"teacher": {**_pre("backbone.", s), **_heads("gate.a")}, "student": o},
    "of another network": lambda s, o: {"state_dict": {**_pre("a.", s), **_pre("gate.", _wider())}},
}


def _wider() -> State:
    return _built("resnet10", {"width": 0.25}, 0).state_dict()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("where", AROUND)
def test_what_is_around_a_network_is_accounted_for(tmp_path: Path, where: str, kind: str) -> None:
    network, other = _network(kind, 0), _network(kind, 1)
    torch.save(AROUND[where](network.state_dict(), other.state_dict()), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"left over \(.*gate.*backbone\.heads=\[gate\]; backbone\.weights=") as error:
        _load(tmp_path / "a.pth", kind)
    key = str(error.value).partition("backbone.weights=")[2].partition(" ")[0]
    assert _is(_load(tmp_path / "a.pth", kind, heads=["gate"]), network)
    assert _is(_load(tmp_path / "a.pth", kind, weights=key), network)


@pytest.mark.parametrize("names", [("a", "b"), ("encoder_1", "encoder_2")])
def test_of_two_networks_that_nothing_tells_apart_one_is_to_be_chosen(tmp_path: Path, names: tuple[str, str]) -> None:
    states = [_network("ResNet", seed).state_dict() for seed in (0, 1)]
    torch.save(
        {"state_dict": {**_pre(f"{names[0]}.", states[0]), **_pre(f"{names[1]}.", states[1])}}, tmp_path / "a.pth"
    )
    with pytest.raises(UserError, match=rf"{names[0]} and state_dict\.{names[1]} hold the same network.*choose one by"):
        _load(tmp_path / "a.pth", "ResNet")
    for seed, name in enumerate(names):
        assert _is(_load(tmp_path / "a.pth", "ResNet", weights=name), _network("ResNet", seed))


@pytest.mark.parametrize(
    "said", ["student", "student.", "student.module", "student.module._orig_mod", "module.backbone"]
)
def test_any_beginning_that_the_file_has_chooses(tmp_path: Path, said: str) -> None:
    teacher, student = (_network("ViT", seed).state_dict() for seed in (0, 1))
    torch.save({"teacher": teacher, "student": _pre("module._orig_mod.backbone.", student)}, tmp_path / "a.pth")
    assert _is(_load(tmp_path / "a.pth", "ViT", weights=said), _network("ViT", 1))


def test_a_student_is_not_taken_for_a_teacher_that_is_broken(tmp_path: Path) -> None:
    teacher, student = (dict(_network("ViT", seed).state_dict()) for seed in (0, 1))
    del teacher["norm.weight"]
    torch.save({"teacher": teacher, "student": student}, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"1 missing \(norm\.weight\) .*in teacher.*backbone\.weights=student takes that"
    ):
        _load(tmp_path / "a.pth", "ViT")
    assert _is(_load(tmp_path / "a.pth", "ViT", weights="student"), _network("ViT", 1))
    with pytest.raises(UserError, match=r"1 missing \(norm\.weight\)"):
        _load(tmp_path / "a.pth", "ViT", weights="teacher")
    with pytest.raises(UserError, match=r"backbone\.weights=nobody: .* has the weights in student; name one of these"):
        _load(tmp_path / "a.pth", "ViT", weights="nobody")


def _chunked(state: State, size: int) -> State:
    """Names of DINOv2 with ``block_chunks``, and registers: dinov2/models/vision_transformer.py."""
    found = {}
    for name, value in state.items():
        if name.startswith("blocks.") and size:
            number = int(name.split(".")[1])
            name = f"blocks.{number // size}.{name.removeprefix('blocks.')}"
        if name == "pos_embed" and "reg_token" in state:  # timm adds positions to the patches alone
            value = torch.cat([torch.zeros(1, 1, value.shape[2]), value], dim=1)
        found[name.replace("reg_token", "register_tokens")] = value
    return {**found, "mask_token": torch.rand(1, 48)}


@pytest.mark.parametrize("size", [0, 2], ids=["blocks", "chunks"])
@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
def test_dinov2(tmp_path: Path, name: str, size: int) -> None:
    networks = [_built(f"timm:{name}", DINOV2, seed) for seed in (0, 1)]
    teacher, student = (_chunked(network.state_dict(), size) for network in networks)
    heads = _heads("dino_head.mlp.0.weight", "dino_head.last_layer.weight_g", "ibot_head.mlp.0.weight")
    files: dict[str, Any] = {
        "bare": teacher,
        "teacher_checkpoint": {"teacher": {**_pre("backbone.", teacher), **heads}},
        "both": {
            "model": {
                **_pre("teacher.", {**_pre("backbone.", teacher), **heads}),
                **_pre("student.", {**_pre("backbone.", student), **heads}),
            }
        },
    }
    for content in files.values():
        torch.save(content, tmp_path / "a.pth")
        backbone = load_backbone(tmp_path / "a.pth", name=f"timm:{name}", kwargs=DINOV2, crop_size=42)
        assert _is(backbone, networks[0])
        assert not _is(backbone, networks[1])
    keys = {"name": f"timm:{name}", "kwargs": DINOV2, "crop_size": 42}
    assert _is(load_backbone(tmp_path / "a.pth", weights="student", **keys), networks[1])
    torch.save({"teacher": _pre("backbone.", {**teacher, "gate": torch.rand(4)})}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"1 left over \(gate\)"):
        load_backbone(tmp_path / "a.pth", **keys)
    with pytest.raises(UserError, match="does not fit the backbone"):
        load_backbone(tmp_path / "a.pth", name=f"timm:{name}", kwargs={**DINOV2, "depth": 3}, crop_size=42)


def _metas_dinov3(state: State, bias: float) -> State:
    """Names of Meta's DINOv3: dinov3/models/vision_transformer.py, dinov3/layers/attention.py."""
    found = {}
    for name, value in state.items():
        metas = name.replace("reg_token", "storage_tokens").replace("gamma_1", "ls1.gamma")
        metas = metas.replace("gamma_2", "ls2.gamma")
        if name.endswith("q_bias"):
            others = torch.zeros(48), state[name.replace("q_bias", "v_bias")]
            found[name.replace("q_bias", "qkv.bias")] = torch.cat([value, *others])
        elif not name.endswith("v_bias"):
            found[metas] = value
    for block in range(2):
        found.setdefault(f"blocks.{block}.attn.qkv.bias", torch.full((144,), bias))
        found[f"blocks.{block}.attn.qkv.bias_mask"] = torch.ones(144)
    return {**found, "rope_embed.periods": torch.rand(4), "mask_token": torch.rand(1, 48)}


@pytest.mark.parametrize("name", ["timm:vit_small_patch16_dinov3", "timm:vit_small_patch16_dinov3_qkvb"])
def test_dinov3(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    network = _built(name, DINOV3, 0)
    content = {"teacher": {**_pre("backbone.", _metas_dinov3(network.state_dict(), 0)), **_heads("dino_head.a")}}
    torch.save(content, tmp_path / "a.pth")
    assert _is(load_backbone(tmp_path / "a.pth", name=name, kwargs=DINOV3, crop_size=32), network)
    assert capsys.readouterr() == ("", "")  # timm's conversion prints
    if not name.endswith("qkvb"):  # biases of zeros may be left out, others are weights
        torch.save(_metas_dinov3(network.state_dict(), 0.1), tmp_path / "a.pth")
        with pytest.raises(UserError, match=r"2 left over \(blocks\.0\.attn\.qkv\.bias, blocks\.1\.attn\.qkv\.bias\)"):
            load_backbone(tmp_path / "a.pth", name=name, kwargs=DINOV3, crop_size=32)


def _numbered(network: nn.Module) -> State:
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


def test_children_of_a_resnet_by_their_numbers(tmp_path: Path) -> None:
    """``nn.Sequential(*list(resnet.children())[:-1])``: lightly-ai/lightly examples/pytorch_lightning/moco.py."""
    network, momentum = _network("ResNet", 0), _network("ResNet", 1)
    heads = _heads("projection_head.layers.0.weight", "projection_head_momentum.a", "criterion.memory_bank.bank")
    state = {**_pre("backbone.", _numbered(network)), **_pre("backbone_momentum.", _numbered(momentum)), **heads}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    assert _is(_load(tmp_path / "a.pth", "ResNet"), network)
    assert _is(_load(tmp_path / "a.pth", "ResNet", weights="backbone_momentum"), momentum)
    for wrong in ("backbone.gate", "backbone.7.1.conv1.weight", "backbone.4.0.head.weight"):
        torch.save({"state_dict": {**state, wrong: torch.rand(3, 3)}}, tmp_path / "a.pth")
        with pytest.raises(UserError, match=r"1 left over \((gate|layer4\.1\.conv1\.weight|layer1\.0\.head\.weight)\)"):
            _load(tmp_path / "a.pth", "ResNet")
    del state["backbone.5.0.bn1.bias"]
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"1 missing \(layer2\.0\.bn1\.bias\) \(its weights in state_dict\.backbone\)"):
        _load(tmp_path / "a.pth", "ResNet")


CONVNEXT = {"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 32]}


def test_convnext_by_its_authors_names(tmp_path: Path) -> None:
    """facebookresearch/ConvNeXt models/convnext.py, by timm's conversion."""
    network = _built("timm:convnext_tiny", CONVNEXT, 0)
    theirs = {}
    for name, value in network.state_dict().items():
        name = re.sub(r"^stem\.(\d)", r"downsample_layers.0.\1", name)
        name = re.sub(r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", name)
        name = re.sub(r"^stages\.(\d)\.blocks\.(\d+)", r"stages.\1.\2", name)
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace("head.norm", "norm")
        theirs[name] = value
    for content in ({"model": {**theirs, **_heads("head.weight")}}, {"state_dict": _pre("model.", theirs)}):
        torch.save(content, tmp_path / "a.pth")
        backbone = load_backbone(tmp_path / "a.pth", name="timm:convnext_tiny", kwargs=CONVNEXT, crop_size=64)
        assert _is(backbone, network)


def test_mmpretrains_vit(tmp_path: Path) -> None:
    """open-mmlab/mmpretrain mmpretrain/models/backbones/vision_transformer.py."""
    theirs = {}
    for name, value in _network("ViT", 0).state_dict().items():
        name = re.sub(r"^norm\.", "ln1.", name).replace("patch_embed.proj.", "patch_embed.projection.")
        name = re.sub(r"\.norm([12])\.", r".ln\1.", name.replace("blocks.", "layers."))
        theirs[name.replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")] = value
    torch.save(
        {"meta": {}, "state_dict": {**_pre("backbone.", theirs), **_heads("head.a", "neck.a")}}, tmp_path / "a.pth"
    )
    assert _is(_load(tmp_path / "a.pth", "ViT"), _network("ViT", 0))


def test_what_a_file_holds_says_how_it_is_read_and_not_its_name(tmp_path: Path) -> None:
    state = _network("ResNet", 0).state_dict()
    save_file(state, tmp_path / "weights.pth")
    torch.save({"state_dict": state}, tmp_path / "weights.safetensors")
    torch.save(state, tmp_path / "legacy.bin", _use_new_zipfile_serialization=False)
    for name in ("weights.pth", "weights.safetensors", "legacy.bin"):
        assert _is(_load(tmp_path / name, "ResNet"), _network("ResNet", 0))


def test_what_is_wrong_is_said_with_what_the_file_holds_and_what_was_tried(tmp_path: Path) -> None:
    state = _pre("module.encoder.", _network("ResNet", 0).state_dict())
    torch.save({"state_dict": {**state, **_heads("module.predictor.0.weight")}}, tmp_path / "a.pth")
    with pytest.raises(UserError) as error:
        load_backbone(tmp_path / "a.pth", name="resnet50", kwargs={"width": 0.125})
    said = str(error.value)
    assert "it holds state_dict.module.encoder.* 72 (conv1.weight 8x3x7x7), state_dict.module.predictor.0" in said
    assert re.search(r"tried: as named, timm, .*numbered_children, .*transformers_vit$", said)
    assert "; it looks like backbone.name=resnet10 backbone.kwargs.width=0.125; it holds " in said
    assert len(said) < 1200


@pytest.mark.parametrize("name", ["fc_norm.weight", "pre_logits.fc.weight"])
def test_what_belongs_to_the_features_is_no_head(tmp_path: Path, name: str) -> None:
    """timm: a norm behind pooling, and the layer before a classifier of older ViTs, change the features."""
    torch.save({**_network("ViT", 0).state_dict(), name: torch.rand(48)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"1 left over \({re.escape(name)}\)"):
        _load(tmp_path / "a.pth", "ViT")


def test_a_head_that_is_named_and_what_a_network_computes_are_no_weights_of_it(tmp_path: Path) -> None:
    state = _network("ResNet", 0).state_dict()
    torch.save({**state, "adapter.weight": torch.ones(4, 4)}, tmp_path / "a.pth")
    keys = {"name": "resnet10", "kwargs": {"width": 0.125}, "crop_size": 32}
    with pytest.raises(UserError, match=r"backbone\.heads=\[adapter\]"):
        load_backbone(tmp_path / "a.pth", **keys)
    load_backbone(tmp_path / "a.pth", heads=["adapter"], **keys)
    beside = {"gate.rope_embed.periods": torch.ones(8)}
    torch.save({"state_dict": {**_pre("image.", state), **beside}}, tmp_path / "b.pth")
    load_backbone(tmp_path / "b.pth", **keys)
