import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_invariance.data.decoding import Unreadable, decode, load_image, readable
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.data.reading import by_shape, load_batches, read_ahead
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


def _numbered(count: int) -> TensorImages:
    return TensorImages(torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 4, 4))


class _Watched(TensorImages):
    """Images that say which of them were read, and in how many threads."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__(images)
        self.read: list[int] = []
        self.threads: set[int] = set()

    def __getitem__(self, index: int) -> torch.Tensor:
        self.read.append(index)
        self.threads.add(threading.get_ident())
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batches", [[], [[]], [[3]], [[0, 1], [], [2]], [[5, 5, 1], [0], [7, 2, 6, 3]]])
def test_batches_of_any_sizes_come_in_order(batches: list[list[int]], workers: int) -> None:
    found = [[int(image[0, 0, 0]) for image in batch] for batch in read_ahead(_numbered(8), batches, workers)]
    assert found == batches


def test_one_batch_is_read_while_the_last_one_is_worked_on() -> None:
    images = _Watched(_numbered(30).images)
    reader = read_ahead(images, [list(range(start, start + 5)) for start in range(0, 30, 5)], num_workers=2)
    next(reader)
    assert set(images.read) <= set(range(10))  # no further ahead than the next one
    assert len(list(reader)) == 5
    assert sorted(images.read) == list(range(30))
    assert threading.get_ident() not in images.threads


def test_a_reader_that_is_left_early_stops_its_threads() -> None:
    images = _Watched(_numbered(200).images)
    reader = read_ahead(images, [list(range(100)), list(range(100, 200))], num_workers=1)
    next(reader)
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_an_unreadable_image_is_a_value_until_somebody_wants_it(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    first, second = ImageFiles(tmp_path)[0], ImageFiles(tmp_path)[1]
    assert isinstance(second, Unreadable)
    assert second.path == tmp_path / "b.png"
    assert readable(first) is first
    with pytest.raises(UserError, match=r"b\.png: not a readable image") as error:
        readable(second)
    assert str(error.value) == second.reason
    ((_, nothing),) = read_ahead(ImageFiles(tmp_path), [[0, 1]], 2)
    assert nothing == second


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "webp", "ppm", "pgm"])
def test_a_file_cut_off_or_changed_anywhere_is_an_image_or_an_error_of_the_users(
    tmp_path: Path, extension: str
) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / f"image.{extension}"
    pixels = generator.integers(0, 256, (24, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).convert("L" if extension == "pgm" else "RGB").save(path)
    whole, refused = path.read_bytes(), []
    for trial in range(120):
        content = bytearray(whole)
        if trial % 2:
            content = content[: generator.integers(0, len(whole))]
        else:
            for place in generator.integers(0, min(len(whole), 400), 4):
                content[place] = generator.integers(0, 256)
        path.write_bytes(content)
        try:
            assert load_image(str(path)).mode == "RGB"
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 40
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in refused)


def test_a_strip_can_be_decoded_though_not_resized(tmp_path: Path) -> None:
    Image.new("RGB", (2, 300)).save(tmp_path / "strip.png")
    assert decode(str(tmp_path / "strip.png")).size == (2, 300)
    assert isinstance(ImageFiles(tmp_path)[0], Unreadable)


def test_files_that_were_chosen_come_in_the_order_given(photo_folder: Path) -> None:
    paths = sorted((photo_folder / "val").rglob("*.jpg"), reverse=True)[:5]
    files = ImageFiles.of(paths, 32)
    assert [files.name_of(index) for index in range(len(files))] == [str(path) for path in paths]
    whole = ImageFiles(photo_folder / "val", 32)
    assert torch.equal(files[0], whole[len(whole) - 1])


@pytest.mark.parametrize("size", [7, 16, 33, 64, 250])
def test_the_short_side_has_the_size_asked_for_whatever_the_image(tmp_path: Path, size: int) -> None:
    for width, height in ((47, 36), (36, 47), (31, 31), (500, 26), (33, 100)):
        Image.new("RGB", (width, height)).save(tmp_path / "image.png")
        _, found_height, found_width = ImageFiles(tmp_path, size)[0].shape
        assert min(found_height, found_width) == size
        assert max(found_height, found_width) == int(size * max(width, height) / min(width, height))
