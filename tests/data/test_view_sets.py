import os
import random
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from solo_invariance.data.listing import EXTENSIONS
from solo_invariance.data.view_sets import VIEW_SET_NAMES, ViewGroup, ViewSet, read_view_set
from solo_invariance.errors import UserError


def _alot() -> Iterator[str]:
    for material in (2, 10):
        for camera, light, rotation in product((1, 2, 3, 4), (1, 2, 3, 4, 5, 8), ("", "r60", "r120", "r180")):
            yield f"{material}/{material}_c{camera}l{light}{rotation}.png"
        yield from (f"{material}/{material}_c{camera}i.png" for camera in (1, 2, 3, 4))


def _aloi() -> Iterator[str]:
    for thing in (2, 10):
        yield from (f"viewpoint/{thing}/{thing}_r{angle}.png" for angle in range(0, 360, 5))
        yield from (f"illumination/{thing}/{thing}_l{l}c{c}.png" for l, c in product(range(1, 9), (1, 2, 3)))  # noqa: E741
        yield from (f"temperature/{thing}/{thing}_i{i}.png" for i in (*range(110, 200, 10), 210, 230, 250))


class Expected(NamedTuple):
    """A small tree in the set's real layout, and what is known of it from the set's publication.

    Fields: all files; kind; views per group; the names of the groups in order; the first group's first and last view.
    """

    files: tuple[str, ...]
    kind: str
    views: int
    groups: list[str]
    first: str
    last: str


SETS = {
    "coil100": Expected(
        tuple(f"obj{thing}__{angle}.png" for thing in (2, 10) for angle in range(0, 360, 5)),
        "spatial",
        72,
        ["obj2", "obj10"],
        "obj2__0.png",
        "obj2__355.png",
    ),
    "aloi_viewpoint": Expected(
        tuple(_aloi()), "spatial", 72, ["2", "10"], "viewpoint/2/2_r0.png", "viewpoint/2/2_r355.png"
    ),
    "aloi_illumination": Expected(
        tuple(_aloi()),
        "appearance",
        8,
        [f"{thing} camera {camera}" for thing in (2, 10) for camera in (1, 2, 3)],
        "illumination/2/2_l1c1.png",
        "illumination/2/2_l8c1.png",
    ),
    "aloi_temperature": Expected(
        tuple(_aloi()), "appearance", 12, ["2", "10"], "temperature/2/2_i110.png", "temperature/2/2_i250.png"
    ),
    "alot_viewpoint": Expected(
        tuple(_alot()),
        "spatial",
        16,
        [f"{material} light {light}" for material in (2, 10) for light in (1, 2, 3, 4, 5, 8)],
        "2/2_c1l1.png",
        "2/2_c4l1r180.png",
    ),
    "alot_illumination": Expected(
        tuple(_alot()),
        "appearance",
        6,
        [f"{m} camera {c} rotation {r}" for m in (2, 10) for c in (1, 2, 3, 4) for r in (0, 60, 120, 180)],
        "2/2_c1l1.png",
        "2/2_c1l8.png",
    ),
    "alot_temperature": Expected(
        tuple(_alot()),
        "appearance",
        2,
        [f"{material} camera {camera}" for material in (2, 10) for camera in (1, 2, 3, 4)],
        "2/2_c1i.png",
        "2/2_c1l8.png",
    ),
    "exposure_errors": Expected(
        tuple(
            file
            for name in ("a0002-dgw_005", "a0010-jmac_MG_4807", "a0113-a0002")  # the last holds the first's number
            for file in (
                f"GT_IMAGES/{name}.jpg",
                *(f"INPUT_IMAGES/{name}_{step}.JPG" for step in ("0", "N1", "N1.5", "P1", "P1.5")),
            )
        ),
        "appearance",
        6,
        ["a0002", "a0010", "a0113"],
        "GT_IMAGES/a0002-dgw_005.jpg",
        "INPUT_IMAGES/a0002-dgw_005_P1.JPG",
    ),
    "dali": Expected(
        tuple(f"input/png/{shape}/{view}.png" for shape in (2, 10) for view in range(1, 33)),
        "spatial",
        32,
        ["2", "10"],
        "input/png/2/1.png",
        "input/png/2/32.png",
    ),
    "flickr1024": Expected(
        tuple(
            f"{split}/{name}_{side}.png" for split in ("Train", "Test") for name in ("0002", "0010") for side in "LR"
        ),
        "spatial",
        2,
        ["Test/0002", "Test/0010", "Train/0002", "Train/0010"],
        "Test/0002_L.png",
        "Test/0002_R.png",
    ),
    "realblur": Expected(
        tuple(
            f"scene{scene}/{part}/{part}_{number}.png"
            for scene in ("001", "010")
            for part in ("gt", "blur")
            for number in (2, 10)
        ),
        "appearance",
        2,
        ["scene001 image 2", "scene001 image 10", "scene010 image 2", "scene010 image 10"],
        "scene001/gt/gt_2.png",
        "scene001/blur/blur_2.png",
    ),
    "view_folders": Expected(
        ("cup 2/front.png", "cup 2/top.JPG", "cup 2/2.webp", "cup 10/a.png", "cup 10/b.png", "cup 10/c.png"),
        "spatial",
        3,
        ["cup 2", "cup 10"],
        "cup 2/2.webp",
        "cup 2/top.JPG",
    ),
}
PUBLISHED = [name for name in SETS if name != "view_folders"]


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    """Creates a set's files, in random order, and returns the set's folder."""

    def create(name: str) -> Path:
        files = list(SETS[name].files)
        random.Random(0).shuffle(files)
        return touch(tmp_path / "above" / "data set", *files)

    return create


def refusal(name: str, root: Path) -> str:
    """The message of the error that reading a folder gives: one line that begins with the folder."""
    with pytest.raises(UserError) as error:
        read_view_set(name, root)
    message = str(error.value)
    assert message.startswith(f"{root}: ")
    assert "\n" not in message
    return message


def test_every_set_is_tested() -> None:
    assert list(VIEW_SET_NAMES) == list(SETS)


@pytest.mark.parametrize("name", SETS)
def test_groups_have_the_published_views_in_natural_order(name: str, tree: Callable[[str], Path]) -> None:
    root, expected = tree(name), SETS[name]
    read = read_view_set(name, root)
    assert (read.name, read.kind) == (name, expected.kind)
    assert [group.name for group in read.groups] == expected.groups
    assert {len(group.paths) for group in read.groups} == {expected.views}
    assert (read.groups[0].paths[0], read.groups[0].paths[-1]) == (root / expected.first, root / expected.last)


def test_the_paper_has_each_material_of_alot_under_one_light_alone(tmp_path: Path) -> None:
    lights, materials = (1, 2, 3, 4, 5, 8), (1, 2, 6, 7, 250)
    for material, camera, light, rotation in product(materials, (1, 2, 3, 4), lights, ("", "r60", "r120", "r180")):
        touch(tmp_path, f"{material}/{material}_c{camera}l{light}{rotation}.png")
    paper = read_view_set("alot_viewpoint", tmp_path, protocol="paper")
    # Materials take turns: the sixth has the last light, l8, the seventh the first one again, the 250th the fourth.
    under = zip(materials, (1, 2, 8, 1, 4), strict=True)
    assert [group.name for group in paper.groups] == [f"{material} light {light}" for material, light in under]
    assert {len(group.paths) for group in paper.groups} == {16}
    assert len(read_view_set("alot_viewpoint", tmp_path, protocol="clean").groups) == 6 * len(materials)
    assert (
        read_view_set("alot_illumination", tmp_path, protocol="paper").groups
        == read_view_set("alot_illumination", tmp_path).groups
    )


@pytest.mark.parametrize("name", SETS)
def test_every_view_is_a_file_of_one_group(name: str, tree: Callable[[str], Path]) -> None:
    root, expected = tree(name), SETS[name]
    paths = read_view_set(name, root).paths
    assert len(set(paths)) == len(paths) == len(expected.groups) * expected.views
    assert set(paths) <= {root / file for file in expected.files}


@pytest.mark.parametrize(
    ("name", "group", "files"),
    [
        ("aloi_illumination", "10 camera 3", [f"illumination/10/10_l{light}c3.png" for light in range(1, 9)]),
        (
            "alot_viewpoint",
            "10 light 8",
            [f"10/10_c{camera}l8{r}.png" for camera in range(1, 5) for r in ("", "r60", "r120", "r180")],
        ),
        ("alot_illumination", "2 camera 4 rotation 120", [f"2/2_c4l{light}r120.png" for light in (1, 2, 3, 4, 5, 8)]),
        ("alot_temperature", "10 camera 2", ["10/10_c2i.png", "10/10_c2l8.png"]),
        (
            "exposure_errors",
            "a0113",
            ["GT_IMAGES/a0113-a0002.jpg"]
            + [f"INPUT_IMAGES/a0113-a0002_{step}.JPG" for step in ("0", "N1.5", "N1", "P1.5", "P1")],
        ),
        ("flickr1024", "Train/0010", ["Train/0010_L.png", "Train/0010_R.png"]),
        ("realblur", "scene010 image 10", ["scene010/gt/gt_10.png", "scene010/blur/blur_10.png"]),
    ],
)
def test_what_a_group_holds(name: str, group: str, files: list[str], tree: Callable[[str], Path]) -> None:
    root = tree(name)
    groups = {found.name: found.paths for found in read_view_set(name, root).groups}
    assert sorted(groups[group]) == sorted(root / file for file in files)


def test_numbers_are_ordered_by_their_value(tree: Callable[[str], Path]) -> None:
    first = read_view_set("coil100", tree("coil100")).groups[0]
    assert [path.name for path in first.paths] == [f"obj2__{angle}.png" for angle in range(0, 360, 5)]


def test_flickr_may_lie_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "0001_L.png", "0001_R.png", "a_R_L.png", "a_R_R.png")
    assert [group.name for group in read_view_set("flickr1024", tmp_path).groups] == ["0001", "a_R"]


@pytest.mark.parametrize("kind", ["spatial", "appearance"])
@pytest.mark.parametrize("name", ["view_folders", "dali", "realblur"])
def test_a_kind_that_is_asked_for_is_taken(name: str, kind: str, tree: Callable[[str], Path]) -> None:
    assert read_view_set(name, tree(name), kind).kind == kind  # type: ignore[arg-type]


def test_unknown_names_and_kinds_are_refused(tree: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=r"'coil' is no view set; the view sets are coil100, .*, view_folders"):
        read_view_set("coil", tree("coil100"))
    with pytest.raises(UserError, match="kind is 'colour'; expected spatial or appearance"):
        read_view_set("coil100", tree("coil100"), "colour")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SETS)
def test_what_is_no_image_or_hidden_is_passed_over(name: str, tree: Callable[[str], Path]) -> None:
    root = tree(name)
    before = read_view_set(name, root)
    first = Path(SETS[name].first)
    beside = [str(first.parent / file) for file in ("readme.txt", ".DS_Store", "Thumbs.db", f"._{first.name}")]
    touch(root, *beside, "licence", f"__MACOSX/{first}", f".cache/{first}", ".thumbnail.png")
    assert read_view_set(name, root) == before


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("aloi_viewpoint", "mask/1/1.png"),
        ("dali", "points/1.png"),
        ("realblur", "scene001/gif/anaglyph_1.png"),
        ("alot_viewpoint", "3/3_c1i.png"),
        ("alot_temperature", "3/3_c1l1.png"),
    ],
)
def test_images_of_the_set_that_are_no_views_are_left_out(name: str, file: str, tree: Callable[[str], Path]) -> None:
    before = read_view_set(name, tree(name))
    assert read_view_set(name, touch(tree(name), file)) == before


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("coil100", "obj2_0.png"),
        ("coil100", "extra/obj2__0.png"),
        ("coil100", "obj2__0.jpg"),
        ("aloi_viewpoint", "viewpoint/cup/1.png"),
        ("aloi_illumination", "illumination/2/2_l1c4.png"),
        ("aloi_temperature", "temperature/2.png"),
        ("alot_viewpoint", "2/2_c1l6.png"),
        ("alot_illumination", "2/10_c1l1.png"),
        ("alot_temperature", "2/2_c5i.png"),
        ("exposure_errors", "EXPERT/a0002-dgw_005.jpg"),
        ("exposure_errors", "GT_IMAGES/a0002.jpg"),
        ("dali", "input/png/cover.png"),
        ("flickr1024", "Train/0002_M.png"),
        ("realblur", "scene001/gt/mean.png"),
        ("view_folders", "cover.png"),
        ("view_folders", "cup 2/closer/1.png"),
    ],
)
def test_an_image_that_fits_no_group_is_named(name: str, file: str, tree: Callable[[str], Path]) -> None:
    message = refusal(name, touch(tree(name), file))
    assert f"{file} is no view of {name}" in message
    assert "expected " in message


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_view_is_an_error_that_names_the_group_and_the_counts(name: str, tree: Callable[[str], Path]) -> None:
    root, expected = tree(name), SETS[name]
    (root / expected.last).unlink()
    message = refusal(name, root)
    assert f"group '{expected.groups[0]}'" in message
    if name not in ("alot_temperature", "exposure_errors", "flickr1024", "realblur"):
        assert f"has {expected.views - 1} views" in message
        assert f"expected {expected.views} views" in message


@pytest.mark.parametrize(
    ("name", "gone", "found", "wanted"),
    [
        ("exposure_errors", "GT_IMAGES/a0010-jmac_MG_4807.jpg", "5 INPUT_IMAGES", "1 GT_IMAGES and 5 INPUT_IMAGES"),
        (
            "exposure_errors",
            "INPUT_IMAGES/a0010-jmac_MG_4807_0.JPG",
            "1 GT_IMAGES and 4 INPUT_IMAGES",
            "1 GT_IMAGES and 5 INPUT_IMAGES",
        ),
        ("flickr1024", "Train/0002_L.png", "1 R", "1 L and 1 R"),
        ("realblur", "scene001/gt/gt_2.png", "1 blur", "1 gt and 1 blur"),
        ("alot_temperature", "2/2_c1l8.png", "1 i", "1 i and 1 l8"),
    ],
)
def test_the_message_says_which_part_is_missing(
    name: str, gone: str, found: str, wanted: str, tree: Callable[[str], Path]
) -> None:
    root = tree(name)
    (root / gone).unlink()
    message = refusal(name, root)
    assert f" has {found} (" in message
    assert message.endswith(f"expected {wanted}")


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("coil100", "obj2__00.png"),
        ("aloi_illumination", "illumination/2/copy_l1c1.png"),
        ("exposure_errors", "GT_IMAGES/a0002-copy.jpg"),
        ("dali", "input/png/2/33.png"),
        ("realblur", "scene001/gt/copy_2.png"),
    ],
)
def test_a_view_too_many_is_an_error(name: str, twin: str, tree: Callable[[str], Path]) -> None:
    assert f"group '{SETS[name].groups[0]}'" in refusal(name, touch(tree(name), twin))


def test_six_inputs_do_not_stand_in_for_a_ground_truth(tree: Callable[[str], Path]) -> None:
    root = touch(tree("exposure_errors"), "INPUT_IMAGES/a0002-dgw_005_N2.JPG")
    (root / "GT_IMAGES/a0002-dgw_005.jpg").unlink()
    assert "has 6 INPUT_IMAGES" in refusal("exposure_errors", root)


def test_folders_of_views_may_differ_in_number_but_not_have_one(tree: Callable[[str], Path]) -> None:
    root = touch(tree("view_folders"), "cup 2/more.png")
    assert [len(group.paths) for group in read_view_set("view_folders", root).groups] == [4, 3]
    message = refusal("view_folders", touch(root, "cup 9/1.png"))
    assert "group 'cup 9' of view_folders has 1 view (cup 9/1.png" in message
    assert message.endswith("expected at least 2 views")


def test_folders_of_views_take_every_extension_of_images(tmp_path: Path) -> None:
    touch(tmp_path, *(f"cup/view{extension}" for extension in EXTENSIONS))
    assert len(read_view_set("view_folders", tmp_path).paths) == len(EXTENSIONS)


def test_more_groups_than_were_published_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, *(f"input/png/{shape}/{view}.png" for shape in range(1, 14) for view in range(32)))
    assert "13 groups of views, but dali has no more than 12" in refusal("dali", tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_the_folder_above_is_refused_with_a_suggestion(name: str, tree: Callable[[str], Path]) -> None:
    root = tree(name)
    assert refusal(name, root.parent).endswith(f"; did you mean {root}?")
    assert refusal(name, root.parent.parent).endswith(f"; did you mean {root}?")


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("aloi_viewpoint", "viewpoint"),
        ("aloi_viewpoint", "viewpoint/2"),
        ("alot_illumination", "2"),
        ("exposure_errors", "GT_IMAGES"),
        ("dali", "input"),
        ("dali", "input/png"),
        ("realblur", "scene001"),
        ("realblur", "scene001/gt"),
        ("view_folders", "cup 2"),
    ],
)
def test_a_folder_below_is_refused_with_a_suggestion(name: str, below: str, tree: Callable[[str], Path]) -> None:
    root = tree(name)
    assert refusal(name, root / below).endswith(f"; did you mean {root}?")


def test_a_relative_folder_gets_its_suggestion_too(
    tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree("dali")
    monkeypatch.chdir(root / "input")
    assert refusal("dali", Path(".")).endswith(f"; did you mean {root}?")


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_layout_is_refused_with_what_was_expected_and_found(name: str, tmp_path: Path) -> None:
    message = refusal(name, touch(tmp_path, *(f"a/b/{n}.webp" for n in (10, 2, 1, 3))))
    assert f"not laid out as {name}; expected " in message
    assert ", such as " in message
    assert message.endswith("; found a/b/1.webp, a/b/2.webp, a/b/3.webp, ...")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_example_in_the_message_is_a_file_of_the_set(name: str, tmp_path: Path) -> None:
    example = refusal(name, tmp_path).split(", such as ")[1].split(";")[0]
    assert "group" in refusal(name, touch(tmp_path, example))


@pytest.mark.parametrize("name", SETS)
def test_missing_and_empty_folders_are_refused(name: str, tmp_path: Path) -> None:
    assert "no such folder" in refusal(name, tmp_path / "nowhere")
    assert refusal(name, tmp_path).endswith("found no files in it")
    assert refusal(name, touch(tmp_path, "data.zip")).endswith("found data.zip")
    assert "is a file, expected a folder of views" in refusal(name, tmp_path / "data.zip")


def test_a_subset_may_be_links_to_folders(tree: Callable[[str], Path], tmp_path: Path) -> None:
    root = tree("alot_temperature")
    (tmp_path / "subset").mkdir()
    (tmp_path / "subset" / "10").symlink_to(root / "10", target_is_directory=True)
    names = [group.name for group in read_view_set("alot_temperature", tmp_path / "subset").groups]
    assert names == [f"10 camera {camera}" for camera in (1, 2, 3, 4)]


def test_a_link_that_leads_back_up_ends(tree: Callable[[str], Path]) -> None:
    root = tree("view_folders")
    before = read_view_set("view_folders", root)
    (root / "cup 2" / "loop").symlink_to(root, target_is_directory=True)
    assert read_view_set("view_folders", root) == before


def test_a_folder_that_cannot_be_read_is_named(tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, scandir = tree("dali"), os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("10"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"input/png/10: folder cannot be read \(Permission denied\)"):
        read_view_set("dali", root)


def test_a_path_of_two_groups_is_listed_once() -> None:
    one, two, three = Path("1.png"), Path("2.png"), Path("3.png")
    views = ViewSet("view_folders", "spatial", (ViewGroup("a", (two, one)), ViewGroup("b", (one, three))))
    assert views.paths == (two, one, three)
    with pytest.raises(FrozenInstanceError):
        views.name = "other"  # type: ignore[misc]


def test_the_parts_of_a_dataset_are_no_groups_of_views(tmp_path: Path) -> None:
    for name in ("train/0.png", "train/1.png", "valid/0.png", "valid/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="train and valid hold images without folders of classes"):
        read_view_set("view_folders", tmp_path)
