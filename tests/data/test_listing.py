import errno
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from solo_invariance.data.class_folders import class_names, read_class_folders
from solo_invariance.data.listing import list_images
from solo_invariance.data.view_sets import read_view_set
from solo_invariance.errors import UserError
from solo_invariance.families.contact_sheet import canvases_of


def _image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def _names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_images(root)]


def test_what_systems_leave_behind_is_no_image_for_anybody(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for name in ("a/0.png", "a/1.PNG", "b/0.png", "b/1.png"):
        _image(root / name)
    for name in (
        "a/.ipynb_checkpoints/0-checkpoint.png",
        ".ipynb_checkpoints/0.png",
        "__MACOSX/a/0.png",
        "b/__MACOSX/0.png",
        "b/@eaDir/0.png/thumb.jpg",
        "a/._0.png",
        ".trash/0.png",
    ):
        _image(root / name)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "a/Thumbs.db", "a/readme.txt"):
        (root / name).touch()
    expected = ["a/0.png", "a/1.PNG", "b/0.png", "b/1.png"]
    assert _names(root) == expected
    assert class_names(root) == ("a", "b")
    assert [path.relative_to(root).as_posix() for path in read_class_folders(root).paths] == expected
    views = read_view_set("view_folders", root)
    assert [path.relative_to(root).as_posix() for path in views.paths] == expected
    assert len(canvases_of(root, 99, 8)) == 4


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    root, store = tmp_path / "subset", tmp_path / "store"
    for name in ("n1/0.png", "n1/1.png", "n2/deep/0.png"):
        _image(store / name)
    root.mkdir()
    (root / "one").symlink_to(store / "n1")
    (root / "again").symlink_to(store / "n1")
    (root / "relative").symlink_to("../store/n2")
    (root / "file").mkdir()
    (root / "file" / "linked.png").symlink_to(store / "n1" / "0.png")
    expected = ["again/0.png", "again/1.png", "file/linked.png", "one/0.png", "one/1.png", "relative/deep/0.png"]
    assert _names(root) == expected
    classes = read_class_folders(root)
    assert classes.names == ("again", "file", "one", "relative")
    assert [path.relative_to(root).as_posix() for path in classes.paths] == expected
    (tmp_path / "root").symlink_to(root)
    assert _names(tmp_path / "root") == expected


@pytest.mark.parametrize("way", [".", "..", "../..", "../../..", "/", "../b"])
def test_a_link_that_leads_back_is_read_once(tmp_path: Path, way: str) -> None:
    root = tmp_path / "photos"
    for name in ("a/0.png", "b/0.png", "c/0.png"):
        _image(root / name)
    _image(tmp_path / "elsewhere.png")
    (root / "a" / "link").symlink_to(way)
    (root / "b" / "back").symlink_to("../a")
    between = ["a/link/0.png"] if way == "../b" else []
    expected = ["a/0.png", *between, "b/0.png", "b/back/0.png", "c/0.png"]
    assert _names(root) == expected
    # By class it is the same: who reads a folder sees what who reads the one above sees of it.
    assert [path.relative_to(root).as_posix() for path in read_class_folders(root).paths] == expected
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").symlink_to(root / "a")
    (root / "c" / "home").symlink_to(outside)
    assert _names(outside) == [f"a/{name}" for name in _names(outside / "a")]


def test_a_folder_that_a_link_leads_to_lies_where_the_link_is_and_where_it_is(tmp_path: Path) -> None:
    store, photos = tmp_path / "store" / "a", tmp_path / "photos"
    for file in (store / "0.png", store.parent / "1.png", photos / "2.png"):
        _image(file)
    (photos / "a").symlink_to(store)
    (store / "to photos").symlink_to(photos)
    (store / "to store").symlink_to("..")
    assert _names(photos / "a") == ["0.png"]
    assert _names(photos) == ["2.png", "a/0.png"]


def test_folders_of_links_to_one_another_end_in_one_line(tmp_path: Path) -> None:
    for name in range(9):
        _image(tmp_path / str(name) / "0.png")
        for other in range(9):
            if other != name:
                (tmp_path / str(name) / f"to{other}").symlink_to(tmp_path / str(other))
    with pytest.raises(UserError, match="more than 1000 ways along links lead to this folder"):
        list_images(tmp_path)


@pytest.mark.parametrize("target", ["gone", "lost"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, target: str) -> None:
    _image(tmp_path / "a" / "0.png")
    (tmp_path / "lost").symlink_to(target)  # "lost" leads to itself
    for read in (list_images, class_names, canvases_of):
        with pytest.raises(UserError, match=rf"{tmp_path}/lost: a link that leads nowhere \({target}\)"):
            read(tmp_path, *((1, 8) if read is canvases_of else ()))  # type: ignore[operator]
    (tmp_path / "lost").unlink()
    (tmp_path / ".hidden").symlink_to(target)
    (tmp_path / "a" / "1.png").symlink_to(target)  # whoever reads it names it, or leaves it out
    assert _names(tmp_path) == ["a/0.png", "a/1.png"]


def test_what_is_neither_file_nor_folder_is_passed_over(tmp_path: Path) -> None:
    _image(tmp_path / "0.png")
    os.mkfifo(tmp_path / "1.png")  # reading it would wait for ever
    (tmp_path / "2.png").symlink_to("/dev/zero")
    assert _names(tmp_path) == ["0.png"]


def test_a_closed_door_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _image(tmp_path / "a" / "0.png")
    _image(tmp_path / "b" / "0.png")
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"/b: folder cannot be read \(Permission denied\)"):
        list_images(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, r"x: folder cannot be read \(File name too long\)"),
        ("a\0b", "no such folder of images"),
        ("nowhere", "no such folder of images"),
        ("file/below", "no such folder of images"),
        ("file", "is a file, expected a folder of images"),
        ("round", r"round: folder cannot be read \(Too many levels of symbolic links\)"),
    ],
)
def test_a_root_that_is_no_folder_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UserError, match=message):
        list_images(tmp_path / name)


def test_what_else_is_there_is_said(tmp_path: Path) -> None:
    for name in ("a.heic", "b.HEIC", "c.gif", "notes"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"nor below it; its files are 2 \.heic, 1 \.gif, 1 nameless ones"):
        list_images(tmp_path)


def test_names_of_any_bytes_and_depth_are_read(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"cl\xffass")
    odd.mkdir()
    with open(odd / os.fsdecode(b"\xfe.png"), "wb") as file:
        Image.new("RGB", (8, 8)).save(file, "PNG")
    assert read_class_folders(tmp_path).names == (os.fsdecode(b"cl\xffass"),)
    assert len(canvases_of(tmp_path, 1, 8)) == 1
    deep, here = tmp_path / "deep", os.getcwd()
    deep.mkdir()
    try:
        os.chdir(deep)
        for _ in range(1200):  # deeper than Python's calls
            os.mkdir("d")
            os.chdir("d")
        _image(Path("0.png"))
        os.chdir(here)
        assert len(list_images(deep)) == 1
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-r", str(deep)], check=True)  # which pytest cannot


def test_the_order_is_that_of_the_names_level_by_level(tmp_path: Path) -> None:
    for name in ("a-b/0.png", "a/0.png", "a/10.png", "a/2.png", "a.png", "B/0.png"):
        _image(tmp_path / name)
    assert list_images(tmp_path) == sorted(list_images(tmp_path))
    assert _names(tmp_path) == ["B/0.png", "a/0.png", "a/10.png", "a/2.png", "a-b/0.png", "a.png"]
