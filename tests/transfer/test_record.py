from types import SimpleNamespace
from typing import Any

import pytest
import torch

from solo_invariance.transfer.record import identity_of

_RECORD = {"backbone": {"name": "timm:resnet18"}, "seed": 0, "out": "here"}


def _data(train: str = "a", test: str = "b", targets: float = 1.0) -> Any:
    split = SimpleNamespace(targets=torch.tensor([0.0, targets]))
    return SimpleNamespace(train=split, test=split, train_digests=[train], test_digests=[test])


@pytest.mark.parametrize(
    ("record", "weights", "data"),
    [
        (_RECORD, "other", _data()),
        (_RECORD, "w", _data(train="other")),
        (_RECORD, "w", _data(test="other")),
        (_RECORD, "w", _data(targets=2.0)),
        ({**_RECORD, "seed": 1}, "w", _data()),
    ],
)
def test_a_score_is_known_by_all_that_it_depends_on(record, weights: str, data: Any) -> None:
    assert identity_of(record, weights, data) != identity_of(_RECORD, "w", _data())


def test_where_it_goes_is_no_part_of_it() -> None:
    assert identity_of({**_RECORD, "out": "there"}, "w", _data()) == identity_of(_RECORD, "w", _data())
