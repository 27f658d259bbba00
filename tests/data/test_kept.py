"""Images that are decoded once."""

import pytest
import torch

from solo_invariance.data.images import TensorImages
from solo_invariance.data.kept import KeptImages

_WHOLE = torch.randint(256, (6, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class _Cut(TensorImages):
    """Squares that lie in the memory of whole images, as those that are cut out of them do."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return super().__getitem__(index)[:, 4:12, 5:13]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_nothing_but_what_is_asked_for_is_kept(num_workers: int) -> None:
    kept = KeptImages(_Cut(_WHOLE, name="square"), [4, 1], num_workers)
    for index in (1, 4):
        image = kept[index]
        assert isinstance(image, torch.Tensor)
        assert torch.equal(image, _WHOLE[index, :, 4:12, 5:13])
        assert image.untyped_storage().nbytes() == 3 * 8 * 8
    assert kept.num_bytes == 2 * 3 * 8 * 8
    assert (len(kept), kept.name_of(5)) == (6, "square 5")
    with pytest.raises(KeyError):
        kept[0]
