import torch

from solo_invariance.regression.positive_definite import solve_positive


def test_a_regular_matrix_is_inverted_and_a_singular_one_pseudo_inverted() -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    targets = torch.randn(6, 2, dtype=torch.float64, generator=generator)
    singular = factor @ factor.T
    regular = singular + 0.1 * torch.eye(6, dtype=torch.float64)
    assert torch.allclose(regular @ solve_positive(regular, targets), targets)
    negative = singular - 1e-14 * torch.eye(6, dtype=torch.float64)
    assert torch.allclose(solve_positive(negative, targets), torch.linalg.pinv(singular) @ targets)
