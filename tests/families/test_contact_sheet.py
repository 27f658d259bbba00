import numpy as np
import torch

from solo_invariance.families import identity, ventral
from solo_invariance.families.contact_sheet import contact_sheet


def test_rows_are_images_and_columns_are_draws() -> None:
    canvases = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sheet = np.asarray(contact_sheet(canvases, [identity, ventral], crop_size=64, draws=2))
    rows = [26 + 67 * index for index in range(3)]
    columns = [12, 88, 88 + 67, 231, 231 + 67]
    tiles = [[sheet[top : top + 64, left : left + 64] for left in columns] for top in rows]
    for row, canvas in zip(tiles, canvases, strict=True):
        for tile in row[:3]:  # the canvas and two draws of the identity
            assert np.array_equal(tile, canvas.permute(1, 2, 0).numpy())
        assert not np.array_equal(row[3], row[4])
        assert not np.array_equal(row[3], row[0])
    assert sheet.shape == (26 + 3 * 67 + 12, columns[-1] + 64 + 12, 3)


def test_a_familys_draws_do_not_depend_on_its_neighbours() -> None:
    canvases = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    alone = np.asarray(contact_sheet(canvases, [ventral], 64, draws=1))
    beside = np.asarray(contact_sheet(canvases, [identity, ventral], 64, draws=1))
    assert np.array_equal(alone[:, -76:], beside[:, -76:])
