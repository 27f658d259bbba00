"""More than a hundred wrong inputs, as people type them, and the one line that each of them gets."""

import shlex
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from skimage import data as photographs
from skimage.io import imsave
from skimage.transform import resize

from solo_invariance.cli import main

LISTED = [
    line.split(" => ", 1)
    for line in Path(__file__).with_name("wrong_inputs.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, checkpoints and results, whole and broken."""
    folder = tmp_path_factory.mktemp("typed")
    photograph = (resize(photographs.astronaut(), (48, 64)) * 255).astype("uint8")
    for name, count in (("photos", 8), ("broken", 3)):
        for number in range(count):
            file = folder / name / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            imsave(file, photograph + number, check_contrast=False)
    imsave(folder / "whole.jpg", photograph, check_contrast=False)
    picture = (folder / "whole.jpg").read_bytes()
    (folder / "broken" / "cut.jpg").write_bytes(picture[: len(picture) // 2])
    (folder / "whole.jpg").unlink()
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("things to do\n")
    (folder / "notes.ckpt").write_text("things to do\n")
    torch.save(torchvision.models.resnet18().state_dict(), folder / "plain.pth")
    weights = (folder / "plain.pth").read_bytes()
    (folder / "cut.pth").write_bytes(weights[: len(weights) // 2])
    measured = [
        "measure",
        "backbone.name=random:resnet18",
        f"data.path={folder / 'photos'}",
        "transforms=[h_flip]",
        "crop_size=32",
        f"out={folder / 'measured'}",
    ]
    assert main(measured) == 0
    return folder


def test_there_are_a_hundred() -> None:
    assert len({typed for typed, _ in LISTED}) >= 100


@pytest.mark.parametrize(("typed", "said"), LISTED, ids=[typed for typed, _ in LISTED])
def test_one_line_says_what_is_wrong(typed: str, said: str, there: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    monkeypatch.chdir(there)
    code, out, err = cli(*shlex.split(typed))
    lines = [line for line in err.splitlines() if line.strip()]
    assert code == 2
    assert len(lines) == 1, err
    assert lines[0].startswith("solo-invariance: error: ")
    assert said in lines[0]
    assert "Traceback" not in out + err
    left = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    for new in set(left) - set(before):
        shutil.rmtree(new) if new.is_dir() else new.unlink(missing_ok=True)
    assert left == before, "something was written"
