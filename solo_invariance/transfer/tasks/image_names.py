"""Which files a table's names of images are."""

import os
from functools import cached_property
from pathlib import Path

from solo_invariance.data.listing import is_image


class ImageNames:
    """Finds the files of a folder that a table names.

    Args:
        folder: That names are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path | None:
        """Return the file of a name, which may have the backslashes of Windows; None where there is none."""
        for spelt in (name, name.replace("\\", "/")):
            path = os.path.join(self.folder, spelt)
            if name and os.path.isfile(path):
                return Path(path)
        return None

    def by_stem(self, name: str) -> Path | None:
        """Return the only image file that has a name but for its ending; None where there is none, or several."""
        spelt = name.replace("\\", "/")
        found = self._stems(os.path.dirname(spelt)).get(os.path.basename(spelt), ())
        return Path(self.folder, os.path.dirname(spelt), found[0]) if len(found) == 1 else None

    def find(self, name: str) -> Path | None:
        """Return the file of a name, with its ending or without; None where there is none."""
        return self.file(name) or self.by_stem(name)

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
