"""300-W, Faces in the Wild (Sagonas et al. 2013): faces with 68 landmarks."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from solo_invariance.data.decoding import image_size
from solo_invariance.errors import UserError
from solo_invariance.protocols import protocol_named
from solo_invariance.results.files import require_file
from solo_invariance.transfer.tasks.landmarks import square_crops
from solo_invariance.transfer.tasks.requirements import check_options, refuse_layout, require_folder
from solo_invariance.transfer.tasks.splits import Rows, draw_rows, shuffle_split
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_FOLDERS = ("01_Indoor", "02_Outdoor")
_LAYOUT = "{01_Indoor, 02_Outdoor}/*.png, each with a .pts of the same name beside it"
_SOURCE = "https://ibug.doc.ic.ac.uk/resources/300-W/"
_SHOWN = 100
_NUM_LANDMARKS = 68
_TRAIN_SHARE = 0.6  # 0.3 for training and 0.3 for validation


@dataclass(frozen=True)
class Faces300W(Task):
    """68 landmarks of a face that is cut out of its image, indoors and outdoors.

    The square's side is the longer side of the landmarks' box, and its top left corner is the box's, both in whole
    pixels. What of it lies beyond the image's border is black. The dataset comes without a split here: 0.6 of the
    images, drawn with ``settings.seed``, are for training; in ``protocol=paper``, with seed 0 whatever the settings
    say: the official code's draw.

    The files count pixels from 1, as Matlab does. The official code takes them to count from 0, so that its squares are
    one pixel further to the right and below, and so does ``protocol=paper``.
    """

    kind = "regression"
    metric = "r2"
    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``01_Indoor`` and ``02_Outdoor``.

        Raises:
            UserError: The dataset is not there, or the landmarks of an image are missing or broken.
        """
        check_options(settings)
        paths = _images(settings)
        seed = protocol_named(settings.protocol).seed_of_draws(settings.seed)
        train, test = shuffle_split(len(paths), _TRAIN_SHARE, seed)
        return (
            self._split(paths, draw_rows(train, "num_train", settings), settings),
            self._split(paths, draw_rows(test, "num_test", settings), settings),
        )

    def _split(self, paths: list[Path], rows: Rows, settings: TaskSettings) -> Split:
        chosen = [paths[row] for row in rows]
        points = torch.stack([_read_points(path.with_suffix(".pts")) for path in chosen])
        if not protocol_named(settings.protocol).counts_landmarks_from_one:
            points = points - 1
        squares = torch.stack([_square(path, row) for path, row in zip(chosen, points, strict=True)])
        return square_crops(chosen, points, squares, settings.crop_size)


def _images(settings: TaskSettings) -> list[Path]:
    root = require_folder(settings, _LAYOUT)
    found = [path for folder in _FOLDERS for path in sorted((root / folder).glob("[!.]*.png"))]
    if not found:
        raise refuse_layout(settings, "no images of 300-W", _LAYOUT, _SOURCE)
    return found


def _read_points(path: Path) -> Tensor:
    """The landmarks of a file, (68, 2), as they are written there."""
    require_file(path)
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        rows = [line.split() for line in lines[lines.index("{") + 1 : lines.index("}")]]
        points = torch.tensor([[float(x), float(y)] for x, y in rows], dtype=torch.float64)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected the landmarks of the image") from error
    except ValueError as error:
        reason = str(error)[:_SHOWN]
        raise UserError(f"{path}: not a file of landmarks ({reason}); expected a line with x and y for each") from error
    if points.shape != (_NUM_LANDMARKS, 2) or not points.isfinite().all():
        raise UserError(f"{path}: {len(points)} landmarks, expected {_NUM_LANDMARKS} of finite numbers")
    return points


def _square(path: Path, points: Tensor) -> Tensor:
    low, high = points.amin(0), points.amax(0)
    (left, top), side = low.round().long().tolist(), ceil(float((high - low).max()))
    width, height = image_size(path)
    if not (0 < side <= 2 * max(width, height) and -side < left < width and -side < top < height):
        raise UserError(
            f"{path.with_suffix('.pts')}: landmarks from {low.tolist()} to {high.tolist()}, which is no face in an "
            f"image of {width} x {height} pixels"
        )
    return torch.tensor([left, top, side])


faces_300w = Faces300W()
