"""Solving with symmetric matrices that are positive definite, if only just."""

import torch
from torch import Tensor


def solve_positive(matrix: Tensor, targets: Tensor) -> Tensor:
    """Return the solution (N, T) of matrix @ solution = targets, for a symmetric matrix (N, N) in float64.

    Where rounding leaves it without a Cholesky factor, directions of no more than rounding are left out.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed:
        return torch.cholesky_solve(targets, factor)
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return vectors[:, kept] @ ((vectors[:, kept].T @ targets) / values[kept, None])
