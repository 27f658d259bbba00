"""What pages name, in small; and shells in which their commands run as they are written."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from solo_invariance.backbones import Architecture

_EXAMPLES = Path(__file__).parents[2] / "examples"
_CLIENT = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    program = os.path.basename(sys.argv[0])
    request = json.dumps([os.getcwd(), dict(os.environ), program, sys.argv[1:]]).encode()
    socket.send_fds(server, [request], [0, 1, 2])
    sys.exit(int(server.recv(16) or 1))
"""
_RECORDER = """#!{python} -SE
import json, os, sys
with open({record!r}, "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""
_PROGRAMS = ("solo-invariance", "python", "pip", "git", "make", "torchrun", "mkdir", "cp")


class Ran(NamedTuple):
    """What a shell did."""

    code: int
    said: str


Shell = Callable[..., Ran]


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """A folder with ``solo-invariance`` and ``python``, which one process runs that has imported everything."""
    with tempfile.TemporaryDirectory(prefix="si") as folder:  # short: a socket's path has 107 bytes
        address = str(Path(folder) / "s")
        for example in _EXAMPLES.glob("third_party_*"):
            _install(example, Path(folder) / "site")
        paths = [str(Path(folder) / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).with_name("server.py")), address],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        for name in ("solo-invariance", "python"):
            _write_program(Path(folder) / name, _CLIENT.format(python=sys.executable, socket=address))
        yield Path(folder)
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.fixture
def run_in_bash(programs: Path, feature_cache: Path) -> Shell:
    """Run a script in bash, in a folder; each line must succeed."""

    def run(script: str, folder: Path) -> Ran:
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "COLUMNS": "120",
            "LANG": "C.UTF-8",
            "SOLO_INVARIANCE_CACHE": str(feature_cache),
        }
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return Ran(done.returncode, done.stdout)

    return run


@pytest.fixture
def arguments_in(tmp_path: Path) -> Callable[[str, str], list[list[str]]]:
    """What programs are given by a script in a shell, which runs none of them."""

    def read(shell: str, script: str) -> list[list[str]]:
        record = tmp_path / "record"
        record.write_text("")
        for name in _PROGRAMS:
            _write_program(tmp_path / name, _RECORDER.format(python=sys.executable, record=str(record)))
        options = ["-f"] if shell == "zsh" else ["--norc"]
        done = subprocess.run(
            [shutil.which(shell) or shell, *options, "-e", "-c", script],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/home/user"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{shell}: {done.stderr}"
        return [json.loads(line) for line in record.read_text().splitlines()]

    return read


def _install(example: Path, site: Path) -> None:
    """Put an example's modules and entry points into a folder, as pip would."""
    site.mkdir(exist_ok=True)
    for module in example.glob("*.py"):
        shutil.copy(module, site)
    text = (example / "pyproject.toml").read_text()
    (name,) = re.findall(r'^name = "(.+)"$', text, flags=re.MULTILINE)
    information = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    groups = re.findall(r'^\[project\.entry-points\."(.+)"\]\n((?:.+ = .+\n)+)', text, flags=re.MULTILINE)
    (information / "entry_points.txt").write_text(
        "".join(f"[{group}]\n{lines}" for group, lines in groups).replace('"', "")
    )


def _write_program(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o755)


@pytest.fixture(scope="session")
def _stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stand-ins")
    for number, family in enumerate(("default", "ventral", "dorsal")):
        _write_run(
            root / "trained_models" / "mocov2plus" / str(number), family, f"{family}-{number}-ep=999.ckpt", number
        )
    _write_photographs(root / "photos", 12, seed=0)
    sites = [f"{index:03}.jpg,{'ab'[index % 2]}" for index in range(12)]
    (root / "sites.csv").write_text("\n".join(["image,site", *sites]) + "\n")
    _write_photographs(root / "imagenet" / "val" / "n01440764", 80, seed=1)
    for part, count in (("train", 15), ("test", 14)):
        for seed, name in enumerate(("cats", "dogs", "horses")):
            _write_photographs(root / "pets" / part / name, count, seed=10 * seed + count)
    _write_x_rays(root / "chest_xray")
    _write_tiles(root / "eurosat")
    _write_cells(root / "cells")
    return root


@pytest.fixture
def stand_ins(_stand_ins: Path, tmp_path: Path) -> Path:
    """A folder with what pages name: checkpoints as solo-learn writes them, photographs, classes, and other images.

    ``trained_models``, ``photos``, ``imagenet/val``, ``pets``, ``chest_xray``, ``eurosat`` and ``cells``.
    """
    return Path(shutil.copytree(_stand_ins, tmp_path / "work"))


def _write_run(folder: Path, family: str, name: str, seed: int) -> None:
    """Write a tiny network as a run of solo-learn's writes its backbone, with the keys of args.json that are read."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = Architecture("resnet10", {"width": 0.125}).build()
    for key, value in network.named_parameters():
        if key.startswith("layer4") and key.endswith("bn2.bias"):
            torch.nn.init.ones_(value)  # so that no feature is constant, which protocol=paper refuses
    state = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": {**state, "projector.0.weight": torch.zeros(2, 2)}, "epoch": 999}, folder / name)
    arguments = {
        "name": family,
        "method": "mocov2plus",
        "backbone": {"name": "resnet10", "kwargs": {"width": 0.125}},
        "data": {"dataset": "cifar10"},
        "augmentations": [{"family": family, "crop_size": 32, "num_crops": 2}],
    }
    (folder / "args.json").write_text(json.dumps(arguments))


def _write_photographs(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for index in range(count):
        pixels = getattr(photographs, ("astronaut", "coffee", "chelsea", "rocket")[index % 4])()
        height, width = draw.integers(60, 90, 2)
        top, left = draw.integers(0, pixels.shape[0] - height), draw.integers(0, pixels.shape[1] - width)
        cut = Image.fromarray(pixels[top : top + height, left : left + width])
        cut.save(folder / f"{index:03}.jpg", quality=90)


def _write_x_rays(root: Path) -> None:
    """Write grey PNGs in ``train/NORMAL``, ``train/PNEUMONIA`` and ``test/...``; the ill ones have a bright spot."""
    draw = np.random.default_rng(2)
    for part, count in (("train", 10), ("test", 5)):
        for name in ("NORMAL", "PNEUMONIA"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(40, 90, (70, 80))
                if name == "PNEUMONIA":
                    top, left = draw.integers(10, 40, 2)
                    pixels[top : top + 20, left : left + 20] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"person{index}.png")


def _write_tiles(root: Path) -> None:
    """Write tiles of 64 px as ``CLASS/CLASS_N.jpg``, and a table of a number for each tile."""
    draw = np.random.default_rng(3)
    rows = ["tile,built_up"]
    for name, colour in (("Forest", (30, 90, 40)), ("Residential", (150, 140, 140)), ("River", (50, 80, 140))):
        (root / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.clip(np.array(colour) + draw.normal(0, 25, (64, 64, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{name}_{index}.jpg")
            rows.append(f"{name}/{name}_{index}.jpg,{pixels.mean() / 255 + draw.normal(0, 0.02):.4f}")
    (root / "built_up.csv").write_text("\n".join(rows) + "\n")


def _write_cells(root: Path) -> None:
    """Write 16-bit TIFFs of a camera with 12 bits, a table that splits them by plate, and fields in two exposures."""
    draw = np.random.default_rng(4)
    (root / "raw").mkdir(parents=True)
    rows = ["file,plate,split,treatment"]
    for index in range(32):
        plate, treatment = index // 8, ("control", "drug")[index % 2]
        pixels = draw.normal(300, 40, (64, 64))
        for _ in range(12 if treatment == "control" else 4):
            top, left = draw.integers(0, 56, 2)
            pixels[top : top + 8, left : left + 8] += 1800
        name = f"plate{plate}_well{index % 8}.tif"
        Image.fromarray(pixels.clip(0, 4095).astype(np.uint16)).save(root / "raw" / name)
        rows.append(f"{Path(name).stem}.png,{plate},{'test' if plate == 3 else 'train'},{treatment}")
    (root / "wells.csv").write_text("\n".join(rows) + "\n")
    plates = [row.split(",") for row in rows]
    (root / "plates.csv").write_text("".join(f"{name},{plate}\n" for name, plate, *_ in plates))
    for field in range(4):
        folder = root / "exposures" / f"field{field}"
        folder.mkdir(parents=True)
        scene = draw.normal(90, 30, (64, 64)).clip(0, 255)
        for exposure in (0.5, 1.0, 2.0):
            Image.fromarray((scene * exposure).clip(0, 255).astype(np.uint8)).save(folder / f"{exposure}.png")
