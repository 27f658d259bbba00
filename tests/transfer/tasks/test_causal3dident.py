from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from solo_invariance.errors import UserError
from solo_invariance.plugins import load_plugin
from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.causal3dident import all_latents

COUNT = 11
_SIGNALLING = np.array(0x7FF4000000000000, dtype=np.uint64).view(np.float64)  # a NaN of which NumPy warns


@pytest.fixture
def root(tmp_path: Path, grey: Callable[[Path, int], None]) -> Path:
    """Three classes; the first latent of an image is its grey value, the others that and a hundred more for each."""
    for part, first in (("trainset", 0), ("testset", 100)):
        for index in range(3):
            values = first + 33 * index + np.arange(COUNT)
            for number, value in enumerate(values):
                # Names without leading zeros, of which 10 is sorted before 2 as a word.
                grey(tmp_path / part / f"images_{index}" / f"{number}.png", int(value))
            np.save(tmp_path / part / f"latents_{index}.npy", values[:, None] + 100.0 * np.arange(10))
    return tmp_path


def test_latents_are_those_of_their_images(root: Path) -> None:
    for split in all_latents.load(TaskSettings(path=str(root))):
        assert split.targets.shape == (33, 10)
        values = [float(split.images[row].float().mean()) for row in range(33)]  # type: ignore[union-attr]
        assert split.targets.tolist() == [[value + 100 * latent for latent in range(10)] for value in values]
    assert all_latents.probe == "kernel_ridge"


@pytest.mark.parametrize(("name", "column"), [("position_x", 0), ("rotation_psi", 5), ("object_hue", 7)])
def test_one_latent_by_its_name(root: Path, name: str, column: int) -> None:
    settings = TaskSettings(path=str(root), num_train=7, num_test=5)
    train, test = load_plugin("tasks", f"causal3dident_{name}").load(settings)
    every = all_latents.load(settings)
    assert train.targets.tolist() == every[0].targets[:, [column]].tolist()
    assert test.targets.tolist() == every[1].targets[:, [column]].tolist()
    assert train.targets.shape == (7, 1)


def test_raw_latents_are_read_where_there_are_no_others(root: Path) -> None:
    expected, _ = all_latents.load(TaskSettings(path=str(root)))
    for path in [*root.glob("*/latents_*.npy")]:
        path.rename(path.with_name(f"raw_{path.name}"))
    train, _ = all_latents.load(TaskSettings(path=str(root)))
    assert train.targets.tolist() == expected.targets.tolist()


def test_latents_that_do_not_fit_are_named(root: Path) -> None:
    settings, path = TaskSettings(path=str(root)), root / "testset" / "latents_1.npy"
    good = np.load(path)
    for values, message in (
        (good[:-1], r"float64 of shape \(10, 10\), expected numbers of shape \(11, 10\) for the 11 images"),
        (np.where(np.arange(COUNT)[:, None] == 4, np.inf, good), "row 4 is not finite"),
        (np.where(np.arange(COUNT)[:, None] == 4, _SIGNALLING, good), "row 4 is not finite"),
        (good.astype(str), "<U"),
        (good.astype(object), "not a readable array of numbers; expected the latents"),
        (good.astype(np.float64) * 1e200, "row 0 is not finite .NaN, infinite or too large"),
    ):
        np.save(path, values, allow_pickle=True)
        with pytest.raises(UserError, match=rf"testset/latents_1\.npy: .*{message}"):
            all_latents.load(settings)
    with path.open("wb") as file:
        np.savez(file, latents=good)
    with pytest.raises(UserError, match=r"testset/latents_1\.npy: an archive of arrays, expected the latents of"):
        all_latents.load(settings)
    path.unlink()
    path.symlink_to("/dev/zero")  # which never ends
    with pytest.raises(UserError, match=r"testset/latents_1\.npy: is no file$"):
        all_latents.load(settings)
    path.unlink()
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"testset/latents_1\.npy: not a readable array"):
        all_latents.load(settings)
    path.unlink()
    with pytest.raises(UserError, match=r"testset/latents_1\.npy: cannot be read .*latents of .*images_1"):
        all_latents.load(settings)
