"""Leeds Sports Pose (Johnson and Everingham 2010): people with 14 joints."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow"),
    *("right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
)
"""In the dataset's order."""

_NUM_JOINTS = len(JOINTS)
_TRAIN_SHARE = 0.6
_FEWEST = 2  # that can be split


@dataclass(frozen=True)
class LeedsSportsPose(Task):
    """14 joints of a person, in the square in the middle of the image; those that are hidden count too.

    The extended training set (Johnson and Everingham 2011), or a part of it, is read, too; its ``joints.mat`` has the
    axes in another order. There a joint is labelled only where it can be seen: images that lack one are left out.
    ``settings.options`` has ``joints``, names of some of them, so that fewer images are.

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
            UserError: The dataset is not there, or the joints are broken or not as many as the images; there is no
                joint of a name, or hardly an image that has all.
        """
        check_options(settings, "joints")
        chosen = _chosen(settings.options.get("joints"))
        root = require_folder(settings, _LAYOUT)
        paths = sorted((root / "images").glob("[!.]*.jpg"))
        if not paths or not (root / "joints.mat").is_file():
            raise refuse_layout(settings, "no Leeds Sports Pose", _LAYOUT, _SOURCE)
        joints, labelled = _read_joints(root / "joints.mat", len(paths))
        whole = labelled[:, chosen].all(1)
        if whole.sum() < _FEWEST:
            raise UserError(
                f"{root / 'joints.mat'}: all {len(chosen)} joints are labelled in {int(whole.sum())} of {len(whole)} "
                f"images; task.options.joints=[...] chooses fewer joints"
            )
        paths, joints = (
            [path for path, kept in zip(paths, whole.tolist(), strict=True) if kept],
            joints[whole][:, chosen],
        )
        seed = protocol_named(settings.protocol).seed_of_draws(settings.seed)
        train, test = shuffle_split(len(paths), _TRAIN_SHARE, seed)
        splits = (
            _split(paths, joints, draw_rows(train, "num_train", settings), settings),
            _split(paths, joints, draw_rows(test, "num_test", settings), settings),
        )
        if whole.all():
            return splits
        origin = f"{len(paths)} of {len(whole)} images, in which all {len(chosen)} joints are labelled"
        return replace(splits[0], origin=origin), replace(splits[1], origin=origin)


def _chosen(names: Any) -> list[int]:
    """The places of the joints of some names; of all, where none are given."""
    if names is None:
        return [*range(_NUM_JOINTS)]
    if not isinstance(names, list | tuple) or not names:
        raise UserError(f"task.options.joints={names!r}: expected a list of joints, such as [neck,head_top]")
    for name in names:
        if name not in JOINTS:
            raise UserError(f"task.options.joints: there is no joint {name!r}; the joints are {', '.join(JOINTS)}")
        if names.count(name) > 1:
            raise UserError(f"task.options.joints: {name} is there twice")
    return [JOINTS.index(name) for name in names]


def _read_joints(path: Path, num_images: int) -> tuple[Tensor, Tensor]:
    """The joints, (N, 14, 2), and whether each is labelled, bool (N, 14)."""
    from scipy.io import loadmat

    try:
        joints = torch.from_numpy(loadmat(path)["joints"].astype("float64"))
    except Exception as error:  # a stranger's bytes can make the reader raise anything
        raise UserError(f"{path}: not a readable Matlab file with the array joints") from error
    extended = joints.shape == (_NUM_JOINTS, 3, num_images)
    if not extended and joints.shape != (3, _NUM_JOINTS, num_images):
        raise UserError(
            f"{path}: joints of shape {tuple(joints.shape)}, expected (3, {_NUM_JOINTS}, {num_images}): x, y and "
            f"visibility in each of the {num_images} images; or ({_NUM_JOINTS}, 3, {num_images}), of the extended set"
        )
    if extended:
        joints = joints.permute(1, 0, 2)
    points = joints[:2].permute(2, 1, 0)
    # The set itself says which joints are hidden, and where they are; the extended one, which are labelled.
    labelled = joints[2].T != 0 if extended else torch.ones(points.shape[:2], dtype=torch.bool)
    finite = (points.isfinite().all(2) | ~labelled).all(1)
    if not finite.all():
        raise UserError(f"{path}: the joints of image {int((~finite).int().argmax()) + 1} are not finite (NaN or inf)")
    return points, labelled


def _split(paths: list[Path], joints: Tensor, rows: Rows, settings: TaskSettings) -> Split:
    chosen = [paths[row] for row in rows]
    squares = torch.tensor([_middle(*image_size(path)) for path in chosen])
    return square_crops(chosen, joints[torch.from_numpy(rows)], squares, settings.crop_size)


def _middle(width: int, height: int) -> tuple[int, int, int]:
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


lsp = LeedsSportsPose()
