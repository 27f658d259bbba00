"""What the installed package does to other Hydra applications: nothing. Each process composes many of them."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import create_config_search_path

from solo_invariance.cli import COMMANDS

NAMES = sorted({*COMMANDS, "study", "advise", "shape", "export"})

_APPLICATIONS = """
import contextlib, io, json, sys, types, warnings
from pathlib import Path

names, modes, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
warnings.simplefilter("ignore")
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
if modes["hide"]:
    from hydra_plugins.solo_invariance_plugin import SoloInvarianceSearchPath
    SoloInvarianceSearchPath.manipulate_search_path = lambda self, search_path: None
if modes["host"]:
    sys.modules["solo.methods.base"] = types.SimpleNamespace(BaseMethod=types.SimpleNamespace(_BACKBONES={}))

store = ConfigStore.instance()
for name in names:
    store.store(name=name, node={"lr": 0.1, "of": name})
store.store(name="keys", node={"augmentations": True, "invariance": "rotation"})
store.store(name="monitored", node={"defaults": ["_self_", {"invariance": "monitor"}], "x": 1})

def composed(name, overrides=(), directory=None, version="1.3"):
    start = hydra.initialize_config_dir(str(directory), version_base=version) if directory else hydra.initialize(
        config_path=None, version_base=version)
    with start:
        try:
            return OmegaConf.to_container(hydra.compose(name, list(overrides)))
        except Exception as error:  # what it refuses, and how, is compared as well
            return f"{type(error).__name__}: {error}"

seen = {}
for name in names:
    seen[f"primary {name}"] = composed(name, ["lr=0.2"])
    seen[f"primary {name} 1.1"] = composed(name, ["lr=0.2"], version="1.1")
    seen[f"no {name}"] = composed("keys", [f"+{name}=1"])

if not modes["host"]:
    for override in ("augmentations=false", "augmentations=[flip]", "augmentations=null", "augmentations=strongest",
                     "invariance=scale", "invariance=0.5", "+augmentation=1", "~invariance", "invariance=monitor",
                     "+invariance@here=monitor"):
        seen[f"keys {override}"] = composed("keys", [override])

store.store(name="groups", node={"defaults": ["_self_", {"augmentations": "strong"}, {"colours": "invariance"}]})
store.store(group="augmentations", name="strong", node={"flip": 0.5})
store.store(group="augmentations", name="weak", node={"flip": 0.1})
store.store(group="colours", name="invariance", node={"hue": 1})
directory = out / "directory"
(directory / "augmentations" / "invariance").mkdir(parents=True)
(directory / "invariance").mkdir()
for name, text in {
    "primary": "defaults: [_self_, augmentations: invariance/ventral, invariance: monitor]",
    "augmentations/invariance/ventral": "mine: ventral",
    "invariance/monitor": "mine: monitor",
    "invariance/other": "mine: other",
}.items():
    (directory / f"{name}.yaml").write_text(text)
seen["directory"] = composed("primary", directory=directory)
seen["directory other"] = composed("primary", ["invariance=other"], directory=directory)
seen["groups"] = composed("groups")
seen["groups weak"] = composed("groups", ["augmentations=weak", "augmentations.flip=0.2"])

if not modes["host"]:
    seen["groups wrong"] = composed("groups", ["augmentations=invariance/ventral"])
    store.store(group="invariance", name="monitor", node={"mine": "stored"})
    seen["monitored"] = composed("monitored")
    seen["keys invariance"] = composed("keys", ["+invariance@here=monitor"])

    @hydra.main(version_base="1.3", config_path=None, config_name="groups")
    def application(cfg):
        print(OmegaConf.to_yaml(cfg))

    for flags in (["--help"], ["--info", "searchpath"], ["--info", "defaults-tree"], ["--cfg", "job"], []):
        sys.argv = ["application", "hydra.run.dir=.", "hydra.output_subdir=null", *flags]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            application()
        seen[" ".join(["application", *flags])] = printed.getvalue()
        GlobalHydra.instance().clear()
print(json.dumps(seen))
"""


def _applications(folder: Path, **modes: bool) -> dict[str, Any]:
    folder.mkdir()
    settings = json.dumps({"hide": False, "host": False, **modes})
    done = subprocess.run(
        [sys.executable, "-c", _APPLICATIONS, json.dumps(NAMES), settings, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_other_applications_compose_print_and_refuse_as_without_us(tmp_path: Path) -> None:
    without = _applications(tmp_path / "without", hide=True)
    installed = _applications(tmp_path / "installed")
    for what, expected in without.items():
        assert installed[what] == expected, what
    # And they do what they are for, so that two processes are not equal for failing equally.
    for name in NAMES:
        assert installed[f"primary {name}"] == installed[f"primary {name} 1.1"] == {"lr": 0.2, "of": name}
    assert installed["keys augmentations=false"] == {"augmentations": False, "invariance": "rotation"}
    assert installed["groups weak"] == {"augmentations": {"flip": 0.2}, "colours": {"hue": 1}}
    assert installed["directory"] == {
        "augmentations": {"mine": "ventral"},
        "invariance": {"mine": "monitor"},
    }
    assert installed["monitored"] == {"x": 1, "invariance": {"mine": "stored"}}
    assert "augmentations: strong, weak" in installed["application --help"]
    assert "pkg://hydra.conf" in installed["application --info searchpath"]
    assert "solo" not in installed["application --info searchpath"]


def test_where_solo_learn_runs_the_applications_own_come_first(tmp_path: Path) -> None:
    seen = _applications(tmp_path / "host", host=True)
    for name in NAMES:
        assert seen[f"primary {name}"] == seen[f"primary {name} 1.1"] == {"lr": 0.2, "of": name}
        assert seen[f"no {name}"] == {"augmentations": True, "invariance": "rotation", name: 1}
    assert seen["groups weak"] == {"augmentations": {"flip": 0.2}, "colours": {"hue": 1}}
    assert seen["directory"]["augmentations"] == {"mine": "ventral"}
    assert seen["directory"]["invariance"] == {"mine": "monitor"}
    assert seen["directory other"]["invariance"] == {"mine": "other"}


def test_what_we_put_on_a_path_lies_in_two_groups() -> None:
    root = resources.files("solo_invariance.plugin_configs")

    def files(folder: Any, path: str = "") -> list[str]:
        names = []
        for item in folder.iterdir():
            inner = f"{path}{item.name}"
            names += files(item, f"{inner}/") if item.is_dir() else [inner]
        return names

    ours = {name for name in files(root) if not name.endswith((".py", ".pyc"))}
    assert len(ours) > 10
    assert {name.rpartition("/")[0] for name in ours} == {"augmentations/invariance", "invariance"}
    assert {name for name in ours if name.startswith("invariance/")} == {
        "invariance/monitor.yaml",
        "invariance/transfer.yaml",
    }
    assert all(name.endswith(".yaml") for name in ours)


def _ours_on(main: str | None) -> bool:
    path = create_config_search_path(main).get_path()
    ours = [index for index, one in enumerate(path) if one.provider == "solo-invariance"]
    assert all(index == len(path) - 2 for index in ours), "before the ConfigStore, after everybody else"
    return bool(ours)


def test_solo_learn_and_our_own_commands_have_them(monkeypatch: pytest.MonkeyPatch, in_solo_learn: Any) -> None:
    assert _ours_on("file:///somewhere")
    assert {"fusion", "resnet10"} <= in_solo_learn.keys()
    monkeypatch.delitem(sys.modules, "solo.methods.base")
    monkeypatch.delitem(sys.modules, "solo_invariance.commands.pretrain", raising=False)
    assert not _ours_on("file:///somewhere")
    assert not _ours_on(None)
    assert _ours_on("pkg://solo_invariance.config")
    # The embedded host with a primary config of the user's own.
    monkeypatch.setitem(sys.modules, "solo_invariance.commands.pretrain", sys)
    assert _ours_on("file:///somewhere")


_APPLICATION = """
import hydra
from omegaconf import OmegaConf

@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(cfg):
    print(OmegaConf.select(cfg, "augmentations.0.family"), OmegaConf.select(cfg, "invariance.monitor.every"))

main()
"""


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["+augmentations=invariance/dorsal", "+invariance=monitor", "+data.dataset=cifar10"], "dorsal 5"),
        (["+augmentations=invariance/ventral", "+data.dataset=cifar10"], "ventral None"),
        (["+augmentations=false", "+invariance=high"], "None None"),
    ],
)
def test_a_command_line_that_names_one_of_ours_has_them(arguments: list[str], printed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _APPLICATION, *arguments, "hydra.run.dir=."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == printed


def test_an_application_of_anybodys_may_ask_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "solo_invariance.commands.pretrain", raising=False)
    searchpath = "hydra: {searchpath: [pkg://solo_invariance.plugin_configs]}\n"
    (tmp_path / "run.yaml").write_text(f"{searchpath}data: {{dataset: cifar10}}\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        cfg = compose("run", ["+augmentations=invariance/dorsal", "+invariance=monitor"])
    assert (cfg.augmentations[0].family, cfg.augmentations[0].crop_size, cfg.invariance.monitor.every) == (
        "dorsal",
        32,
        5,
    )
