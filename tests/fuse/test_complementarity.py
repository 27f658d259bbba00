import numpy as np
import pytest

from solo_invariance.fuse.complementarity import complementarity

_MEASURED = {
    "ventral": {"rotation": 0.9, "hue": 0.2, "blur": 0.3},
    "dorsal": {"rotation": 0.1, "hue": 0.8, "blur": 0.7},
    "blind": {"rotation": 1.0, "hue": 1.0, "blur": 1.0},
}


def test_entries_are_what_the_column_sees_of_what_the_row_ignores() -> None:
    found = complementarity(_MEASURED)
    assert found.labels == ["ventral", "dorsal", "blind"]
    np.testing.assert_allclose(found.matrix[0, 1], 0.8 / 3)
    np.testing.assert_allclose(found.matrix[1, 0], (0.6 + 0.4) / 3)
    assert found.strongest[0][1] == "rotation"
    assert found.strongest[1][0] == "hue"


def test_who_ignores_everything_shows_nothing_to_the_others() -> None:
    found = complementarity(_MEASURED)
    assert (found.matrix[:, 2] == 0).all()
    assert found.strongest[0][2] is None
    assert (np.diag(found.matrix) == 0).all()


def test_only_shared_transforms_count() -> None:
    found = complementarity({"a": {"rotation": 0.9, "scale": 0.0}, "b": {"rotation": 0.5}})
    assert found.transforms == ["rotation"]
    np.testing.assert_allclose(found.matrix[0, 1], 0.4)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"a": {"rotation": 0.5}}, "at least two backbones, got a"),
        ({"a": {"rotation": 0.5}, "b": {"hue": 0.5}}, "no transform was measured for all of a, b"),
    ],
)
def test_too_little_is_refused(measured, message) -> None:
    with pytest.raises(ValueError, match=message):
        complementarity(measured)
