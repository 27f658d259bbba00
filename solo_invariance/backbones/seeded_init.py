"""Random weights that depend on a seed and on nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed inside, on the CPU, and leave every global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the accelerators too, and nothing would set those back.
        torch.random.default_generator.manual_seed(seed)
        yield
