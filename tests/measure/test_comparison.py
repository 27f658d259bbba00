from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from solo_invariance.bootstrap import first_term
from solo_invariance.errors import UserError
from solo_invariance.measure.comparison import paired_difference, require_arrays
from solo_invariance.measure.metrics.chance_corrected_similarity import ChanceCorrectedSimilarity


def _arrays(names: Sequence[str], parameters: int = 4, seed: int = 0, rows: int | None = None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(len(names) if rows is None else rows, 1))
    return {
        "names": np.asarray(names),
        "parameters": np.arange(float(parameters))[:, None],
        "similarity_per_image": scores,
    }


def _names(*numbers: int) -> list[str]:
    return [f"{number}.png" for number in numbers]


def _difference(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], seed: int = 0):
    return paired_difference(ours, theirs, "similarity", first_term, seed)


def test_the_difference_of_the_same_images_against_numpy() -> None:
    ours, theirs = _arrays(_names(*range(50)), seed=1), _arrays(_names(*range(50)), seed=2)
    found = _difference(ours, theirs)
    differences = (ours["similarity_per_image"] - theirs["similarity_per_image"])[:, 0]
    assert found.mean == pytest.approx(differences.mean(), abs=1e-12)
    assert found.standard_error == pytest.approx(differences.std() / 50**0.5, rel=0.06)
    draws = np.random.default_rng(0).integers(50, size=(20_000, 50))
    ends = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx(ends, abs=0.15 * found.standard_error)


def test_ours_minus_theirs_is_minus_theirs_minus_ours() -> None:
    ours, theirs = _arrays(_names(*range(50)), seed=1), _arrays(_names(*range(50)), seed=2)
    there, back = _difference(ours, theirs), _difference(theirs, ours)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))


def test_images_that_only_one_measured_are_left_out_whatever_the_order() -> None:
    ours, theirs = _arrays(_names(5, 1, 2, 9, 4), seed=1), _arrays(_names(9, 3, 2, 1, 7, 0), seed=2)
    first, second = [1, 2, 3], [3, 2, 0]  # 1.png, 2.png, 9.png
    expected = (ours["similarity_per_image"][first] - theirs["similarity_per_image"][second]).mean()
    assert _difference(ours, theirs).mean == pytest.approx(expected, abs=1e-12)


def test_images_that_were_drawn_twice_are_paired_draw_by_draw() -> None:
    names = _names(3, 3, 1, 2, 3)
    ours, theirs = _arrays(names, seed=1), _arrays(names, seed=2)
    expected = (ours["similarity_per_image"] - theirs["similarity_per_image"]).mean()
    assert _difference(ours, theirs).mean == pytest.approx(expected, abs=1e-12)
    with pytest.raises(UserError, match="measured on other images"):
        _difference(ours, _arrays(_names(3, 3, 1, 2), seed=2))


@pytest.mark.parametrize(("ours", "theirs"), [(5, 5), (8, 5), (5, 8)])
def test_a_metric_that_was_given_the_first_images_only(ours: int, theirs: int) -> None:
    names = _names(*range(8))
    first, second = _arrays(names, seed=1, rows=ours), _arrays(names, seed=2, rows=theirs)
    expected = (first["similarity_per_image"][:5] - second["similarity_per_image"][:5]).mean()
    assert _difference(first, second).mean == pytest.approx(expected, abs=1e-12)


def test_a_metric_with_two_terms_is_the_difference_of_its_values() -> None:
    names, generator = _names(*range(30)), np.random.default_rng(0)
    ours, theirs = _arrays(names), _arrays(names)
    for arrays in (ours, theirs):
        arrays["similarity_per_image"] = generator.uniform(0, 0.5, (30, 2))
    found = paired_difference(ours, theirs, "similarity", ChanceCorrectedSimilarity.value, 0)
    values = [(s - c) / (1 - c) for s, c in (a["similarity_per_image"].mean(axis=0) for a in (ours, theirs))]
    assert found.mean == pytest.approx(values[0] - values[1], abs=1e-12)


def test_the_interval_depends_on_the_seed_alone() -> None:
    ours, theirs = _arrays(_names(*range(20)), seed=1), _arrays(_names(*range(20)), seed=2)
    before = torch.get_rng_state()
    assert _difference(ours, theirs, seed=1) == _difference(ours, theirs, seed=1) != _difference(ours, theirs, seed=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_view_groups_have_no_parameters() -> None:
    ours, theirs = _arrays(_names(1, 2, 3), seed=1), _arrays(_names(1, 2, 3), seed=2)
    for arrays in (ours, theirs):
        del arrays["parameters"]
    expected = (ours["similarity_per_image"] - theirs["similarity_per_image"]).mean()
    assert _difference(ours, theirs).mean == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (_arrays(_names(1, 2, 3), parameters=5), "measured at other parameters"),
        ({"names": np.asarray(_names(1, 2, 3)), "similarity_per_image": np.zeros((3, 1))}, "other parameters"),
        (_arrays(_names(4, 5, 6)), "measured on other images"),
        (_arrays(_names(3, 5, 6)), "measured on other images"),
        ({"names": np.asarray(_names(1, 2, 3))}, "similarity was measured by one of the two only"),
    ],
)
def test_what_cannot_be_compared(theirs, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _difference(_arrays(_names(1, 2, 3)), theirs)


def test_arrays_of_another_run_are_read_before_anything_is_measured(
    write_invariance: Callable[..., Path], make_transform: Callable[..., Any]
) -> None:
    run = write_invariance("run", "a", transforms={"hue": make_transform(0.9)}).parent
    (run / "hue.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"hue\.npz: cannot be read, truncated"):
        require_arrays(run)
