"""``compare``: two directories, whatever they hold."""

from pathlib import Path

import pytest
import torch
from torch import nn

from solo_invariance import Backbone, MeasureSettings, UserError, compare, measure, read_result, transfer
from solo_invariance.results import InvarianceComparison, TransferComparison


def _pooled(cells: int) -> Backbone:
    """Each colour's mean in ``cells`` x ``cells`` parts of the image."""
    return Backbone.of(nn.Sequential(nn.AdaptiveAvgPool2d(cells), nn.Flatten()), crop_size=32, label=f"{cells}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (80, 3, 40, 40), generator=draw, dtype=torch.uint8)
    targets = images[..., :20].float().mean((1, 2, 3))  # of the left half, which one cell does not tell
    own = (images[:50], targets[:50], images[50:], targets[50:])
    for cells in (1, 2):
        settings = MeasureSettings(k=4, num_images=40)
        measure(_pooled(cells), images, ["h_flip"], settings, out=folder / f"m{cells}", device="cpu")
        transfer(_pooled(cells), own, out=folder / f"t{cells}", device="cpu")
    return folder


def test_what_was_measured_is_compared(runs: Path) -> None:
    found = compare(runs / "m1", runs / "m2")
    assert isinstance(found, InvarianceComparison)
    means = [read_result(runs / name / "invariance.json").transforms["h_flip"].similarity.mean for name in ("m1", "m2")]
    difference = found.transforms["h_flip"].metric("similarity")
    assert difference.mean == pytest.approx(means[0] - means[1])
    assert difference.low > 0  # a mirror changes no mean over the whole image
    assert InvarianceComparison.read(runs / "m1" / "comparison.json").as_content() == found.as_content()


def test_what_was_scored_is_compared(runs: Path) -> None:
    found = compare(str(runs / "t1"), str(runs / "t2"), seed=3)
    assert isinstance(found, TransferComparison)
    scores = [read_result(runs / name / "transfer.json").score.mean for name in ("t1", "t2")]
    assert found.difference.mean == pytest.approx(scores[0] - scores[1])
    assert found.difference.high < 0
    assert (found.label, found.against.label, found.seed) == ("1", "2", 3)


def test_what_cannot_be_compared_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t1: has no invariance\.json, which .*m1 is to be compared with"):
        compare(runs / "m1", runs / "t1")
    with pytest.raises(UserError, match=r"holds no invariance\.json and no transfer\.json"):
        compare(tmp_path, runs / "m1")
