"""Groups of views are those that the official code makes of the same files."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from solo_invariance.data.view_sets import read_view_set

pytestmark = pytest.mark.official
Official = Callable[[str], ModuleType]
Groups = set[frozenset[str]]

_ALOT = [1, 2, 3, 6, 7, 13]  # materials, of which the first and the last two come under the same light
_REALBLUR = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"


def _files(name: str) -> Iterator[str]:
    """A small tree in the layout that a set was published in."""
    if name == "coil100":
        yield from (f"obj{thing}__{angle}.png" for thing in (1, 2, 10) for angle in range(0, 360, 5))
    elif name.startswith("aloi"):
        for thing in (1, 2, 10):
            yield from (f"viewpoint/{thing}/{thing}_r{angle}.png" for angle in range(0, 360, 5))
            lit = product(range(1, 9), (1, 2, 3))
            yield from (f"illumination/{thing}/{thing}_l{light}c{camera}.png" for light, camera in lit)
            yield from (f"temperature/{thing}/{thing}_i{i}.png" for i in (*range(110, 200, 10), 210, 230, 250))
    elif name.startswith("alot"):
        for thing in _ALOT:
            for camera, light, rotation in product((1, 2, 3, 4), (1, 2, 3, 4, 5, 8), ("", "r60", "r120", "r180")):
                yield f"{thing}/{thing}_c{camera}l{light}{rotation}.png"
            yield from (f"{thing}/{thing}_c{camera}i.png" for camera in (1, 2, 3, 4))
    elif name == "exposure_errors":
        for picture in ("a0002-dgw_005", "a0010-jmac_MG_4807"):
            yield f"GT_IMAGES/{picture}.jpg"
            yield from (f"INPUT_IMAGES/{picture}_{step}.JPG" for step in ("0", "N1", "N1.5", "P1", "P1.5"))
    elif name == "dali":
        yield from (f"input/png/{shape}/{view}.png" for shape in (1, 2, 10) for view in range(1, 33))
    elif name == "flickr1024":
        yield from (f"{split}/{n:04}_{side}.png" for split in ("Train", "Test") for n in (2, 10) for side in "LR")
    elif name == "realblur":
        scenes = product(("001", "010"), ("gt", "blur"), (2, 10))
        yield from (f"{_REALBLUR}/scene{scene}/{part}/{part}_{number}.png" for scene, part, number in scenes)


def _theirs(dataset: Any, root: Path, indices: list[int]) -> list[frozenset[str]]:
    """The files of each group, by the dataset's own way to make them of which only the loading is left out."""
    names: list[str] = []

    def load(path: str) -> torch.Tensor:
        names.append(str(Path(path).relative_to(root)))
        return torch.zeros(1)

    dataset.loader = load
    groups = []
    for index in indices:
        names.clear()
        dataset.get_views_of_class(index)
        groups.append(frozenset(names))
    return groups


def _of_things(things: list[int], per_block: int, blocks: int) -> list[int]:
    return [per_block * block + thing - 1 for block in range(blocks) for thing in things]


@pytest.mark.parametrize(
    ("name", "kind", "mode", "indices"),
    [
        ("coil100", "COIL100", None, _of_things([1, 2, 10], 100, 1)),
        ("aloi_viewpoint", "ALOI", "viewpoint", _of_things([1, 2, 10], 1000, 1)),
        ("aloi_illumination", "ALOI", "illumination", _of_things([1, 2, 10], 1000, 3)),
        ("aloi_temperature", "ALOI", "temperature", _of_things([1, 2, 10], 1000, 1)),
        ("alot_viewpoint", "ALOT", "viewpoint", _of_things(_ALOT, 250, 6)),
        ("alot_illumination", "ALOT", "illumination", _of_things(_ALOT, 250, 16)),
        ("alot_temperature", "ALOT", "temperature", _of_things(_ALOT, 250, 4)),
        ("exposure_errors", "ExposureErrors", None, None),
        ("dali", "DaLI", None, _of_things([1, 2, 10], 12, 1)),
        ("flickr1024", "Flickr1024", None, None),
        ("realblur", "RealBlur", None, None),
    ],
)
def test_groups(
    official: Official, tmp_path: Path, name: str, kind: str, mode: str | None, indices: list[int] | None
) -> None:
    for file in _files(name):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    dataset = getattr(official("datasets"), kind)(str(tmp_path), **({"mode": mode} if mode else {}))
    theirs = _theirs(dataset, tmp_path, indices or list(range(dataset.num_classes)))
    root = tmp_path / _REALBLUR if name == "realblur" else tmp_path
    read = read_view_set(name, root, protocol="paper")
    ours = [frozenset(str(path.relative_to(tmp_path)) for path in group.paths) for group in read.groups]
    assert {*ours} == {*theirs}
    assert len(ours) == len({*ours})
    repeated = 6 if name == "alot_viewpoint" else 1  # the official code counts each of these groups six times
    assert len(theirs) == repeated * len(ours)
