import json
from pathlib import Path

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results import (
    InvarianceComparison,
    InvarianceResult,
    TransferComparison,
    TransferResult,
    read_result,
)


def test_a_file_says_which_kind_it_is(written: Path) -> None:
    kinds = {
        "measure/resnet10/invariance.json": InvarianceResult,
        "transfer/resnet10/transfer.json": TransferResult,
        "measure/resnet18/comparison.json": InvarianceComparison,
        "transfer/resnet18/comparison.json": TransferComparison,
    }
    for name, kind in kinds.items():
        result = read_result(written / name)
        assert type(result) is kind
        assert result.file == written / name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": 1}, "key 'kind' is missing"),
        ({"schema": 1, "kind": "poem"}, "key 'kind' must be 'invariance' or 'transfer' or .*, not \"poem\""),
    ],
)
def test_another_file_is_an_error(tmp_path: Path, content: dict[str, object], message: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"x\.json: {message}"):
        read_result(tmp_path / "x.json")
