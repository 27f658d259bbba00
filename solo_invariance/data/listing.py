"""What counts in a folder of images: one rule for all who list files."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from solo_invariance.config.checks import require_directory
from solo_invariance.errors import UserError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""Of image files, in capitals or not; they are torchvision's."""

# Left behind by archives, network drives and file systems; some of them hold a small copy of every image.
_LEFT_BEHIND = frozenset({"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"})
# Folders of links to one another can be read in more ways than there are images anywhere.
_MOST_WAYS = 1000
_SHOWN = 3

_Inode = tuple[int, int]


class Contents(NamedTuple):
    """The names in a folder that count, sorted.

    Attributes:
        folders: Folders, and links to folders.
        files: Files, and links to files or with an image's extension; whoever reads such a link finds out that it
            leads nowhere.
    """

    folders: list[str]
    files: list[str]

    @property
    def images(self) -> list[str]:
        """The files that are images by their names."""
        return [name for name in self.files if is_image(name)]


def is_image(name: str) -> bool:
    """Return whether a file is an image by its name.

    Example:
        >>> is_image("cat.JPG"), is_image("Thumbs.db")
        (True, False)
    """
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def contents_of_folder(folder: Path | str) -> Contents:
    """Return what counts in a folder.

    Hidden entries do not (``.ipynb_checkpoints``, ``._cat.jpg``, ``.DS_Store``), nor what systems leave behind
    (``__MACOSX``, ``@eaDir``), nor what is neither file nor folder, such as a socket.

    Raises:
        UserError: The folder cannot be read, or a link in it that has no image's extension leads nowhere, so that it
            may have been a folder of images.
    """
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _LEFT_BEHIND:
                    continue
                # Unlike the entry's own methods, these see no loops of links and closed doors, but only what is there.
                if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path)):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False) or _leads_to_file(entry):
                    files.append(entry.name)
    except OSError as error:
        raise UserError(f"{folder}: folder cannot be read ({error.strerror})") from error
    return Contents(sorted(folders), sorted(files))


def _leads_to_file(entry: "os.DirEntry[str]") -> bool:
    if not entry.is_symlink():
        return False
    if os.path.exists(entry.path):
        return os.path.isfile(entry.path)
    if is_image(entry.name):
        return True
    raise UserError(f"{entry.path}: a link that leads nowhere ({os.readlink(entry.path)}); mend it, or remove it")


def files_below(root: Path | str) -> Iterator[str]:
    """Yield the paths of the files below a folder, in the order of their names, level by level.

    Links are followed, to folders and to files: a folder that two links lead to is there twice. A link that leads back
    to a folder that it lies in is passed over.

    Raises:
        UserError: A folder cannot be read, or a link leads nowhere.
    """
    ways: Counter[_Inode] = Counter()
    # A stack and no recursion: folders may be nested deeper than Python's calls.
    waiting: list[tuple[str, frozenset[_Inode] | None]] = [(os.fspath(root), _inodes_above(root))]
    while waiting:
        path, above = waiting.pop()
        if above is None:
            yield path
            continue
        here = _inode(path)
        if here in above:
            continue
        ways[here] += 1
        if ways[here] > _MOST_WAYS:
            raise UserError(f"{path}: more than {_MOST_WAYS} ways along links lead to this folder; remove some links")
        found, inside = contents_of_folder(path), above | {here}
        if os.path.islink(path):
            inside |= _inodes_above(path)
        kinds = dict.fromkeys(found.folders, inside) | dict.fromkeys(found.files)
        waiting += [(os.path.join(path, name), kinds[name]) for name in sorted(kinds, reverse=True)]


def list_images(root: Path) -> list[Path]:
    """Return the paths of all images below a folder, sorted.

    Raises:
        UserError: There is no such folder, or no image in it, or a part of it cannot be read.
    """
    require_directory(root, "images")
    paths = [Path(path) for path in files_below(root) if is_image(path)]
    if not paths:
        raise UserError(
            f"{root}: no images in it ({', '.join(sorted(EXTENSIONS))}), nor below it{_others(files_below(root))}"
        )
    return paths


def _others(files: Iterator[str]) -> str:
    counts = Counter(os.path.splitext(path)[1].lower() or "nameless ones" for path in files)
    listed = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(_SHOWN))
    return f"; its files are {listed}" if listed else ""


def _inodes_above(folder: Path | str) -> frozenset[_Inode]:
    """The folders that a folder lies in, by its path and in truth: a link to one of them leads back."""
    places = {Path(os.path.abspath(folder)), Path(os.path.realpath(folder))}
    return frozenset(_inode(str(above)) for place in places for above in place.parents)


def _inode(path: str) -> _Inode:
    try:
        found = os.stat(path)
    except OSError as error:
        raise UserError(f"{path}: folder cannot be read ({error.strerror})") from error
    return found.st_dev, found.st_ino
