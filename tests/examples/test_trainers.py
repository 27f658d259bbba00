"""The examples of other people's training loops, run with the real packages; what they write is measured."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

ROOT = Path(__file__).parents[2]
# stable-pretraining adds callbacks to every Trainer of the environment that it is in, and has one above this.
TRAINERS = Path(sys.prefix) / "trainers" / "bin" / "python"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Square cut-outs of photographs, in a folder for each."""
    draw = np.random.default_rng(0)
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        pixels = getattr(photographs, name)()[..., :3]
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(6):
            side = draw.integers(60, 100)
            top, left = draw.integers(0, pixels.shape[0] - side), draw.integers(0, pixels.shape[1] - side)
            cut = Image.fromarray(pixels[top : top + side, left : left + side])
            cut.save(tmp_path / "photos" / name / f"{index}.jpg", quality=90)
    return tmp_path / "photos"


def _logged(out: Path, said: str) -> float:
    """The last similarity under hue of a run's own log."""
    (file,) = out.rglob("metrics.csv")
    rows = [row for row in csv.DictReader(file.read_text().splitlines()) if row["invariance/hue/similarity"]]
    assert rows[-1]["step"] == "3"  # the fourth
    return float(rows[-1]["invariance/hue/similarity"])


def _printed(out: Path, said: str) -> float:
    losses = re.findall(r"^step \d+: loss (.+)$", said, flags=re.MULTILINE)
    assert len(losses) == 4
    (number,) = re.findall(r"^hue: similarity (.+)$", said, flags=re.MULTILINE)
    return float(number)


def _python(example: str) -> Path:
    if example == "stable_pretraining" and not TRAINERS.is_file():
        pytest.skip(f"stable-pretraining: there is no {TRAINERS}; `make test` makes that environment")
    if example == "lightly" and find_spec("lightly") is None:
        pytest.skip("lightly is not installed")
    return TRAINERS if example == "stable_pretraining" else Path(sys.executable)


@pytest.mark.parametrize(
    ("example", "checkpoint", "watched"),
    [
        ("lightly", "simclr.ckpt", _logged),
        ("stable_pretraining", "simclr.ckpt", _logged),
        ("plain_pytorch", "simclr.pth", _printed),
    ],
)
def test_an_example_trains_and_its_checkpoint_is_measured(
    example: str, checkpoint: str, watched: Callable[[Path, str], float], photos: Path, tmp_path: Path, cli: Any
) -> None:
    arguments = ["photos", "--crop-size", "32", "--batch-size", "12", "--steps", "4", "--out", "out"]
    done = subprocess.run(
        [str(_python(example)), "-W", "ignore", str(ROOT / "examples" / example / "simclr.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    seen = watched(tmp_path / "out", done.stdout)
    code, _, said = cli(
        "measure",
        f"backbone.checkpoint={tmp_path / 'out' / checkpoint}",
        "backbone.name=resnet18",
        "backbone.crop_size=32",
        f"data.path={photos}",
        "transforms=[hue]",
        "k=8",
        f"out={tmp_path / 'measured'}",
        "device=cpu",
    )
    assert code == 0, said
    result = json.loads((tmp_path / "measured" / "invariance.json").read_text())
    assert result["num_images"] == 24
    # Of the same weights, on the same images: to the last digit that is written.
    assert result["transforms"]["hue"]["similarity"]["mean"] == pytest.approx(seen, abs=6e-4)
