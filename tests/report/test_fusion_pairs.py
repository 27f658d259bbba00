"""Which pairs to fuse: ranked, bounded, of the same images, with intervals over images."""

from pathlib import Path

import numpy as np
import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.fusion_pairs import MOST_PAIRS, fusion_pairs
from tests.report.planted import NAMES, scores, write_measured

KINDS = {"rotation": "spatial", "hue": "appearance"}


def _write(folder: Path, label: str, rotation: float, hue: float, **changes: object) -> None:
    noise = np.random.default_rng(len(label)).normal(0, 0.01, 200)
    similar = {"rotation": scores(0) + rotation + noise, "hue": scores(1) + hue + noise}
    write_measured(folder / label, label, similar, kinds=KINDS, **changes)  # type: ignore[arg-type]


def test_pairs_that_bring_something_both_ways_come_first(tmp_path: Path) -> None:
    """a and b ignore different things; c ignores most of all, and sees little that b ignores."""
    for label, rotation, hue in (("a", 0.3, 0.0), ("b", 0.0, 0.2), ("c", 0.5, 0.05)):
        _write(tmp_path, label, rotation, hue)
    found = fusion_pairs(collect_results([tmp_path]))
    assert [{pair.first.by, pair.second.by} for pair in found.pairs] == [{"a", "b"}, {"b", "c"}, {"a", "c"}]
    first = found.pairs[0]
    assert (first.first.by, first.first.strongest, first.first.num_sure) == ("b", "rotation", 1)
    assert (first.second.by, first.second.strongest, first.second.num_sure) == ("a", "hue", 1)
    assert first.first.value.mean == pytest.approx(0.3 / 2)
    assert first.first.value.low > 0.14  # what b ignores takes nothing from it
    assert first.both == pytest.approx(0.2 / 2)
    assert found.num_pairs == 3


def test_the_interval_is_of_images(tmp_path: Path) -> None:
    """Of one transform, what is ignored is the difference of means, whose interval is that of a mean."""
    draw = np.random.default_rng(0).normal(0, 0.1, 200)
    write_measured(tmp_path / "a", "a", {"rotation": scores(0) + 0.3 + draw})
    write_measured(tmp_path / "b", "b", {"rotation": scores(0)})
    (pair,) = fusion_pairs(collect_results([tmp_path])).pairs
    half = 1.96 * draw.std() / np.sqrt(200)
    expected = (0.3 + draw.mean() - half, 0.3 + draw.mean() + half)
    assert pair.first.value.ci95 == pytest.approx(expected, abs=0.003)
    assert (pair.second.value.mean, pair.second.num_sure) == (0.0, 0)


def test_a_difference_that_may_be_noise_is_not_sure(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    nothing = noise - noise.mean() + 0.001
    write_measured(tmp_path / "a", "a", {"rotation": scores(0) + 0.3, "shear": scores(1) + nothing})
    write_measured(tmp_path / "b", "b", {"rotation": scores(0), "shear": scores(1)})
    (pair,) = fusion_pairs(collect_results([tmp_path])).pairs
    assert (pair.first.by, pair.first.num_sure) == ("b", 1)


def test_other_images_and_other_protocols_are_no_pair(tmp_path: Path) -> None:
    _write(tmp_path, "a", 0.3, 0.0)
    _write(tmp_path, "b", 0.0, 0.2)
    _write(tmp_path, "elsewhere", 0.0, 0.9, names=[f"other {name}" for name in NAMES])
    _write(tmp_path, "paper", 0.0, 0.9, protocol="paper")
    found = fusion_pairs(collect_results([tmp_path]))
    assert [{pair.first.by, pair.second.by} for pair in found.pairs] == [{"a", "b"}]
    assert set(found.left_out) == {"elsewhere", "paper"}
    assert found.matrix.labels == ["a", "b"]


def test_where_no_two_share_their_images_that_is_said(tmp_path: Path) -> None:
    _write(tmp_path, "a", 0.3, 0.0)
    _write(tmp_path, "b", 0.0, 0.2, names=[f"other {name}" for name in NAMES])
    with pytest.raises(ValueError, match="no two of a, b were measured with a transform in common, on the same images"):
        fusion_pairs(collect_results([tmp_path]))


def test_pairs_that_are_not_compared_image_by_image_get_a_caution(cli, tmp_path: Path) -> None:
    for label, rotation, hue in (("a", 0.3, 0.0), ("b", 0.0, 0.2), ("c", 0.5, 0.05)):
        _write(tmp_path, label, rotation, hue)
    assert fusion_pairs(collect_results([tmp_path])).cautions == []
    (tmp_path / "c" / "hue.npz").unlink()
    found = fusion_pairs(collect_results([tmp_path]))
    (caution,) = found.cautions
    assert caution.startswith("2 of 3 pairs are not compared image by image")
    assert found.as_content()["cautions"] == [caution]
    code, printed, err = cli("fuse", f"measured=[{tmp_path}]")
    assert code == 0, err
    assert f"caution: {caution}" in printed


def test_of_twenty_backbones_ten_pairs_are_printed(cli, tmp_path: Path) -> None:
    for index in range(20):
        _write(tmp_path, f"backbone-{index:02}-of-a-long-name", index / 40, (19 - index) / 40)
    code, printed, err = cli("fuse", f"measured=[{tmp_path}]")
    assert code == 0, err
    assert f"the first {MOST_PAIRS} of 190" in " ".join(printed.split())
    assert "what each column sees" not in printed
    assert len(printed.splitlines()) < 60  # in 80 columns
