"""The README's commands are the software's."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from solo_invariance.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
_BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
_LINES = [line.split("    #")[0].strip() for block in _BLOCKS for line in block.splitlines() if line.strip()]
_OURS = [line for line in _LINES if line.startswith("solo-invariance ")]
_HOSTS = [line for line in _LINES if line.startswith("python main_")]


def test_every_command_of_ours_is_shown() -> None:
    assert {line.split()[1] for line in _OURS} >= set(COMMANDS) - {"demo"}


@pytest.mark.parametrize("line", _OURS)
def test_our_commands_compose(line: str, tmp_path: Path, monkeypatch, capsys) -> None:
    from solo_invariance.cli import main
    from solo_invariance.config.composed import schema_of
    from solo_invariance.config.overrides import name_section

    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(line)[1:]
    assert main([*arguments, "--cfg", "job"]) == 0
    out = capsys.readouterr().out
    for override in arguments[1:]:
        key, value = override.split("=", 1)
        key = name_section(key, value, schema_of(arguments[0]))
        if "/" not in value and "[" not in value and not key.startswith("+"):
            assert f"{key.split('.')[-1]}: {value}" in out


@pytest.mark.parametrize("line", [line for line in _LINES if line.startswith("make ")])
def test_make_knows_its_targets(line: str) -> None:
    assert f"\n{line.split()[1]}:" in (ROOT / "Makefile").read_text()


def test_every_other_line_is_a_hosts_command_or_an_installation() -> None:
    rest = [line for line in _LINES if line not in _OURS and line not in _HOSTS and not line.startswith("make ")]
    assert all(
        line.startswith(("pip install", "python -m solo_invariance.hosts.script main_knn.py")) for line in rest
    ), rest


@pytest.mark.host
@pytest.mark.parametrize("line", _HOSTS)
def test_the_hosts_commands_compose_in_a_checkout(line: str, solo_learn: Path) -> None:
    import subprocess
    import sys

    arguments = [sys.executable, "-W", "ignore", *shlex.split(line)[1:], "--cfg", "job"]
    done = subprocess.run(arguments, cwd=solo_learn, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("family: " in done.stdout) == ("main_pretrain" in line)
    assert ("reference_images: 512" in done.stdout) == ("+invariance=monitor" in line)


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


_ADDED = [
    cell.replace("`", "").split()
    for row in re.findall(r"^\| (?:choose|compose|change|give|do as|add) [^|]*\|(.*)\|$", README, flags=re.MULTILINE)
    for cell in re.findall(r"`[^`]+`", row)
]


def test_what_the_readme_adds_to_runs_is_found() -> None:
    assert len(_ADDED) >= 9


@pytest.mark.usefixtures("in_solo_learn")
@pytest.mark.parametrize("added", _ADDED, ids=" ".join)
def test_what_is_added_to_runs_makes_a_pipeline(added: list[str], tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir

    from solo_invariance.hosts.augmentations import crop_pipeline_from_config

    (tmp_path / "run.yaml").write_text("data: {dataset: imagenet, format: image_folder}\n")
    chosen = [] if any(part.startswith("augmentations=") for part in added) else ["augmentations=invariance/multicrop"]
    if any("operations" in part for part in added):
        chosen = ["augmentations=invariance/byol" if "solarize" in added[0] else "augmentations=invariance/dorsal"]
    overrides = [f"+{part}" if part.startswith("augmentations=") else part for part in (*chosen, *added)]
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        cfg = compose("run", overrides)
    pipeline, _ = crop_pipeline_from_config(cfg)
    assert pipeline.entries


def test_the_configuration_that_is_written_out_is_one() -> None:
    from solo_invariance.families.from_config import family_from_config

    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    chosen = yaml.safe_load(block)["invariance"]["family"]
    assert [operation.name for operation in family_from_config(chosen).operations] == [
        "rotation",
        "color_jitter",
        "grayscale",
    ]


def test_the_families_table_is_the_families() -> None:
    from solo_invariance.plugins import discover

    named = re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)
    assert set(named) == {plugin.name for plugin in discover("families") if "solo-invariance" in plugin.distribution}


def test_the_python_blocks_run() -> None:
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "family.draw" in b)
    names: dict[str, object] = {}
    exec(block, names)
    assert tuple(names["views"].shape) == (8, 3, 224, 224)  # type: ignore[attr-defined]


def test_the_python_block_on_measuring_runs(host_checkpoint, photo_folder: Path, tmp_path: Path, monkeypatch) -> None:
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "InvarianceMeasurement" in b)
    host_checkpoint("ventral").parent.rename(tmp_path / "run")
    (tmp_path / "run" / "ventral-0-ep=1.ckpt").rename(tmp_path / "run" / "ventral.ckpt")
    monkeypatch.chdir(tmp_path / "run")
    names: dict[str, Any] = {}
    exec(block.replace('"photos"', f'"{photo_folder}"').replace("=100)", "=4)"), names)
    for name in ("rotation", "hue"):
        similarity = names["result"].transforms[name].similarity
        assert names["measured"][name].summary["similarity"] == similarity.as_content()


def test_the_python_block_on_fusing_runs(host_checkpoint, photo_folder: Path, tmp_path: Path, monkeypatch) -> None:
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "import fuse" in b)
    for index, family in enumerate(("ventral", "dorsal")):
        checkpoint = host_checkpoint(family, index)
        monkeypatch.chdir(checkpoint.parent)
        block = block.replace(f'"{family}.ckpt"', repr(str(checkpoint)))
    names: dict[str, Any] = {"images": torch.rand(2, 3, 40, 50)}
    exec(block.replace('"photos"', f'"{photo_folder}"'), names)
    assert names["features"].shape == (2, 128)
    assert Path("fused.ckpt").is_file()


def test_the_python_block_on_probes_runs() -> None:
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "RidgeProbe" in b)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["probe"].penalty_ > 0  # type: ignore[attr-defined]


def test_the_tasks_that_are_named_are_there() -> None:
    from solo_invariance.plugins import discover

    section = README[README.index("| task | targets |") : README.index("Features are frozen")]
    named = set(re.findall(r"`(\w+)`", section))
    known = {plugin.name for plugin in discover("tasks") if "solo-invariance" in plugin.distribution}
    assert named <= known
    assert {name for name in known if not name.startswith("causal3dident_")} <= named


def test_the_python_block_on_transfer_runs() -> None:
    (block,) = (
        b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "import Backbone, transfer" in b
    )
    names: dict[str, object] = {}
    exec(block, names)
    assert names["result"].score.low > 0.5  # type: ignore[attr-defined]
