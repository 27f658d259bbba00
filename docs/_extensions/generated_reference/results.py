"""Result files: a table of the fields of each, and a JSON schema, from the classes that write and read them."""

import inspect
import json
from typing import Any

from pydantic import BaseModel

from solo_invariance import results
from solo_invariance.results.document import Document
from solo_invariance.results.files import SCHEMA

from .docstrings import arguments_of
from .markdown import from_docstring, table

_FOLDER = "reference/results"
_INTRODUCTION = f"""
JSON with `"schema": {SCHEMA}` and a `kind`. What is not always there is *optional*; keys that this version does not
know are kept when a file is read and written again. `solo_invariance.read_result(PATH)` checks a file and gives an
object with these fields as attributes. [What a run writes](../files.md) has the other files.
"""
_WORDS = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}


def documents() -> list[type[Document]]:
    """Return the classes of the files, in the order of their names."""
    classes = [getattr(results, name) for name in results.__all__]
    found = [one for one in classes if inspect.isclass(one) and issubclass(one, Document) and hasattr(one, "kind")]
    return sorted(found, key=lambda one: (one.usual_name, one.kind))


def pages() -> dict[str, str]:
    """Return the page of all files, and the schema of each."""
    parts = ["# Result files", _INTRODUCTION]
    shared: dict[str, type[BaseModel]] = {}
    for document in documents():
        parts += [f"## {document.usual_name}, `kind: {document.kind}`", *_described(document)]
        parts += [f"JSON schema: {{download}}`{document.kind}.schema.json`."]
        shared |= {model.__name__: model for model in _models_within(document)}
    parts += ["## Parts of them"]
    for name, model in sorted(shared.items()):
        parts += [f"### {name}", *_described(model)]
    return {
        f"{_FOLDER}/index.md": "\n\n".join(parts) + "\n",
        **{f"{_FOLDER}/{one.kind}.schema.json": f"{json.dumps(schema_of(one), indent=2)}\n" for one in documents()},
    }


def schema_of(document: type[Document]) -> dict[str, Any]:
    """Return the JSON schema of a file, as it is written."""
    schema = document.model_json_schema(by_alias=True, mode="serialization")
    head = {"schema": {"const": SCHEMA}, "kind": {"const": document.kind}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": document.usual_name,
        "properties": {**head, **schema["properties"]},
        "required": [*head, *schema.get("required", [])],
    }


def fields_of(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of each field, as files have it."""
    schema, said = model.model_json_schema(by_alias=True, mode="serialization"), arguments_of(model)
    required = schema.get("required", [])
    rows = []
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        key = field.alias or name
        words = _type_in_words(schema["properties"][key])
        meaning = from_docstring(said.get(name, "")).replace("None ", "null ")
        rows.append((key, words if key in required else f"{words}, optional", meaning))
    return rows


def _described(model: type[BaseModel]) -> list[str]:
    first = from_docstring((inspect.getdoc(model) or "").split("\n\n")[0])
    rows = [[f"`{key}`", words, meaning] for key, words, meaning in fields_of(model)]
    return [first, table(["key", "type", "meaning"], rows)]


def _type_in_words(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type_in_words(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if schema.get("type") == "array":
        words = _type_in_words(schema.get("items") or {})
        return f"list of {words if words.startswith('[') or words == 'anything' else f'{words}s'}"
    if schema.get("type") == "object" and schema.get("additionalProperties") not in (None, True, {}):
        return f"mapping of names to {_type_in_words(schema['additionalProperties'])}"
    return _WORDS.get(schema.get("type", ""), "anything")


def _models_within(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the classes of the mappings within a file, at any depth."""
    names = model.model_json_schema(mode="serialization").get("$defs", {})
    known = {
        one.__name__: one for one in _subclasses(BaseModel) if one.__module__.startswith("solo_invariance.results")
    }
    return [known[name] for name in names]


def _subclasses(cls: type) -> list[type]:
    return [one for direct in cls.__subclasses__() for one in (direct, *_subclasses(direct))]
