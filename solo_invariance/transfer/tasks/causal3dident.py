"""Causal3DIdent (von Kügelgen et al. 2021): rendered shapes whose ten latents are known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.class_folders import class_names
from solo_invariance.data.images import ImageFiles
from solo_invariance.data.latent_scenes.dataset import LATENTS
from solo_invariance.data.listing import list_images
from solo_invariance.errors import UserError
from solo_invariance.results.files import require_file
from solo_invariance.transfer.tasks.requirements import check_options, refuse_layout, require_folder
from solo_invariance.transfer.tasks.splits import Count, draw_rows
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_NAMES = tuple(latent.name for latent in LATENTS)
_LAYOUT = "{trainset, testset}/{CLASS/*.png, latents_0.npy, latents_1.npy, ...}, an array for each class"
_SOURCE = "https://zenodo.org/records/4784282"
_USUAL: dict[Count, int] = {"num_train": 20_480, "num_test": 40_960}


@dataclass(frozen=True)
class Causal3DIdent(Task):
    """Read latents off the image; each is regressed as it is in the files.

    An array's rows are in the order of the numbers that are the images' names, and the arrays in the order of the
    names of the classes' folders. Where there is no ``latents_0.npy``, ``raw_latents_0.npy`` is read. If
    ``settings`` do not say how many images to take, it is the paper's 20 480 to train on and at most 40 960 to test on,
    which is more than the published test set has.

    Args:
        latents: Their names, of the embedded dataset's ten: positions and rotations of the object about three axes,
            the spotlight's angle, and the hues of the object, the spotlight and the background.
    """

    latents: tuple[str, ...] = _NAMES
    kind = "regression"
    metric = "r2"
    probe = "kernel_ridge"
    may_overlap = True

    @property
    def output_names(self) -> tuple[str, ...]:
        """The latents."""
        return self.latents

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``trainset`` and ``testset``.

        Raises:
            UserError: The dataset is not there, or images and latents do not fit together.
        """
        check_options(settings)
        root = require_folder(settings, _LAYOUT)
        if not all((root / name).is_dir() for name in ("trainset", "testset")):
            raise refuse_layout(settings, "no Causal3DIdent", _LAYOUT, _SOURCE)
        train = self._split(root / "trainset", "num_train", settings)
        return train, self._split(root / "testset", "num_test", settings)

    def _split(self, root: Path, count: Count, settings: TaskSettings) -> Split:
        paths, latents = _read(root)
        rows = draw_rows(np.arange(len(paths)), count, settings, usual=_USUAL[count])
        columns = [_NAMES.index(name) for name in self.latents]
        return Split(ImageFiles.of([paths[row] for row in rows]), latents[torch.from_numpy(rows)][:, columns])


def _read(root: Path) -> tuple[list[Path], Tensor]:
    paths: list[Path] = []
    latents = []
    for index, name in enumerate(class_names(root)):
        # The names are numbers: 2 comes before 10, whether they are written with leading zeros or without.
        images = sorted(list_images(root / name), key=lambda path: (len(path.name), path.name))
        latents.append(_read_latents(root, index, root / name, len(images)))
        paths += images
    return paths, torch.cat(latents)


def _read_latents(root: Path, index: int, folder: Path, num_images: int) -> Tensor:
    files = [root / f"{prefix}latents_{index}.npy" for prefix in ("", "raw_")]
    path = next((file for file in files if file.is_file()), files[0])
    require_file(path)
    try:
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected the latents of {folder}") from error
    except Exception as error:  # of NumPy, which reads the header as Python's syntax, on a broken one
        raise UserError(f"{path}: not a readable array of numbers; expected the latents of {folder}") from error
    if not isinstance(values, np.ndarray):
        raise UserError(f"{path}: an archive of arrays, expected the latents of {folder} alone")
    if values.shape != (num_images, len(_NAMES)) or values.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: {values.dtype} of shape {values.shape}, expected numbers of shape ({num_images}, {len(_NAMES)}) "
            f"for the {num_images} images in {folder}"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # it is then not finite
        latents = values.astype(np.float32)
    finite = np.isfinite(latents).all(1)
    if not finite.all():
        raise UserError(f"{path}: row {int(finite.argmin())} is not finite (NaN, infinite or too large)")
    return torch.from_numpy(latents)


all_latents = Causal3DIdent()
position_x = Causal3DIdent(("position_x",))
position_y = Causal3DIdent(("position_y",))
position_z = Causal3DIdent(("position_z",))
rotation_phi = Causal3DIdent(("rotation_phi",))
rotation_theta = Causal3DIdent(("rotation_theta",))
rotation_psi = Causal3DIdent(("rotation_psi",))
spotlight_angle = Causal3DIdent(("spotlight_angle",))
object_hue = Causal3DIdent(("object_hue",))
spotlight_hue = Causal3DIdent(("spotlight_hue",))
background_hue = Causal3DIdent(("background_hue",))
