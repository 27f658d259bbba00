"""Exact search among features, by faiss (Douze et al. 2024, "The Faiss library")."""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from solo_invariance.errors import UserError, install_command

MOST_NEIGHBOURS = 2048
"""Of one search on a GPU, which is faiss's own limit."""

# Similarities that are nearer than the rounding of float32 are ties: the image that came first is the nearer.
_SIMILARITY_DIGITS = 6


class Neighbours(NamedTuple):
    """Similarities of neighbours, descending, and the rows of the gallery that they are, each (M, K)."""

    similarities: Tensor
    rows: Tensor


def load_faiss(what: str) -> Any:
    """Return the module faiss.

    Args:
        what: What needs it, for the message.

    Raises:
        UserError: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(f"{what} needs faiss: {install_command('faiss-cpu')}, or faiss-gpu") from error
    return faiss


def nearest(queries: Tensor, gallery: Tensor, count: int, what: str = "search for neighbours") -> Neighbours:
    """Return the most similar of a gallery's unit vectors, by inner products in float32.

    Similarities are rounded to six digits; of several that are then equal, the gallery's first is the nearer.

    Args:
        queries: (M, D), float32. The search runs on their GPU where they are on one and faiss has GPUs.
        gallery: (G, D), float32.
        count: K, how many to return for each query; at most G, and ``MOST_NEIGHBOURS`` on a GPU.
        what: What needs the search, for the message.

    Returns:
        Float64 similarities and int64 rows, on the queries' device.

    Raises:
        UserError: faiss is not installed.

    Example:
        >>> import torch
        >>> nearest(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0]]), count=2).rows
        tensor([[2, 1]])
    """
    found = _search(queries, gallery, count, queries.device, what)
    rounded = found.similarities.double().round(decimals=_SIMILARITY_DIGITS)
    rows, order = found.rows.sort(dim=1)
    similarities, again = rounded.gather(1, order).sort(dim=1, descending=True, stable=True)
    return Neighbours(similarities.to(queries.device), rows.gather(1, again).to(queries.device))


def all_similarities(
    queries: Tensor, gallery: Tensor, device: torch.device, what: str = "search for neighbours"
) -> Neighbours:
    """Return each query's similarities with all of a gallery's unit vectors, sorted, as they are computed.

    Args:
        queries: (M, D), float32.
        gallery: (G, D), float32; at most ``MOST_NEIGHBOURS`` on a GPU.
        device: Where to search: on that GPU where it is one and faiss has GPUs.
        what: What needs the search, for the message.

    Returns:
        Float32 similarities, descending, and int64 rows, each (M, G), on the CPU.

    Raises:
        UserError: faiss is not installed.
    """
    return _search(queries, gallery, len(gallery), device, what)


def _search(queries: Tensor, gallery: Tensor, count: int, device: torch.device, what: str) -> Neighbours:
    faiss = load_faiss(what)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery.cpu().numpy())
    if device.type == "cuda" and faiss.get_num_gpus():
        index = faiss.index_cpu_to_gpu(_gpu_resources(), device.index or 0, index)
    similarities, rows = index.search(queries.cpu().numpy(), count)
    return Neighbours(torch.from_numpy(similarities), torch.from_numpy(rows))


@cache
def _gpu_resources() -> Any:
    # Kept, since they hold memory that takes longer to get than a search takes.
    return load_faiss("search on a GPU").StandardGpuResources()
