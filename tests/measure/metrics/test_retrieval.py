import sys

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.measure.functional.chance import same_image
from solo_invariance.measure.functional.retrieval import retrieval_rank
from solo_invariance.measure.metrics.retrieval import RetrievalMRR, RetrievalRecall
from solo_invariance.measure.metrics.view_metric import Gallery


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rank_by_sorting(clean: Tensor, views: Tensor, gallery: Tensor, own: Tensor) -> np.ndarray:
    """Return ranks (N, K) by SciPy, of the cosines in float64, image by image; those that tie share their ranks."""
    ranks = np.empty(views.shape[:2])
    for i, image in enumerate(clean.numpy()):
        database = np.vstack([image, gallery.numpy()[~own[i].numpy()]])
        database = database / np.linalg.norm(database, axis=1, keepdims=True)
        for k, view in enumerate(views[i].numpy()):
            ranks[i, k] = rankdata(-(database @ view / np.linalg.norm(view)).round(12))[0]
    return ranks


def rank_of_integers(clean: Tensor, views: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    """Return ranks (N, K) of integer features (int64), with no rounding, so that ties are ties.

    The cosine with a is more than that with b where sign(va) (va)^2 b^2 > sign(vb) (vb)^2 a^2.
    """
    similarity, own_similarity = views @ gallery.T, (views * clean[:, None]).sum(-1, keepdim=True)
    length, own_length = (gallery**2).sum(1), (clean**2).sum(1)[:, None, None]
    theirs, ours = similarity * similarity.abs() * own_length, own_similarity * own_similarity.abs() * length
    wins, ties = ((outcome & ~own[:, None]).sum(-1) for outcome in (theirs > ours, theirs == ours))
    return 1 + wins + ties.double() / 2


@pytest.mark.parametrize("size", [1, 2, 3, 17, 300])
@pytest.mark.parametrize("num_gallery", [1, 5, 40])
@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_those_of_a_full_sort(size: int, num_gallery: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean, gallery = draw(8, size, seed=seed), draw(num_gallery, size, seed=seed + 10)
    views = clean[:, None] + 2 * draw(8, 5, size, seed=seed + 20)
    ids = torch.randint(8, (num_gallery,), generator=generator)  # some images several times, and others not at all
    own = same_image(torch.arange(8), ids)
    ranks = retrieval_rank(clean, views, gallery, own)
    np.testing.assert_array_equal(ranks, rank_by_sorting(clean, views, gallery, own))


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_exact_ties_share_their_ranks(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw_integers(*shape: int) -> Tensor:
        drawn = torch.randint(-2, 3, shape, generator=generator)
        return torch.where((drawn == 0).all(-1, keepdim=True), 1, drawn)

    clean, views, gallery = draw_integers(20, size), draw_integers(20, 6, size), draw_integers(50, size)
    own = torch.rand(20, 50, generator=generator) < 0.1
    ranks = retrieval_rank(clean.double(), views.double(), gallery.double(), own)
    assert torch.equal(ranks, rank_of_integers(clean, views, gallery, own))


@pytest.mark.parametrize("size", [7, 64, 2048])
def test_a_view_that_changes_nothing_shares_the_first_place_with_those_that_tie(size: int) -> None:
    clean = draw(30, size).float()
    # Two other images have the same direction as each: exact ties, which rounding would make wins and losses.
    gallery = torch.cat([clean * 3.3, clean * 0.7, draw(10, size, seed=1).float()])
    own = torch.zeros(30, len(gallery), dtype=torch.bool)
    ranks = retrieval_rank(clean, clean[:, None] * 1.7, gallery, own)
    assert ranks.tolist() == [[2.0]] * 30


def test_a_gallery_larger_than_one_search() -> None:
    clean, gallery = draw(3, 6), draw(5000, 6, seed=1)
    views = clean[:, None] + draw(3, 2, 6, seed=2)
    own = torch.zeros(3, 5000, dtype=torch.bool)
    own[:, 2040:2060] = True
    ranks = retrieval_rank(clean, views, gallery, own)
    np.testing.assert_array_equal(ranks, rank_by_sorting(clean, views, gallery, own))


def test_a_view_opposite_to_its_image_comes_last() -> None:
    clean = torch.tensor([[1.0, 0.0]])
    gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]])
    own = same_image(torch.tensor([5]), torch.tensor([5, 6, 7]))
    assert retrieval_rank(clean, -clean[:, None], gallery, own).tolist() == [[3]]
    nobody_else = torch.ones(1, 3, dtype=torch.bool)
    assert retrieval_rank(clean, -clean[:, None], gallery, nobody_else).tolist() == [[1]]


def test_views_near_their_image_are_retrieved_first() -> None:
    clean, ids = draw(100, 32), torch.arange(100)
    for metric in (RetrievalRecall(Gallery(clean, ids)), RetrievalMRR(Gallery(clean, ids))):
        metric.update(clean, clean[:, None] + 0.1 * draw(100, 4, 32, seed=1), images=ids)
        assert metric.compute().tolist() == [1.0] * 4


def test_views_of_unrelated_images_are_retrieved_by_chance() -> None:
    num_images, num_views = 200, 50
    clean, ids = draw(num_images, 16), torch.arange(num_images)
    views = draw(num_images, num_views, 16, seed=1)
    recall, reciprocal = RetrievalRecall(Gallery(clean, ids)), RetrievalMRR(Gallery(clean, ids))
    for metric in (recall, reciprocal):
        metric.update(clean, views, images=ids)
    # One of the N images is the nearest to a view drawn apart from them. So, over a view of each image, the hits'
    # expectations add up to 1 and their variances to at most 1: the recall is 1 / N, within 1 / (N sqrt(K)).
    assert float(recall.compute().mean()) == pytest.approx(1 / num_images, abs=5 / num_images / num_views**0.5)
    # All ranks are as likely: the mean of 1 / r is H_N / N, with a variance a view of at most that of 1 / r^2.
    ranks = torch.arange(1, num_images + 1).double()
    spread = float((1 / ranks**2).mean()) ** 0.5 / (num_images * num_views) ** 0.5
    assert float(reciprocal.compute().mean()) == pytest.approx(float((1 / ranks).mean()), abs=5 * spread)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_features_that_are_all_equal_retrieve_by_chance(value: float) -> None:
    """Of 20 images, all as similar: 1 in 20 comes first, and the mean reciprocal rank is that of the ranks 1 to 20."""
    features, ids = torch.full((20, 8), value, dtype=torch.float64), torch.arange(20)
    recall, reciprocal = RetrievalRecall(Gallery(features, ids)), RetrievalMRR(Gallery(features, ids))
    for metric in (recall, reciprocal):
        metric.update(features, features[:, None].expand(20, 3, 8), images=ids)
    assert recall.compute().tolist() == pytest.approx([1 / 20] * 3)
    assert reciprocal.compute().tolist() == pytest.approx([sum(1 / rank for rank in range(1, 21)) / 20] * 3)


def test_ties_behind_the_first_place_are_averaged_over_their_ranks() -> None:
    """One image is nearer, two tie: ranks 2, 3 and 4 are as likely, and the first place is out of reach."""
    clean, view = torch.tensor([[1.0, 1.0]]), torch.tensor([[[1.0, 0.0]]])
    gallery = Gallery(torch.tensor([[1.0, 0.0], [2.0, 2.0], [1.0, -1.0], [0.0, 1.0]]), torch.tensor([1, 2, 3, 4]))
    scores = []
    for metric in (RetrievalRecall(gallery), RetrievalMRR(gallery)):
        metric.update(clean, view, images=torch.tensor([0]))
        scores.append(float(metric.compute()))
    assert scores == pytest.approx([0, (1 / 2 + 1 / 3 + 1 / 4) / 3])


@pytest.mark.parametrize("place", ["clean", "views", "gallery"])
def test_a_feature_that_is_not_finite_is_refused(place: str) -> None:
    features = {"clean": draw(2, 3), "views": draw(2, 1, 3), "gallery": draw(4, 3)}
    features[place].flatten()[-1] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        retrieval_rank(*features.values(), torch.zeros(2, 4, dtype=torch.bool))


def test_without_faiss_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    metric = RetrievalRecall(Gallery(draw(3, 2), torch.arange(3)))
    with pytest.raises(UserError, match=r"retrieval needs faiss: pip install 'faiss-cpu>=1\.8'"):
        metric.update(draw(3, 2), draw(3, 1, 2), images=torch.arange(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_ranks_on_a_gpu_are_those_on_the_cpu() -> None:
    clean, gallery = draw(20, 64), draw(3000, 64, seed=1)
    views = clean[:, None] + draw(20, 7, 64, seed=2)
    own = same_image(torch.arange(20), torch.arange(3000) % 50)
    on_gpu = retrieval_rank(clean.cuda(), views.cuda(), gallery.cuda(), own.cuda())
    assert on_gpu.is_cuda
    assert torch.equal(on_gpu.cpu(), retrieval_rank(clean, views, gallery, own))
