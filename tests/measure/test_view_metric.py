import pickle

import pytest
import torch

from solo_invariance.measure import InvarianceDistance, InvarianceSimilarity
from solo_invariance.measure.functional import invariance_distance, invariance_similarity


@pytest.mark.parametrize(
    ("metric", "twin"), [(InvarianceSimilarity, invariance_similarity), (InvarianceDistance, invariance_distance)]
)
def test_class_and_function_agree_over_batches_and_pickling(metric, twin) -> None:
    clean, views = torch.randn(12, 5), torch.randn(12, 3, 5)
    running = metric()
    running.update(clean[:7], views[:7])
    running = pickle.loads(pickle.dumps(running))
    running.update(clean[7:], views[7:])
    torch.testing.assert_close(running.per_image(), twin(clean, views))
    torch.testing.assert_close(running.compute(), twin(clean, views).mean(dim=0))


@pytest.mark.parametrize("shapes", [((4, 5), (4, 5)), ((4, 5), (3, 2, 5)), ((4, 5), (4, 2, 6))])
def test_wrong_shapes_are_refused(shapes) -> None:
    with pytest.raises(ValueError, match=r"expected clean \(N, D\) and views \(N, K, D\)"):
        InvarianceSimilarity().update(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
