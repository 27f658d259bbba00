import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from solo_invariance.data.decoding import image_size
from solo_invariance.data.images import ImageFiles, SelectedImages, TensorImages, digest_of
from solo_invariance.errors import UserError


def test_a_files_digest_is_of_its_bytes_wherever_it_lies(tmp_path: Path, photo_folder: Path) -> None:
    first, second = ImageFiles(photo_folder / "val").paths[:2]
    shutil.copy(first, tmp_path / "of_another_name.jpg")
    digests = [ImageFiles.of([path]).digest(0) for path in (first, tmp_path / "of_another_name.jpg", second)]
    assert digests[0] == digests[1] != digests[2]
    assert ImageFiles.of([first], resize=32).digest(0) not in digests


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: cannot be read"):
        ImageFiles.of([tmp_path / "gone.png"]).digest(0)


def test_a_tensors_digest_is_of_its_pixels_shape_and_size() -> None:
    pixels = torch.arange(2 * 3 * 4 * 6, dtype=torch.uint8).reshape(2, 3, 4, 6)
    digests = [TensorImages(pixels).digest(index) for index in range(2)]
    assert digests[0] != digests[1]
    assert TensorImages(pixels[1:].clone(), name="others").digest(0) == digests[1]
    assert TensorImages(pixels.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)).digest(0) == digests[0]
    assert TensorImages(pixels.reshape(2, 3, 6, 4)).digest(0) != digests[0]
    assert TensorImages(pixels, resize=3).digest(0) != digests[0]


def test_selected_images_are_the_sources(photo_folder: Path) -> None:
    files = ImageFiles(photo_folder / "val")
    selected = SelectedImages(files, [3, 1, 3])
    assert len(selected) == 3
    for place, index in enumerate([3, 1, 3]):
        assert torch.equal(selected[place], files[index])
        assert (selected.name_of(place), selected.digest(place)) == (files.name_of(index), files.digest(index))


def test_a_source_without_digests_has_those_of_its_pixels() -> None:
    class Bare:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Tensor:
            return torch.full((3, 4, 4), index, dtype=torch.uint8)

        def name_of(self, index: int) -> str:
            return f"bare {index}"

    selected = SelectedImages(Bare(), [1])
    assert digest_of(Bare(), 1) == selected.digest(0) != digest_of(Bare(), 0)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_the_size_of_a_file_is_width_and_height(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.zeros((7, 5, 3), dtype=np.uint8)).convert(mode).save(tmp_path / "image.png")
    assert image_size(tmp_path / "image.png") == (5, 7)


def test_the_size_of_no_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no image")
    with pytest.raises(UserError, match=r"no\.png: not a readable image"):
        image_size(tmp_path / "no.png")
