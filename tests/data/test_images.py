from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_invariance.data.images import ImageFiles, TensorImages, by_shape, load_batches
from solo_invariance.errors import UserError


def test_files_come_sorted_at_any_depth_with_the_short_side_resized(photo_folder: Path) -> None:
    files = ImageFiles(photo_folder / "val", 32)
    assert [files.name_of(i) for i in range(len(files))] == sorted(
        str(p) for p in (photo_folder / "val").rglob("*.jpg")
    )
    assert {min(files[i].shape[-2:]) for i in range(len(files))} == {32}
    assert files[0].dtype == torch.uint8


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (20, 10), (200, 200, 200)).convert(mode).save(tmp_path / f"image.{suffix}")
    assert ImageFiles(tmp_path)[0].shape == (3, 10, 20)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_batches_keep_the_order_for_any_size_and_workers(workers: int, batch_size: int) -> None:
    images = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 3, 4, 4)
    order = [3, 3, 11, 0, 7, 5, 2]
    before = torch.get_rng_state()
    seen = [
        (row, int(image[0, 0, 0]))
        for rows, batch in load_batches(TensorImages(images), order, batch_size, workers)
        for row, image in zip(rows, batch, strict=True)
    ]
    assert seen == [(index, index) for index in order]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_line_from_any_process(tmp_path: Path, workers: int) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match=r"broken\.png: not a readable image") as error:
        list(load_batches(ImageFiles(tmp_path), [0], 1, workers))
    assert "\n" not in str(error.value)


def test_by_shape_groups_without_losing_places() -> None:
    images = [torch.full((3, size, 4), size, dtype=torch.uint8) for size in (4, 6, 4, 8)]
    groups = {tuple(stack.shape): positions for positions, stack in by_shape(images)}
    assert groups == {(2, 3, 4, 4): [0, 2], (1, 3, 6, 4): [1], (1, 3, 8, 4): [3]}


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        ImageFiles(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no images in it"):
        ImageFiles(tmp_path)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(64, axis=0)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert ImageFiles(tmp_path)[0][0, 0].tolist() == [value >> 8 for value in ramp[0].tolist()]


def test_a_strip_is_refused_by_name(tmp_path: Path) -> None:
    Image.new("RGB", (2, 300)).save(tmp_path / "strip.png")
    with pytest.raises(UserError, match=r"strip\.png: 2 x 300 pixels, sides of more than 20 to 1"):
        list(load_batches(ImageFiles(tmp_path, 64), [0], 1))
