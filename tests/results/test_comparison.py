import json
from pathlib import Path

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results import InvarianceComparison, TransferComparison


def test_a_comparison_of_measurements_is_read_and_written_again_as_it_was(written: Path) -> None:
    file = written / "measure/resnet18/comparison.json"
    content, comparison = json.loads(file.read_text()), InvarianceComparison.read(file)
    rotation = comparison.transforms["rotation"]
    assert rotation.num_images == 4
    assert rotation.metric("distance").mean == content["transforms"]["rotation"]["distance"]["mean"]
    assert comparison.against.out == str(written / "measure/resnet10")
    assert comparison.views.keys() == content["views"].keys()
    assert comparison.as_content() == content


def test_a_comparison_of_scores_is_read_and_written_again_as_it_was(written: Path) -> None:
    file = written / "transfer/resnet18/comparison.json"
    content, comparison = json.loads(file.read_text()), TransferComparison.read(file)
    assert comparison.difference.mean == content["difference"]
    assert list(comparison.difference.ci95) == content["ci95"]
    assert comparison.as_content() == content


def test_one_kind_is_not_the_other(written: Path) -> None:
    with pytest.raises(UserError, match="key 'kind' must be 'comparison', not \"transfer_comparison\""):
        InvarianceComparison.read(written / "transfer/resnet18/comparison.json")
