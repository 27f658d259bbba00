import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.errors import UserError
from solo_invariance.fuse import concatenate, fuse, save_fused
from solo_invariance.hosts.registry import build_fusion
from solo_invariance.hosts.solo_learn import find_solo_learn

_COMMON = ["data.dataset=custom", "data.format=image_folder", "max_epochs=1", "auto_resume.enabled=False"]


def test_a_checkout_is_found_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLO_LEARN_DIR", str(tmp_path))
    with pytest.raises(UserError, match="no solo-learn checkout there"):
        find_solo_learn()
    (tmp_path / "solo" / "methods").mkdir(parents=True)
    (tmp_path / "solo" / "methods" / "base.py").touch()
    (tmp_path / "main_pretrain.py").touch()
    (tmp_path / "setup.py").write_text('setup(\n    version="1.0.6",\n)\n')
    found = find_solo_learn()
    assert found is not None
    assert (found.version, found.checkout) == ("1.0.6", tmp_path)


def test_the_fused_builder_refuses_other_weights(host_checkpoint, tmp_path: Path) -> None:
    paths = [host_checkpoint("default"), host_checkpoint("ventral", 1)]
    members = [load_backbone(BackboneConfig(checkpoint=str(path))) for path in paths]
    save_fused(fuse(members, concatenate, "concat"), tmp_path / "fused.ckpt")
    built = build_fusion("mocov2plus", checkpoint=str(tmp_path / "fused.ckpt"))
    state = torch.load(tmp_path / "fused.ckpt", weights_only=True)["state_dict"]
    built.load_state_dict({k.replace("backbone.", ""): v for k, v in state.items()}, strict=False)
    other = torch.load(paths[0], weights_only=True)["state_dict"]
    with pytest.raises(UserError, match="pretrained_feature_extractor does not hold the fused backbone"):
        built.load_state_dict({k.replace("backbone.", ""): v for k, v in other.items()}, strict=False)
    with pytest.raises(UserError, match=r"needs backbone\.kwargs\.checkpoint"):
        build_fusion("mocov2plus")
    with pytest.raises(UserError, match="not a fused one"):
        build_fusion("mocov2plus", checkpoint=str(paths[0]))


def _pretrain(run_host: Any, photos: Path, out: Path, family: str, *overrides: str) -> Path:
    run_host(
        "main_pretrain.py",
        "--config-path=scripts/pretrain/cifar",
        "--config-name=mocov2plus",
        f"augmentations=invariance/{family}",
        f"name={family}",
        f"data.train_path={photos / 'train'}",
        "data.val_path=null",
        "+invariance.crop_size=32",
        "method_kwargs.queue_size=16",
        f"checkpoint.dir={out}",
        *_COMMON,
        *overrides,
    )
    return next((out / "mocov2plus").rglob(f"{family}-*.ckpt"))


@pytest.mark.host
def test_unmodified_scripts_pretrain_with_families_and_evaluate_their_fusion(
    run_host: Any, photo_folder: Path, tmp_path: Path
) -> None:
    """The seams at work: three runs of main_pretrain.py, their fusion, and main_linear.py on it."""
    paths = {f: _pretrain(run_host, photo_folder, tmp_path / f, f) for f in ("default", "ventral", "dorsal")}
    for family, path in paths.items():
        args: Mapping = json.loads((path.parent / "args.json").read_text())
        assert args["augmentations"][0]["family"] == family
        assert args["augmentations"][0]["crop_size"] == 32
        content = torch.load(path, weights_only=True)
        fingerprints = [state["families"] for state in content["callbacks"].values() if "families" in state]
        assert len(fingerprints) == 1
        assert fingerprints[0].startswith(f"2 x {family}@32")
    members = [load_backbone(BackboneConfig(checkpoint=str(path))) for path in paths.values()]
    assert [member.provenance.label for member in members] == list(paths)
    fused = tmp_path / "fused.ckpt"
    save_fused(fuse(members, concatenate, "concat"), fused)
    run_host(
        "main_linear.py",
        "--config-path=scripts/linear/imagenet-100",
        "--config-name=mocov2plus",
        "backbone.name=fusion",
        f"+backbone.kwargs.checkpoint={fused}",
        f"pretrained_feature_extractor={fused}",
        f"data.train_path={photo_folder / 'train'}",
        f"data.val_path={photo_folder / 'val'}",
        f"checkpoint.dir={tmp_path}",
        *_COMMON,
    )
    trained = torch.load(next((tmp_path / "linear").rglob("*.ckpt")), weights_only=True)["state_dict"]
    assert trained["classifier.weight"].shape == (6, 3 * 512)
    reference = torch.load(fused, weights_only=True)["state_dict"]
    for name, value in reference.items():
        assert torch.equal(trained[name], value), f"{name}: the frozen backbone is not the fused one"


@pytest.mark.host
def test_an_embedded_run_is_read_by_the_host(
    run_host: Any, photo_folder: Path, tmp_path: Path, host_checkpoint
) -> None:
    checkpoint = tmp_path / "resnet10.ckpt"
    checkpoint.write_bytes(host_checkpoint("ventral").read_bytes())
    run_host(
        "main_linear.py",
        "--config-path=scripts/linear/imagenet-100",
        "--config-name=mocov2plus",
        "backbone.name=resnet10",
        "+backbone.kwargs.width=0.125",
        f"pretrained_feature_extractor={checkpoint}",
        f"data.train_path={photo_folder / 'train'}",
        f"data.val_path={photo_folder / 'val'}",
        f"checkpoint.dir={tmp_path}",
        *_COMMON,
    )
    trained = torch.load(next((tmp_path / "linear").rglob("*.ckpt")), weights_only=True)["state_dict"]
    reference = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(trained["backbone.layer1.0.conv1.weight"], reference["backbone.layer1.0.conv1.weight"])


@pytest.mark.host
def test_a_backbone_of_the_hosts_own(solo_learn: Path) -> None:
    """Architectures that only solo-learn has are built by its own registry."""
    script = (
        "from solo_invariance.backbones import BackboneConfig, load_backbone\n"
        "kwargs = {'patch_size': 8, 'img_size': 32}\n"
        "backbone = load_backbone(BackboneConfig(name='random:vit_tiny', kwargs=kwargs, crop_size=32))\n"
        "print(backbone.num_features)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"SOLO_LEARN_DIR": str(solo_learn), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.strip() == "192", done.stderr
