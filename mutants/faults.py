"""The list of faults: data, one YAML file for each part of the package."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LISTS = Path(__file__).parent / "lists"


class StaleList(ValueError):
    """The list of faults does not fit the source: it is the list that is to be mended."""


@dataclass(frozen=True)
class Fault:
    """A piece of one line that is replaced by another.

    Args:
        file: Where, from the root of the tree.
        was: What stands there, once.
        becomes: What takes its place.
        tests: What pytest is given; it should fail.
    """

    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.file}: {self.was} -> {self.becomes}"

    def planted(self, source: str) -> str:
        """Return the source with the fault.

        Raises:
            StaleList: What is to be replaced is not there once, or the tests would be given what they are given now.
        """
        found = source.count(self.was)
        if found != 1 or self.was == self.becomes:
            raise StaleList(f"{self.name}: {found} places have that text, expected one, to be changed; mend the list")
        return source.replace(self.was, self.becomes)


def read_faults(lists: Path = LISTS, only: str = "") -> list[Fault]:
    """Return all faults, or those whose file or list has a text in its path.

    Raises:
        StaleList: An entry is not of the form ``FILE: {tests: [...], faults: [{was: ..., becomes: ...}]}``.
    """
    return [
        fault
        for path in sorted(lists.glob("*.yaml"))
        for fault in _of_list(path)
        if only in f"{path.stem} {fault.file}"
    ]


def check(faults: list[Fault], root: Path) -> None:
    """Raise StaleList, naming all of them, where faults do not fit a tree; two that are the same are one too many."""
    wrong = [f"{fault.name}: is there twice" for fault in {f for f in faults if faults.count(f) > 1}]
    for fault in faults:
        wrong += [
            f"{fault.name}: there is no {test}" for test in fault.tests if not (root / test.split("::")[0]).exists()
        ]
        try:
            fault.planted((root / fault.file).read_text(encoding="utf-8"))
        except (StaleList, OSError) as error:
            wrong.append(str(error))
    if wrong:
        raise StaleList("\n".join(wrong))


def _of_list(path: Path) -> Iterator[Fault]:
    text = path.read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    for file, part in content.items():
        if len(re.findall(rf"^{re.escape(file)}:", text, re.MULTILINE)) > 1:  # of which YAML reads the last
            raise StaleList(f"{path.name}: {file}: is there twice; put its faults together")
        for entry in part["faults"]:
            if not {"was", "becomes"} <= entry.keys() <= {"was", "becomes", "tests"}:
                raise StaleList(f"{path.name}: {file}: {entry}: expected was, becomes and perhaps tests")
            yield Fault(file, entry["was"], entry["becomes"], tuple(entry.get("tests", part["tests"])))
