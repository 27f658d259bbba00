"""The recipes of examples/solo_learn are real runs, and their README's commands are right."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from solo_invariance.backbones import load_backbone
from solo_invariance.hosts.augmentations import crop_pipeline_from_config

RECIPES = Path(__file__).parents[3] / "examples" / "solo_learn"
_FILES = sorted(RECIPES.glob("*/*.yaml"))
_LINES = re.findall(r"^python main_pretrain\.py .*$", (RECIPES / "README.md").read_text(), flags=re.MULTILINE)
_CROPS = {
    "cifar/mocov2plus_ventral": "2 x ventral@32",
    "cifar/simclr_ventral_photometric": "2 x ventral+photometric@32",
    "cifar/byol_two_views": "1 x first@32; 1 x second@32",
    "cifar/dino_multicrop": "2 x default@32; 6 x default@18",
    "cifar/swav_multicrop": "2 x ventral@32; 6 x ventral@18",
    "imagenet/mocov2plus_paper": "2 x default@224",
    "imagenet-100/mocov2plus_ventral": "2 x ventral@224",
    "imagenet-100/simclr_ventral_photometric": "2 x ventral+photometric@224",
    "imagenet-100/byol_two_views": "1 x byol_first@224; 1 x byol_second@224",
    "imagenet-100/byol_multicrop": "2 x default@224; 6 x default@96",
    "imagenet-100/dino_multicrop": "2 x default@224; 6 x default@96",
}


def _key(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def _crops(fingerprint: str) -> str:
    """Return a fingerprint without its hashes."""
    return re.sub(r" \[\w+\]", "", fingerprint)


def _compose(directory: str, name: str, *overrides: str) -> DictConfig:
    """Compose as main_pretrain.py does; the working directory must be the checkout."""
    with initialize_config_dir(directory, version_base="1.2"):
        return compose(name, overrides=list(overrides))


@pytest.mark.parametrize("file", _FILES, ids=_key)
def test_the_readme_has_every_recipe(file: Path) -> None:
    rows = [line for line in (RECIPES / "README.md").read_text().splitlines() if line.startswith("|")]
    assert sum(f"]({_key(file)}.yaml)" in row for row in rows) == 1


@pytest.mark.host
@pytest.mark.usefixtures("in_solo_learn")
@pytest.mark.parametrize("file", _FILES, ids=_key)
def test_a_recipe_only_changes_what_it_says(file: Path, solo_learn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(solo_learn)
    cfg: Any = _compose(str(file.parent), file.stem)
    written = yaml.safe_load(file.read_text())
    scripts = solo_learn / written["hydra"]["searchpath"][0].removeprefix("file://")
    theirs: Any = _compose(str(scripts), written["defaults"][0])
    assert _crops(crop_pipeline_from_config(cfg)[0].fingerprint()) == _CROPS[_key(file)]
    if _key(file) == "imagenet/mocov2plus_paper":
        _assert_papers_numbers(cfg)
        return
    assert {key for key in cfg if cfg[key] != theirs.get(key)} <= {"name", "augmentations", "data", "invariance"}
    changed = {key for key in cfg.data if cfg.data[key] != theirs.data[key]}
    assert changed <= ({"val_path"} if "cifar" in file.parent.name else {"format"})


def _assert_papers_numbers(cfg: Any) -> None:
    kwargs, optimizer, schedule = cfg.method_kwargs, cfg.optimizer, cfg.scheduler
    assert (kwargs.proj_hidden_dim, kwargs.proj_output_dim, kwargs.queue_size) == (2048, 128, 65536)
    assert (kwargs.temperature, cfg.momentum.base_tau, cfg.momentum.final_tau) == (0.2, 0.999, 0.999)
    assert optimizer.batch_size * len(cfg.devices) == 256
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("sgd", 0.03, 1e-4)
    assert (cfg.max_epochs, schedule.warmup_epochs, schedule.interval) == (200, 0, "epoch")


@pytest.mark.host
def test_no_two_recipes_share_a_name(solo_learn: Path) -> None:
    """Solo-learn's auto-resume takes runs of one name, its own recipes' too, for the same run."""
    ours = [yaml.safe_load(file.read_text())["name"] for file in _FILES]
    theirs = {
        yaml.safe_load(file.read_text())["name"] for file in (solo_learn / "scripts" / "pretrain").glob("*/*.yaml")
    }
    assert len({*ours, *theirs}) == len(ours) + len(theirs)


@pytest.mark.host
@pytest.mark.parametrize("file", _FILES, ids=_key)
def test_a_recipe_runs(file: Path, solo_learn: Path, photo_folder: Path, tmp_path: Path, run_host: Any) -> None:
    before = {path.name for path in solo_learn.iterdir()}
    run_host(
        "main_pretrain.py",
        f"--config-path={file.parent}",
        f"--config-name={file.stem}",
        "data.dataset=custom",
        f"data.train_path={photo_folder / 'train'}",
        "data.val_path=null",
        "+invariance.crop_size=32",
        *(["+invariance.small_crop_size=18"] if "multicrop" in file.stem else []),
        "method_kwargs.proj_hidden_dim=32",
        "method_kwargs.proj_output_dim=16",
        "++method_kwargs.queue_size=64",
        "++method_kwargs.warmup_teacher_temperature_epochs=0",  # of DINO, and more epochs than these runs have
        "max_epochs=1",
        "+limit_train_batches=2",
        f"checkpoint.dir={tmp_path}",
    )
    assert {path.name for path in solo_learn.iterdir()} == before
    checkpoint = next(tmp_path.rglob("*.ckpt"))
    content = torch.load(checkpoint, weights_only=True)
    assert content["global_step"] == 2
    (fingerprint,) = (state["families"] for state in content["callbacks"].values() if "families" in state)
    assert _crops(fingerprint) == _CROPS[_key(file)].replace("@224", "@32").replace("@96", "@18")
    args = json.loads((checkpoint.parent / "args.json").read_text())
    assert args["name"] == yaml.safe_load(file.read_text())["name"]
    assert [entry["num_crops"] for entry in args["augmentations"]] == [
        int(n) for n in re.findall(r"(\d) x", fingerprint)
    ]


@pytest.mark.host
@pytest.mark.filterwarnings("ignore")  # solo-learn imports timm by older names
@pytest.mark.parametrize("any_size", [False, True])
def test_a_vision_transformer_with_small_crops(
    solo_learn: Path, photo_folder: Path, tmp_path: Path, run_host: Any, any_size: bool
) -> None:
    """solo-learn builds them for images of one size, unless timm is told otherwise (solo-learn, issue 154)."""
    done = run_host(
        "main_pretrain.py",
        f"--config-path={RECIPES / 'cifar'}",
        "--config-name=dino_multicrop",
        "data.dataset=custom",
        f"data.train_path={photo_folder / 'train'}",
        "data.val_path=null",
        "+invariance.crop_size=32",
        "+invariance.small_crop_size=16",
        "backbone.name=vit_tiny",
        "+backbone.kwargs.img_size=32",
        *(["+backbone.kwargs.dynamic_img_size=True"] if any_size else []),
        "method_kwargs.proj_hidden_dim=32",
        "method_kwargs.proj_output_dim=16",
        "++method_kwargs.warmup_teacher_temperature_epochs=0",
        "max_epochs=1",
        "+limit_train_batches=2",
        f"checkpoint.dir={tmp_path}",
        fails=not any_size,
    )
    if not any_size:
        assert "Input height (16) doesn't match model (32)" in done.stderr
        return
    checkpoint = next(tmp_path.rglob("*.ckpt"))
    features = [load_backbone(checkpoint, crop_size=size, pool="both") for size in (32, 16)]
    assert [backbone.num_features for backbone in features] == [2 * 192] * 2


def test_the_readme_has_commands() -> None:
    assert len(_LINES) >= 5


@pytest.mark.host
@pytest.mark.usefixtures("in_solo_learn")
@pytest.mark.parametrize("line", _LINES)
def test_the_readmes_commands_compose(line: str, solo_learn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = shlex.split(line)
    directory = arguments[arguments.index("--config-path") + 1].replace("$RECIPES", str(RECIPES))
    name = arguments[arguments.index("--config-name") + 1]
    overrides = arguments[6:]
    monkeypatch.chdir(solo_learn)
    cfg: Any = _compose(directory, name, *overrides)
    assert crop_pipeline_from_config(cfg)[0].entries
