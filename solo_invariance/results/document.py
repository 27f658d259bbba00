"""What all result files share: checked as they are read, never changed, and written as they were read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from solo_invariance.errors import UserError
from solo_invariance.results.files import REMEDY, SCHEMA, as_text, read_json, shortened, write_json

# The text of a number, and off and on, are no numbers.
Finite = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Text = Annotated[str, StringConstraints(pattern=r"\S")]

AnyDocument = TypeVar("AnyDocument", bound="Document")

# By the start of the name that pydantic gives to what is wrong.
_EXPECTED = {
    "finite_number": "a finite number",
    "float": "a finite number",
    "int": "a whole number",
    "string": "a text",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
}


class Record(BaseModel):
    """A mapping of a result file as a value that cannot be changed.

    Keys that this version does not know are kept: they are attributes, and are written again. Keys that a file does not
    have are not written either, so that what is read and written is equal.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, populate_by_name=True, ser_json_inf_nan="constants"
    )

    def as_content(self) -> dict[str, Any]:
        """Return plain data as JSON has them: lists, mappings, numbers and texts."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, list(value) if isinstance(value, Mapping) else value


class Document(Record):
    """A result file; ``file`` is where it was read from, or its usual name."""

    kind: ClassVar[str]
    usual_name: ClassVar[str]

    file: Path = Field(exclude=True, repr=False)

    @classmethod
    def from_content(cls: type[AnyDocument], content: Mapping[str, Any], file: Path | str | None = None) -> AnyDocument:
        """Return the result that plain data describe, as JSON has them.

        Args:
            content: With ``schema`` and ``kind``.
            file: Where they come from, for what is said of what is wrong with them.

        Raises:
            UserError: It is of another schema or kind, or a value is missing, of the wrong type or not finite; the
                message names the file and the key.
        """
        file = Path(cls.usual_name if file is None else file)
        if content.get("schema") != SCHEMA:
            found = content.get("schema")
            raise UserError(f"{file}: expected schema {SCHEMA}, found {found!r}. Write it again with this version.")
        require_kind(content, file, [cls.kind])
        body = as_text({key: value for key, value in content.items() if key not in ("schema", "kind")})
        try:
            return cls.model_validate({**body, "file": file})
        except ValidationError as error:
            raise explained(error, body, file) from error

    def as_content(self) -> dict[str, Any]:
        """Return the whole file's content as plain data, as JSON has them."""
        return {"schema": SCHEMA, "kind": self.kind, **super().as_content()}

    @classmethod
    def read(cls: type[AnyDocument], path: Path | str) -> AnyDocument:
        """Read and check a file.

        Raises:
            UserError: It cannot be read, or see ``from_content``.
        """
        return cls.from_content(read_json(Path(path)), path)

    def write(self, path: Path | str) -> None:
        """Write the result as JSON, whole or not at all; directories are made.

        Raises:
            UserError: The file cannot be written, or a number that is not checked is not finite.
        """
        write_json(Path(path), self.as_content())


def require_kind(content: Mapping[str, Any], file: Path, kinds: Sequence[str]) -> None:
    """Raise UserError where a file's content is of none of some kinds."""
    if "kind" not in content:
        raise UserError(f"{file}: key 'kind' is missing. {REMEDY}")
    if content["kind"] not in kinds:
        expected = " or ".join(map(repr, kinds))
        raise UserError(f"{file}: key 'kind' must be {expected}, not {_shown(content['kind'])}. {REMEDY}")


def explained(error: ValidationError, content: Mapping[str, Any], file: Path) -> UserError:
    """Return what says the first thing that is wrong with a file's content, and at which key."""
    return UserError(f"{file}: {_complaint(error, content)}. {REMEDY}")


def wrong(expected: str, *at: str) -> PydanticCustomError:
    """Return what a check raises: what was expected, and at which key below the value that is checked."""
    # In braces, since the library fills in what it finds in them.
    return PydanticCustomError("wrong", "{expected}", {"expected": expected, "at": at})


def _complaint(error: ValidationError, content: Mapping[str, Any]) -> str:
    """Return the first thing that is wrong with a file's content, with its key."""
    first = error.errors(include_url=False, include_input=False)[0]
    context = first.get("ctx", {})
    parts = (*first["loc"], *context.get("at", ()))
    key, value = _find(content, parts)
    if first["type"] == "missing":
        return f"key {f'{key}.{parts[-1]}'.lstrip('.')!r} is missing"
    named = [expected for start, expected in _EXPECTED.items() if first["type"].startswith(start)]
    expected = context.get("expected") or (named[0] if named else f"valid ({first['msg']})")
    return f"key {key!r} must be {expected}, not {_shown(value)}"


def _find(content: Any, parts: Sequence[int | str]) -> tuple[str, Any]:
    """Return the dotted key and the value that a path leads to; parts of it that are not in the file are left out."""
    key = ""
    for part in parts:
        if isinstance(content, Mapping) and part in content:
            key, content = f"{key}.{part}".lstrip("."), content[part]
        elif isinstance(content, list | tuple) and isinstance(part, int) and part < len(content):
            key, content = f"{key}[{part}]", content[part]
    return key, content


def _shown(value: Any) -> str:
    return shortened(json.dumps(value, default=str))
