import sys

import pytest
import torch
from torch.nn.functional import normalize

from solo_invariance.errors import UserError
from solo_invariance.features.neighbours import all_similarities, load_faiss, nearest

CPU = torch.device("cpu")


def _unit(count: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)))


def test_the_nearest_are_those_of_all_inner_products() -> None:
    queries, gallery = _unit(20, 0), _unit(50, 1)
    found = nearest(queries, gallery, 7)
    expected = (queries.double() @ gallery.double().T).sort(descending=True)
    assert torch.equal(found.rows, expected.indices[:, :7])
    assert torch.allclose(found.similarities, expected.values[:, :7], atol=1e-6)


def test_of_equals_the_first_is_the_nearer() -> None:
    gallery = _unit(5, 0)[[0, 1, 0, 2, 0]]
    assert nearest(gallery[:1], gallery, 3).rows.tolist() == [[0, 2, 4]]


def test_all_similarities_are_sorted_and_as_they_were_computed() -> None:
    queries, gallery = _unit(20, 0), _unit(50, 1)
    similarities, rows = all_similarities(queries, gallery, CPU)
    assert similarities.dtype == torch.float32
    assert (similarities.diff(dim=1) <= 0).all()
    assert torch.equal(rows.sort(dim=1).values, torch.arange(50).expand(20, 50))
    assert torch.allclose(similarities, (queries @ gallery.T).gather(1, rows), atol=1e-6)


def test_faiss_that_is_missing_is_named_with_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"my search needs faiss: pip install 'faiss-cpu>=1\.8', or faiss-gpu"):
        load_faiss("my search")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_same() -> None:
    queries, gallery = _unit(20, 0), _unit(50, 1)
    found = nearest(queries.cuda(), gallery.cuda(), 7)
    assert torch.equal(found.rows.cpu(), nearest(queries, gallery, 7).rows)
