import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results import InvarianceResult

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "expected schema 1, found 2"),
        ({"schema": None}, "expected schema 1, found None"),
        ({"kind": "transfer"}, "key 'kind' must be 'invariance', not \"transfer\""),
        ({"label": " "}, "key 'label' must be a text"),
        ({"num_images": 2.5}, "key 'num_images' must be a whole number, not 2.5"),
        ({"seed": True}, "key 'seed' must be a whole number, not true"),
        ({"backbone": {}}, "key 'backbone.name' is missing"),
        ({"config": []}, "key 'config' must be a mapping"),
    ],
)
def test_names_the_file_and_the_key(write_invariance: Make, changes: dict[str, Any], message: str) -> None:
    file = write_invariance("run", "ventral", **changes)
    with pytest.raises(UserError) as error:
        InvarianceResult.read(file)
    assert str(error.value).startswith(f"{file}: ")
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2", b"\xff\xfe"])
def test_a_broken_file_is_an_error_that_says_what_to_do(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "invariance.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        UserError, match=r"invariance\.json: is not valid JSON .* Write the result again or remove it\."
    ):
        InvarianceResult.read(file)


def test_a_document_that_is_no_mapping_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "invariance.json"
    file.write_text(json.dumps([1]))
    with pytest.raises(UserError, match="the document must be a mapping, not"):
        InvarianceResult.read(file)
