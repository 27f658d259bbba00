"""Folders of timm's, on a disk and on a hub: built, prepared for and accounted for as the folder says."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from solo_invariance.backbones import BackboneConfig, load_backbone, random_init_of
from solo_invariance.backbones.sources import online
from solo_invariance.backbones.sources.online import why_unreachable
from solo_invariance.errors import UserError
from solo_invariance.fuse import fuse

from .conftest import COMMIT, Hub

_INPUT = {"input_size": (3, 96, 96), "mean": (0.4, 0.5, 0.6), "std": (0.3, 0.2, 0.1), "interpolation": "bilinear"}


def _save(folder: Path, **arguments: Any) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_vit", num_classes=7, img_size=96, **arguments)
    network.pretrained_cfg.update(_INPUT, num_classes=7, fixed_input_size=True)
    save_for_hf(network, folder, safe_serialization=True, model_args={"img_size": 96, **arguments})
    return network.eval()


def _features(network: Any, images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(_INPUT[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        return network.forward_head(network.forward_features((images - mean) / std), pre_logits=True)


def test_a_folder_of_timms(tmp_path: Path) -> None:
    network = _save(tmp_path)
    backbone = load_backbone(f"timm:local-dir:{tmp_path}")
    spec = backbone.input_spec
    assert (spec.crop_size, spec.mean, spec.std, spec.interpolation) == (96, *list(_INPUT.values())[1:])
    images = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(backbone(images), _features(network, images))
    assert backbone.provenance.sha256 is not None
    assert backbone.provenance.label == f"timm:local-dir:{tmp_path}"
    assert load_backbone(f"timm:local-dir:{tmp_path}", mean=[0.1] * 3).input_spec.mean == (0.1,) * 3
    with pytest.raises(UserError, match=r"does not fit .*fc_norm"):  # which it has, where it pools by the mean
        load_backbone(f"timm:local-dir:{tmp_path}", kwargs={"global_pool": "avg"})
    twin = random_init_of(backbone, 0)
    assert not torch.allclose(twin(images), backbone(images), atol=1e-3)
    drawn = load_backbone(f"random:timm:local-dir:{tmp_path}")
    assert (drawn.input_spec, drawn.num_features) == (spec, 64)
    assert not torch.equal(drawn(images), backbone(images))


def test_its_weights_in_another_file_and_in_a_fusion(tmp_path: Path) -> None:
    network = _save(tmp_path / "model")
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    name, images = f"timm:local-dir:{tmp_path / 'model'}", torch.rand(2, 3, 96, 96)
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    of_file = load_backbone(tmp_path / "mine.pth", name=name)
    torch.testing.assert_close(of_file(images), _features(network, images))
    (tmp_path / "elsewhere.safetensors").rename(tmp_path / "model" / "model.safetensors")
    fused = fuse([name, BackboneConfig(checkpoint=str(tmp_path / "mine.pth"), name=name)], out=tmp_path / "f.ckpt")
    (tmp_path / "model" / "config.json").unlink()
    assert torch.equal(load_backbone(tmp_path / "f.ckpt")(images), fused(images))


def test_every_weight_of_a_folder_is_accounted_for(tmp_path: Path) -> None:
    _save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"model\.safetensors.*norm\.weight"):
        load_backbone(f"timm:local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vit"}, "names no architecture of timm's; transformers' are named hf:"),
        ({"architecture": "test_vitt"}, "timm has no such model"),
        (
            {"architecture": "test_vit", "pretrained_cfg": 3},
            "pretrained_cfg in its config.json is 3, expected a",
        ),
        ({"architecture": "test_vit", "model_args": {"depht": 3}}, "cannot be built with .*depht"),
    ],
)
def test_configurations_that_are_none(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_backbone(f"random:timm:local-dir:{tmp_path}")


def test_older_folders_have_it_all_in_one_mapping(tmp_path: Path) -> None:
    network = _save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_vit", **config["pretrained_cfg"]}))
    backbone = load_backbone(f"timm:local-dir:{tmp_path}", kwargs={"img_size": 96})
    images = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(backbone(images), _features(network, images))


def test_a_hubs_model_is_fetched_once_and_then_taken_without_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = _save(hub.root / "org" / "net"), torch.rand(2, 3, 96, 96)
    backbone = load_backbone("timm:hf-hub:org/net")
    torch.testing.assert_close(backbone(images), _features(network, images))
    assert backbone.describe()["revision"] == COMMIT
    assert any(path.endswith("/model.safetensors") for path in hub.asked)
    hub.server.shutdown()
    monkeypatch.setattr(online, "_PATIENCE", 0.2)
    why_unreachable.cache_clear()
    hub.asked.clear()
    again = load_backbone("timm:hf-hub:org/net")
    assert torch.equal(again(images), backbone(images))
    assert hub.asked == []


def test_timms_own_weights_are_taken_from_the_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What timm fetches by a name of its own is on a hub, too."""
    hub_id = timm.models.get_pretrained_cfg("test_vit.r160_in1k").hf_hub_id
    network = timm.create_model("test_vit").eval()
    save_for_hf(network, hub.root / hub_id)
    fetched = load_backbone("timm:test_vit.r160_in1k")
    hub.server.shutdown()
    monkeypatch.setattr(online, "_PATIENCE", 0.2)
    why_unreachable.cache_clear()
    hub.asked.clear()
    images = torch.rand(1, 3, 160, 160)
    assert torch.equal(load_backbone("timm:test_vit.r160_in1k")(images), fetched(images))
    assert hub.asked == []


@pytest.mark.parametrize("prefix", ["timm:hf-hub:", "hf:"])
def test_what_a_hub_does_not_have(hub: Hub, prefix: str) -> None:
    if prefix == "hf:":
        pytest.importorskip("transformers")
    _save(hub.root / "org" / "net")
    hub.gated.add("org/secret")
    for model, message in (
        ("org/nett", r"127\.0\.0\.1 has no such model; correct its name"),
        ("org/net@old", "has no revision 'old' of org/net"),
        ("org/secret", "shows it to who agreed to its terms"),
        ("a/b/c", "is neither a folder nor the name ORG/NAME of a model"),
    ):
        with pytest.raises(UserError, match=message) as error:
            load_backbone(f"{prefix}{model}")
        assert str(error.value).startswith(f"backbone.name={prefix}{model}: ")


@pytest.mark.parametrize("name", ["timm:hf-hub:org/net", "hf:org/net", "random:hf:org/net"])
def test_a_hub_that_is_not_reached(no_hub: str, name: str) -> None:
    if "timm" not in name:
        pytest.importorskip("transformers")
    with pytest.raises(
        UserError, match=rf"not in the cache .*, and {no_hub} cannot be reached .*`hf download org/net`"
    ):
        load_backbone(name)


def test_weights_that_cannot_be_fetched_are_asked_for_once(
    no_hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name, message in (
        ("timm:resnet18.a1_in1k", f"its weights are not in the cache, and cannot be downloaded: {no_hub}"),
        ("torchvision:resnet18", r"its weights cannot be downloaded: download\.pytorch\.org cannot be reached"),
    ):
        monkeypatch.setattr(online, "why_unreachable", lambda url: "it does not answer")
        monkeypatch.setattr("solo_invariance.backbones.sources.timm.why_unreachable", lambda url: "it does not answer")
        with pytest.raises(UserError, match=message):
            load_backbone(name)
