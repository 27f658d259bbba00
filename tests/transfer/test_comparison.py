"""What another run kept is compared whatever kind of numbers it has."""

from pathlib import Path

import numpy as np
import pytest
import torch

from solo_invariance.errors import UserError
from solo_invariance.transfer import TransferSettings, transfer
from solo_invariance.transfer.comparison import compare_scores


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.uint64])
def test_whole_numbers_of_any_kind_compare(host_checkpoint, tmp_path: Path, kind: type[np.generic]) -> None:
    images = torch.randint(256, (48, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    classes = torch.arange(48) % 3
    task = (images[:24], classes[:24], images[24:], classes[24:])
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for seed, place in enumerate((ours, theirs)):
        checkpoint = host_checkpoint(("ventral", "dorsal")[seed], seed)
        transfer(checkpoint, task, TransferSettings(folds=2), out=place, device="cpu", cache=False)
    expected = compare_scores(ours, theirs, seed=0)
    arrays = dict(np.load(theirs / "transfer.npz"))
    np.savez(theirs / "transfer.npz", **{**arrays, "targets": arrays["targets"].astype(kind)})
    found = compare_scores(ours, theirs, seed=0)
    assert (found.difference, found.ci95) == (expected.difference, expected.ci95)


@pytest.mark.parametrize("kind", [torch.int64, torch.float32])
def test_other_targets_of_the_same_images_are_refused_before_scoring(
    host_checkpoint, tmp_path: Path, kind: torch.dtype
) -> None:
    images = torch.randint(256, (48, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    classes = (torch.arange(48) % 3).to(kind)
    for name, targets in (("theirs", classes), ("ours", classes.flip(0))):
        task = (images[:24], targets[:24], images[24:], targets[24:])
        given = {"out": tmp_path / name, "device": "cpu", "cache": False}
        if name == "theirs":
            transfer(host_checkpoint(), task, TransferSettings(folds=2), **given)
            continue
        with pytest.raises(UserError, match="other targets are predicted there"):
            transfer(host_checkpoint(), task, TransferSettings(folds=2), against=tmp_path / "theirs", **given)
        assert not (tmp_path / name).exists()
