"""A value inside a JSON file that knows its own address, so that every complaint names the file and the key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from solo_invariance.errors import UserError


@dataclass(frozen=True)
class JsonNode:
    """One value of a JSON document, with the file and the dotted key where it was found."""

    value: Any
    file: Path
    key: str = ""

    def fail(self, expected: str) -> NoReturn:
        """Raise the error that says what was expected here and what came instead."""
        found = json.dumps(self.value, default=str)
        shown = found if len(found) <= 60 else f"{found[:57]}..."
        where = f"key {self.key!r}" if self.key else "the document"
        raise UserError(f"{self.file}: {where} must be {expected}, not {shown}. Write the result again or remove it.")

    def __getitem__(self, name: str) -> JsonNode:
        address = f"{self.key}.{name}" if self.key else name
        if name not in self.mapping():
            raise UserError(f"{self.file}: key {address!r} is missing. Write the result again or remove it.")
        return JsonNode(self.value[name], self.file, address)

    def __contains__(self, name: str) -> bool:
        return self.mapping().get(name) is not None

    def items(self) -> Iterator[tuple[str, JsonNode]]:
        """The entries of a mapping, in the file's order."""
        return ((name, self[name]) for name in self.mapping())

    def elements(self) -> list[JsonNode]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            self.fail("a list")
        return [JsonNode(value, self.file, f"{self.key}[{index}]") for index, value in enumerate(self.value)]

    def mapping(self) -> Mapping[str, Any]:
        """The value itself, which must be a mapping."""
        if not isinstance(self.value, dict):
            self.fail("a mapping")
        mapping: Mapping[str, Any] = self.value
        return mapping

    def text(self) -> str:
        """The value itself, which must be a string with something in it."""
        if not isinstance(self.value, str) or not self.value.strip():
            self.fail("a text")
        return str(self.value)

    def integer(self) -> int:
        """The value itself, which must be a whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.fail("a whole number")
        return int(self.value)

    def number(self) -> float:
        """The value itself, which must be a finite number; off and on count as 0 and 1."""
        if not isinstance(self.value, (bool, int, float)) or not math.isfinite(self.value):
            self.fail("a finite number")
        return float(self.value)

    def numbers(self) -> tuple[float, ...]:
        """A list of finite numbers; a single number is a list of one."""
        return tuple(node.number() for node in self.elements()) if isinstance(self.value, list) else (self.number(),)


def read_json(file: Path) -> JsonNode:
    """The document in ``file``.

    Raises:
        UserError: The file cannot be read, or holds no valid JSON.
    """
    try:
        return JsonNode(json.loads(file.read_text(encoding="utf-8")), file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}). Check the file and its permissions.") from error
    except ValueError as error:
        raise UserError(f"{file}: is not valid JSON ({error}). Write the result again or remove it.") from error
