import numpy as np
import torch

from solo_invariance.families import Canvas, CanvasImage, identity, ventral
from solo_invariance.families.contact_sheet import contact_sheet


def test_rows_are_images_and_columns_are_draws() -> None:
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    canvases = [CanvasImage(image, "64x64") for image in pixels]
    sheet = np.asarray(contact_sheet(canvases, [identity, ventral], crop_size=64, draws=2))
    rows = [26 + 67 * index for index in range(3)]
    columns = [12, 88, 88 + 67, 231, 231 + 67]
    tiles = [[sheet[top : top + 64, left : left + 64] for left in columns] for top in rows]
    for row, canvas in zip(tiles, pixels, strict=True):
        for tile in row[:3]:  # the canvas and two draws of the identity
            assert np.array_equal(tile, canvas.permute(1, 2, 0).numpy())
        assert not np.array_equal(row[3], row[4])
        assert not np.array_equal(row[3], row[0])
    assert sheet.shape == (26 + 3 * 67 + 12, columns[-1] + 64 + 12, 3)


def test_a_familys_draws_do_not_depend_on_its_neighbours() -> None:
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    canvases = [CanvasImage(image, "64x64") for image in pixels]
    alone = np.asarray(contact_sheet(canvases, [ventral], 64, draws=1))
    beside = np.asarray(contact_sheet(canvases, [identity, ventral], 64, draws=1))
    assert np.array_equal(alone[:, -76:], beside[:, -76:])


def test_an_image_is_shown_in_its_shape_and_its_views_unstretched() -> None:
    # A square, twice as far from the left border as from the others.
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    image[:, 20:40, 40:60] = 255
    sheet = np.asarray(contact_sheet([Canvas(80)(image)], [identity], crop_size=64, draws=1))[26:90, :, 0]
    shown, view = sheet[:, 12:76], sheet[:, 88:152]
    assert (shown[:8] == 255).all()  # the paper above and below
    assert (shown[56:] == 255).all()
    assert shown[8:56].mean() < 64
    for part, (top, left, side) in ((shown, (24, 32, 16)), (view, (21.3, 32, 21.3))):
        rows, columns = np.nonzero(part[8:56] > 127)
        assert abs(rows.min() + 8 - top) <= 1
        assert abs(columns.min() - left) <= 1
        assert abs(np.ptp(rows) + 1 - side) <= 1.5
        assert abs(np.ptp(columns) + 1 - side) <= 1.5


def test_families_that_are_too_many_for_a_screen_stand_below_the_others() -> None:
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    canvases = [CanvasImage(image, "64x64") for image in pixels]
    families = [identity] * 12
    sheet = np.asarray(contact_sheet(canvases, families, crop_size=64, draws=3))
    height = 26 + 2 * 67 + 12
    # A family's three views and the gap after it are 210 pixels wide, the canvas with its own and the margin 88.
    assert sheet.shape == (2 * height, 88 + 7 * 210, 3)
    for top in (0, height):
        for row in range(2):
            shown = sheet[top + 26 + 67 * row :][:64]
            for left in (12, 88, 88 + 4 * 210):  # the canvas again, and the identity's views of it
                assert np.array_equal(shown[:, left : left + 64], pixels[row].permute(1, 2, 0).numpy())
    assert (sheet[height + 26 :, 88 + 5 * 210 :] == 255).all()  # seven above, five below
