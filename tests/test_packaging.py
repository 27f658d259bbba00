"""What a wheel holds, and what an environment finds that has only the wheel."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

BEYOND_THE_PAPER = ("geometric", "photometric", "occlusion", "corruption", "strong_dorsal", "identity")
ROOT = Path(__file__).parents[1]
_IGNORED = shutil.ignore_patterns(".git", ".venv", "runs", "*.egg-info", "__pycache__", ".*_cache", "build", "dist")

_LOOK = """
import json
from importlib.metadata import entry_points
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
import solo_invariance
from solo_invariance.plugins import KINDS, discover

with initialize_config_module("solo_invariance.plugin_configs", version_base="1.3"):
    cfg = compose(overrides=["+augmentations=invariance/dorsal", "+data.dataset=cifar10"])
plugins = {kind: [plugin.name for plugin in discover(kind)] for kind in KINDS}
for kind in KINDS:
    for plugin in discover(kind):
        plugin.load()
print(json.dumps({
    "package": solo_invariance.__file__,
    "family": cfg.augmentations[0].family,
    "crop_size": cfg.augmentations[0].crop_size,
    "plugins": plugins,
    "hydra": [p.__name__ for p in Plugins.instance().discover(SearchPathPlugin)],
    "lightning": [e.value for e in entry_points(group="lightning.pytorch.callbacks_factory")],
}))
"""


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def _wheel(source: Path, work: Path) -> Path:
    """Build a wheel from a copy of a source tree, so that the tree stays as it is."""
    shutil.copytree(source, work / "source", ignore=_IGNORED)
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(work)]
    _pip(Path(sys.executable), "wheel", *options, str(work / "source"))
    return next(work.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with our wheel and the third party's family; the dependencies come from this environment."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    # A path in a .pth file adds the packages there, but not what their own .pth files would add: no editable install.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    examples = [
        str(_wheel(ROOT / "examples" / name, tmp_path_factory.mktemp(name)))
        for name in (
            "third_party_backbone",
            "third_party_family",
            "third_party_layout",
            "third_party_measure",
            "third_party_transfer",
        )
    ]
    options = ["--no-deps", "--no-index", "--force-reinstall"]
    _pip(home / "bin" / "python", "install", *options, str(wheel), *examples)
    return home


@pytest.fixture(autouse=True)
def _only_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out a PYTHONPATH that the tests were started with: the source tree would hide the wheel."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


def test_the_wheel_holds_the_configurations_the_templates_and_the_typing_marker(wheel: Path) -> None:
    import zipfile

    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "hydra_plugins/solo_invariance_plugin/__init__.py",
        "solo_invariance/config/measure.yaml",
        "solo_invariance/plugin_configs/augmentations/invariance/ventral.yaml",
        "solo_invariance/report/page.html.j2",
        "solo_invariance/py.typed",
    ):
        assert name in names
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/", "plugin_configs/")) for name in names)
    configs = {f"solo_invariance/{path.relative_to(ROOT)}" for path in (ROOT / "plugin_configs").rglob("*.yaml")}
    assert configs <= names, "a folder of configurations is missing from pyproject's packages or package-data"
    packages = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "solo_invariance").rglob("*.py")}
    assert packages <= {str(Path(name).parent) for name in names}, "a package is missing from pyproject's list"


def test_a_new_environment_finds_configurations_and_entry_points(environment: Path) -> None:
    done = subprocess.run(
        [environment / "bin" / "python", "-W", "ignore", "-c", _LOOK], capture_output=True, text=True, cwd=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert Path(found["package"]).is_relative_to(environment)
    assert (found["family"], found["crop_size"]) == ("dorsal", 32)
    assert found["hydra"] == ["SoloInvarianceSearchPath"]
    assert "solo_invariance.hosts.callbacks:callbacks_factory" in found["lightning"]
    assert set(found["plugins"]["families"]) == {"default", "ventral", "dorsal", *BEYOND_THE_PAPER, "sunset"}
    assert len(set(found["plugins"]["transforms"]) - {"vignette"}) == 18
    assert {"similarity", "distance", "length_ratio"} <= set(found["plugins"]["metrics"])
    assert {"concat", "sum", "mean", "standardized", "projected", "maximum"} <= set(found["plugins"]["fusions"])
    assert {"shape", "hue", "position", "rotation", "cifar10", "stripes"} <= set(found["plugins"]["tasks"])
    assert {"numbered_children", "transformers_vit", "studio"} <= set(found["plugins"]["layouts"])


def test_a_third_partys_family_trains_by_its_name(environment: Path) -> None:
    overrides = [
        "augmentations=invariance/family",
        "invariance.family=sunset",
        "backbone.kwargs.width=0.125",
        "data.num_images=16",
        "data.size=32",
        "invariance.crop_size=32",
        "optimizer.batch_size=8",
        "max_epochs=1",
        "accelerator=cpu",
        f"checkpoint.dir={environment / 'trained'}",
    ]
    done = subprocess.run(
        [environment / "bin" / "solo-invariance", "pretrain", *overrides],
        capture_output=True,
        text=True,
        cwd=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    args = json.loads(next((environment / "trained").rglob("args.json")).read_text())
    assert args["augmentations"][0]["family"] == "sunset"
    listed = subprocess.run([environment / "bin" / "solo-invariance", "families"], capture_output=True, text=True)
    assert "sunset-families" in listed.stdout


def test_a_third_partys_fusion_is_scored_on_its_task(environment: Path) -> None:
    script = """
import sys
from solo_invariance.cli import main
members = "members=[random:resnet10,random:resnet10]"
out = sys.argv[1]
fused = f"{out}/fused.ckpt"
assert main(["fuse", members, "mode=maximum", f"out={fused}"]) == 0
task = ["task.name=stripes", "task.num_train=30", "task.num_test=10", "task.size=32", "cache=false", "device=cpu"]
assert main(["transfer", f"backbone.checkpoint={fused}", *task, f"out={out}/out"]) == 0
"""
    python = [environment / "bin" / "python", "-W", "ignore", "-c", script, str(environment)]
    done = subprocess.run(python, capture_output=True, text=True, cwd=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((environment / "out" / "transfer.json").read_text())
    assert (result["task"], result["metric"], result["backbone"]["num_features"]) == ("stripes", "r2", 512)


def test_a_third_partys_backbone_is_measured_by_its_name(environment: Path) -> None:
    script = """
import sys, torch
from solo_invariance.backbones import load_backbone, random_init_of
from solo_invariance.cli import main
out = sys.argv[1]
edges = load_backbone("edges", kwargs={"directions": 4})
# Stripes across are seen by the filters of one direction and its opposite, and by the others as little as none.
stripes = (torch.arange(64) // 4 % 2).float().expand(1, 3, 64, 64)
fine = edges(stripes)[0, :4]
assert fine[0] > 20 * fine[1] and fine[2] > 20 * fine[3], fine
assert edges.input_spec.crop_size == 64
assert not torch.allclose(random_init_of(edges, 0)(stripes), edges(stripes))
assert main(["fuse", "members=[edges,random:resnet10]", f"out={out}/edges.ckpt"]) == 0
data = ["data.name=latent_scenes", "data.num_images=20", "num_images=4", "k=4", "transforms=[rotation]"]
file = f"backbone.checkpoint={out}/edges.ckpt"
assert main(["measure", "backbone.name=edges", "twin=true", *data, f"out={out}/edges"]) == 0
try:
    main(["measure", file, *data, f"out={out}/refused"])
except SystemExit as stopped:
    assert stopped.code == 2
assert main(["measure", file, "backbone.trust=true", *data, f"out={out}/fused"]) == 0
"""
    python = [environment / "bin" / "python", "-W", "ignore", "-c", script, str(environment)]
    done = subprocess.run(python, capture_output=True, text=True, cwd=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "would run the backbones plugin 'edges' of edge-backbones 0.1.0" in done.stderr
    result = json.loads((environment / "edges" / "invariance.json").read_text())
    assert (result["backbone"]["name"], result["backbone"]["num_features"]) == ("edges", 32)


def test_this_environment_finds_them_too() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _LOOK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["family"] == "dorsal"
