import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results import Estimate, TransferResult

Make = Callable[..., Any]


def test_reads_every_number_of_a_transfer_file(write_transfer: Make) -> None:
    result = TransferResult.read(write_transfer("run", "ventral", "shape", 0.5, penalty=None))
    assert (result.task, result.metric, result.score) == ("shape", "accuracy", Estimate(mean=0.5, ci95=(0.48, 0.52)))
    assert (result.penalty, result.folds, result.probe) == (None, 5, "logistic")
    assert (result.num_train, result.num_test, result.protocol) == (1000, 500, None)
    assert (result.backbone.name, result.backbone.checkpoint, result.backbone.num_features) == (
        "resnet10",
        "ventral.ckpt",
        128,
    )


def test_what_transfer_writes_is_read_and_written_again_as_it_was(written: Path, tmp_path: Path) -> None:
    file = written / "transfer/resnet10/transfer.json"
    content, result = json.loads(file.read_text()), TransferResult.read(file)
    assert result.score.mean == content["score"]
    assert [result.score.low, result.score.high] == content["ci95"]
    assert result.details == content["details"]
    assert TransferResult.from_content(content).as_content() == result.as_content() == content
    result.write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == content


@pytest.mark.parametrize("missing", [(), ("penalty",)])
def test_files_of_older_versions_are_written_as_they_were(write_transfer: Make, missing: tuple[str, ...]) -> None:
    content = json.loads(write_transfer("run", "ventral", "shape", 0.5).read_text())
    content = {key: value for key, value in content.items() if key not in missing}
    assert TransferResult.from_content(content).as_content() == content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": float("inf")}, "key 'score' must be a finite number, not Infinity"),
        ({"ci95": [0.5, float("nan")]}, r"key 'ci95\[1\]' must be a finite number, not NaN"),
        ({"ci95": [0.6, 0.5]}, r"key 'ci95' must be \[low, high\], not \[0.6, 0.5\]"),
        ({"penalty": "0.1"}, "key 'penalty' must be a finite number, not \"0.1\""),
        ({"timings": {"total": "long"}}, "key 'timings.total' must be a finite number, not \"long\""),
    ],
)
def test_what_a_writer_gets_wrong_is_named(write_transfer: Make, changes: dict[str, Any], message: str) -> None:
    content = json.loads(write_transfer("run", "ventral", "shape", 0.5).read_text())
    with pytest.raises(UserError, match=f"^transfer.json: {message}"):
        TransferResult.from_content(content | changes)


def test_what_is_not_checked_must_still_be_json(write_transfer: Make, tmp_path: Path) -> None:
    content = json.loads(write_transfer("run", "ventral", "shape", 0.5).read_text())
    result = TransferResult.from_content(content | {"details": {"loss": float("nan")}})
    with pytest.raises(UserError, match=r"again\.json: cannot be written as JSON"):
        result.write(tmp_path / "again.json")
    assert not (tmp_path / "again.json").exists()
