"""Leeds Sports Pose (Johnson and Everingham 2010): people with 14 joints."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from solo_invariance.data.decoding import image_size
from solo_invariance.errors import UserError
from solo_invariance.protocols import protocol_named
from solo_invariance.transfer.tasks.landmarks import square_crops
from solo_invariance.transfer.tasks.requirements import check_options, refuse_layout, require_folder
from solo_invariance.transfer.tasks.splits import Rows, draw_rows, shuffle_split
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_LAYOUT = "images/*.jpg and joints.mat"
_SOURCE = "http://sam.johnson.io/research/lsp.html"
_NUM_JOINTS = 14
_TRAIN_SHARE = 0.6


@dataclass(frozen=True)
class LeedsSportsPose(Task):
    """14 joints of a person, in the square in the middle of the image; those that are hidden count too.

    The dataset comes without a split here: 0.6 of the images, drawn with ``settings.seed``, are for training; in
    ``protocol=paper``, with seed 0 whatever the settings say: the official code's draw. Joints are taken to count
    pixels from 0, as in the official code; the dataset does not say.
    """

    kind = "regression"
    metric = "r2"
    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``images`` and ``joints.mat``.

        Raises:
            UserError: The dataset is not there, or the joints are broken or not as many as the images.
        """
        check_options(settings)
        root = require_folder(settings, _LAYOUT)
        paths = sorted((root / "images").glob("[!.]*.jpg"))
        if not paths or not (root / "joints.mat").is_file():
            raise refuse_layout(settings, "no Leeds Sports Pose", _LAYOUT, _SOURCE)
        joints = _read_joints(root / "joints.mat", len(paths))
        seed = protocol_named(settings.protocol).seed_of_draws(settings.seed)
        train, test = shuffle_split(len(paths), _TRAIN_SHARE, seed)
        return (
            _split(paths, joints, draw_rows(train, "num_train", settings), settings),
            _split(paths, joints, draw_rows(test, "num_test", settings), settings),
        )


def _read_joints(path: Path, num_images: int) -> Tensor:
    """The joints, (N, 14, 2)."""
    from scipy.io import loadmat

    try:
        joints = torch.from_numpy(loadmat(path)["joints"].astype("float64"))
    except Exception as error:  # a stranger's bytes can make the reader raise anything
        raise UserError(f"{path}: not a readable Matlab file with the array joints") from error
    if joints.shape != (3, _NUM_JOINTS, num_images):
        raise UserError(
            f"{path}: joints of shape {tuple(joints.shape)}, expected (3, {_NUM_JOINTS}, {num_images}): x, y and "
            f"visibility in each of the {num_images} images"
        )
    points = joints[:2].permute(2, 1, 0)
    finite = points.isfinite().flatten(1).all(1)
    if not finite.all():
        raise UserError(f"{path}: the joints of image {int((~finite).int().argmax()) + 1} are not finite (NaN or inf)")
    return points


def _split(paths: list[Path], joints: Tensor, rows: Rows, settings: TaskSettings) -> Split:
    chosen = [paths[row] for row in rows]
    squares = torch.tensor([_middle(*image_size(path)) for path in chosen])
    return square_crops(chosen, joints[torch.from_numpy(rows)], squares, settings.crop_size)


def _middle(width: int, height: int) -> tuple[int, int, int]:
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


lsp = LeedsSportsPose()
