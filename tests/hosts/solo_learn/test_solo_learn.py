import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_invariance import ShapeSettings, shape
from solo_invariance.backbones import Architecture, BackboneConfig, load_backbone
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.backbones.solo_learn import find_solo_learn
from solo_invariance.errors import UserError
from solo_invariance.fuse import concatenate, fit_fusion, fuse
from solo_invariance.hosts.script import run_script
from solo_invariance.hosts.solo_learn.registry import build_fusion, build_resnet

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


def _checkout(root: Path) -> Path:
    (root / "solo" / "methods").mkdir(parents=True)
    (root / "solo" / "methods" / "base.py").touch()
    (root / "main_pretrain.py").touch()
    (root / "setup.py").write_text('setup(\n    version="1.0.6",\n)\n')
    return root


@pytest.fixture
def not_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no solo-learn but the one that the current directory lies in."""
    monkeypatch.delenv("SOLO_LEARN_DIR", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.usefixtures("not_importable")
@pytest.mark.parametrize("inside", [".", "scripts/pretrain"])
def test_a_checkout_is_found_from_inside(inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = _checkout(tmp_path / "solo-learn")
    (checkout / inside).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(checkout / inside)
    found = find_solo_learn()
    assert found is not None
    assert (found.version, found.checkout) == ("1.0.6", checkout)
    monkeypatch.chdir(tmp_path)
    assert find_solo_learn() is None


@pytest.mark.usefixtures("not_importable")
@pytest.mark.parametrize("missing", ["main_pretrain.py", "solo/methods/base.py"])
def test_a_folder_that_only_looks_like_a_checkout_is_none(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_checkout(tmp_path) / missing).unlink()
    monkeypatch.chdir(tmp_path)
    assert find_solo_learn() is None


@pytest.mark.usefixtures("not_importable")
def test_a_strangers_checkout_above_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _checkout(tmp_path) / "mine"
    mine.mkdir()
    monkeypatch.chdir(mine)
    assert find_solo_learn() is not None
    stat = Path.stat

    def of_a_stranger(path: Path, **options: Any) -> Any:
        result = stat(path, **options)
        if path.name != "main_pretrain.py":
            return result
        return os.stat_result((*result[:4], 4242, *result[5:10]))

    monkeypatch.setattr(Path, "stat", of_a_stranger)
    assert find_solo_learn() is None


def test_the_fused_builder_refuses_other_weights(host_checkpoint, tmp_path: Path) -> None:
    paths = [host_checkpoint("default"), host_checkpoint("ventral", 1)]
    members = [load_backbone(BackboneConfig(checkpoint=str(path))) for path in paths]
    save_fused(fit_fusion(members, concatenate, "concat"), tmp_path / "fused.ckpt")
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


def test_a_stem_for_cifar_keeps_the_width() -> None:
    """solo-learn puts one of 64 planes on every ResNet, and takes the classifier and the pooling off."""
    wide = build_resnet("mocov2plus", depth=18, default_width=3)
    wide.fc, wide.maxpool = torch.nn.Identity(), torch.nn.Identity()
    wide.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    assert wide.inplanes == 3 * 512
    assert wide.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 3 * 512)
    ours = Architecture("resnet18w3", small_stem=True).build()
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in wide.state_dict().items()}


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"main_kn\.py: no such file"):
        run_script([str(tmp_path / "main_kn.py")])


@pytest.mark.parametrize("option", ["--pretrained_checkpoint_dir {}", "--pretrained_checkpoint_dir={}"])
def test_a_folder_of_several_checkpoints_is_refused(option: str, tmp_path: Path) -> None:
    script, folder = tmp_path / "main_knn.py", tmp_path / "checkpoints"
    script.write_text("raise NotImplementedError('ran')")
    folder.mkdir()
    for name in ("fused.ckpt", "ventral.ckpt", "args.json"):
        (folder / name).touch()
    options = option.format(folder).split(" ")
    with pytest.raises(UserError, match=r"checkpoints: holds 2 checkpoints \(fused\.ckpt, ventral\.ckpt\), of which"):
        run_script([str(script), "--k", "3", *options])


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
    solo_learn: Path, run_host: Any, photo_folder: Path, tmp_path: Path
) -> None:
    """The seams at work: three runs of main_pretrain.py, their fusion, and main_linear.py and main_knn.py on it."""
    paths = {f: _pretrain(run_host, photo_folder, tmp_path / f, f) for f in ("default", "ventral", "dorsal")}
    for family, path in paths.items():
        args: Mapping = json.loads((path.parent / "args.json").read_text())
        assert args["augmentations"][0]["family"] == family
        assert args["augmentations"][0]["crop_size"] == 32
        content = torch.load(path, weights_only=True)
        fingerprints = [state["families"] for state in content["callbacks"].values() if "families" in state]
        assert len(fingerprints) == 1
        assert fingerprints[0].startswith(f"2 x {family}@32")
    fused = tmp_path / "fused" / "fused.ckpt"
    names = [str(path) for path in paths.values()]
    made = fuse(names, "standardized", reference=photo_folder / "train", device="cpu", out=fused)
    assert [member.provenance.label for member in made.members] == list(paths)
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
    kept = torch.load(fused, weights_only=True)["state_dict"]
    for name, value in kept.items():
        assert torch.equal(trained[name], value), f"{name}: the frozen backbone is not the fused one"
    assert _nearest_neighbours(solo_learn, fused.parent, photo_folder) > 100 / 6


@pytest.mark.host
@pytest.mark.parametrize(("mode", "options"), [("dial", {"strength": 0.5}), ("orbit", {})])
def test_unmodified_scripts_evaluate_a_shaped_backbone(
    mode: str, options: dict[str, float], solo_learn: Path, run_host: Any, photo_folder: Path, tmp_path: Path
) -> None:
    path, shaped = _pretrain(run_host, photo_folder, tmp_path / "ventral", "ventral"), tmp_path / "shaped" / "s.ckpt"
    settings = ShapeSettings(k=2, options=options)
    made = shape(path, mode, ["h_flip"], reference=photo_folder, settings=settings, out=shaped, device="cpu").backbone
    run_host(
        "main_linear.py",
        "--config-path=scripts/linear/imagenet-100",
        "--config-name=mocov2plus",
        "backbone.name=fusion",
        f"+backbone.kwargs.checkpoint={shaped}",
        f"pretrained_feature_extractor={shaped}",
        f"data.train_path={photo_folder / 'train'}",
        f"data.val_path={photo_folder / 'val'}",
        f"checkpoint.dir={tmp_path}",
        *_COMMON,
    )
    trained = torch.load(next((tmp_path / "linear").rglob("*.ckpt")), weights_only=True)["state_dict"]
    assert trained["classifier.weight"].shape == (6, made.num_features)
    for name, value in torch.load(shaped, weights_only=True)["state_dict"].items():
        assert torch.equal(trained[name], value), f"{name}: the frozen backbone is not the shaped one"
    assert _nearest_neighbours(solo_learn, shaped.parent, photo_folder) > 100 / 6


def _nearest_neighbours(solo_learn: Path, checkpoint: Path, photos: Path) -> float:
    """Return the accuracy, in percent, that main_knn.py reports."""
    arguments = {
        "dataset": "custom",
        "train_data_path": photos / "train",
        "val_data_path": photos / "val",
        "pretrained_checkpoint_dir": checkpoint,
        "num_workers": 0,
        "k": 3,
        "temperature": 0.1,
        "distance_function": "cosine",
        "feature_type": "backbone",
    }
    options = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "solo_invariance.hosts.script", "main_knn.py", *options],
        cwd=solo_learn,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.search(r"acc@1=([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


@pytest.mark.host
def test_the_width_matched_control_trains_in_the_host(run_host: Any, photo_folder: Path, tmp_path: Path) -> None:
    path = _pretrain(run_host, photo_folder, tmp_path, "ventral", "backbone.name=resnet18w3")
    wide = load_backbone(BackboneConfig(checkpoint=str(path)))
    assert wide.num_features == 3 * 512
    assert wide.network.conv1.weight.shape == (192, 3, 7, 7)


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
