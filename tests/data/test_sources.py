import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from solo_invariance.data.images import (
    ImageFiles,
    ImageSource,
    KnownImages,
    SelectedImages,
    TensorImages,
)
from solo_invariance.data.sources import DatasetImages, image_source, with_short_side
from solo_invariance.errors import UserError


def _pixels(*size: int) -> Tensor:
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("labelled", [True, False])
def test_pictures_bytes_and_floats_are_the_same_image(labelled: bool) -> None:
    pixels = _pixels(3, 20, 30)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    for image in (pixels, pixels.float() / 255, pixels.double() / 255, picture):
        samples = DatasetImages([(image, 7) if labelled else image])
        assert torch.equal(samples[0], pixels)
        resized = np.asarray(picture.resize((15, 10), Image.Resampling.BILINEAR))
        assert torch.equal(DatasetImages([image], 10)[0], torch.from_numpy(resized.copy()).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("cat", "list image 0: is a str, expected an image"),
        ({"image": torch.zeros(3, 4, 4)}, "list image 0: is a dict, expected"),
        (torch.zeros(1, 28, 28), r"list image 0: a tensor of shape \(1, 28, 28\), expected"),
        (torch.full((3, 4, 4), 1.5), "list image 0: a tensor of torch.float32, expected uint8, or numbers in"),
        (torch.full((3, 4, 4), torch.nan), "list image 0: a tensor of torch.float32, expected uint8, or numbers in"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "list image 0: a tensor of torch.int32, expected uint8"),
    ],
)
def test_a_sample_that_is_no_image_is_named(sample, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DatasetImages([sample])[0]


def test_floats_are_rounded_to_bytes() -> None:
    values = torch.tensor([0.0, 0.499 / 255, 0.501 / 255, 1.0]).expand(1, 3, 1, 4)
    assert image_source(values)[0][0, 0].tolist() == [0, 0, 1, 255]  # type: ignore[index]


class _Unresizable:
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        return _pixels(3, 20, 30)

    def name_of(self, index: int) -> str:
        return "picture"


def test_sources_that_can_resize_do_and_others_stay(photo_folder) -> None:
    tensors = TensorImages(_pixels(4, 3, 20, 30), 15)
    sources: list[ImageSource] = [
        ImageFiles(photo_folder, 40),
        tensors,
        SelectedImages(tensors, [2, 0]),
        KnownImages(tensors, ["digest"] * 4),
        DatasetImages(TensorDataset(_pixels(4, 3, 20, 30))),
    ]
    for source in sources:
        resized = with_short_side(source, 12)
        assert min(resized[0].shape[1:]) == 12  # type: ignore[union-attr]
        assert (len(resized), resized.name_of(0)) == (len(source), source.name_of(0))
    assert tensors.resize == 15
    assert with_short_side(tensors, 15) is tensors
    direct = ImageFiles(photo_folder, 12)
    assert torch.equal(with_short_side(sources[0], 12)[0], direct[0])  # type: ignore[arg-type]
    unresizable = _Unresizable()
    assert with_short_side(unresizable, 12) is unresizable
