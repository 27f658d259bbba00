"""Which files a table's names of images are."""

import os
from functools import cached_property
from pathlib import Path

from solo_invariance.data.listing import contents_of_folder, is_image
from solo_invariance.data.parts import part_name


class ImageNames:
    """Finds the files of a folder that a table names.

    Args:
        folder: That names are relative to.
        part: What the table is called, or the part of a dataset that it is of. Where that names a part, images may lie
            in this part's folder in ``folder``, too: those that a table of the test names, in ``test``.
    """

    def __init__(self, folder: Path, part: str = "") -> None:
        self.folder = folder
        self._folders = ["", *_folders_of(folder, part)]

    def file(self, name: str) -> Path | None:
        """Return the file of a name, which may have the backslashes of Windows; None where there is none."""
        for folder in self._folders if name else ():
            for spelt in (name, name.replace("\\", "/")):
                path = os.path.join(self.folder, folder, spelt)
                if os.path.isfile(path):
                    return Path(path)
        return None

    def by_stem(self, name: str) -> Path | None:
        """Return the only image file that has a name but for its ending; None where there is none, or several."""
        for folder in self._folders:
            spelt = os.path.join(folder, name.replace("\\", "/"))
            found = self._stems(os.path.dirname(spelt)).get(os.path.basename(spelt), ())
            if found:
                return Path(self.folder, os.path.dirname(spelt), found[0]) if len(found) == 1 else None
        return None

    def find(self, name: str) -> Path | None:
        """Return the file of a name, with its ending or without; None where there is none."""
        return self.file(name) or self.by_stem(name)

    def spelt(self, name: str) -> str:
        """Return the name relative to ``folder`` where it is one in the part's folder; else as it is."""
        found = self.find(name) if len(self._folders) > 1 else None
        return name if found is None or os.path.isabs(name) else found.relative_to(self.folder).as_posix()

    def _stems(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listed:
            stems: dict[str, list[str]] = {}
            place = os.path.join(self.folder, folder)
            for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
                if is_image(name):
                    stems.setdefault(os.path.splitext(name)[0], []).append(name)
            self._listed[folder] = stems
        return self._listed[folder]

    @cached_property
    def _listed(self) -> dict[str, dict[str, list[str]]]:
        return {}


def _folders_of(folder: Path, part: str) -> list[str]:
    named = part_name(part)
    if named is None or not folder.is_dir():
        return []
    return [
        name for name in contents_of_folder(folder).folders if (found := part_name(name)) and found.role == named.role
    ]
