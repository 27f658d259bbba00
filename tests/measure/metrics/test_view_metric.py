"""What holds for every metric over views: one tester, with a problem and an independent reference for each."""

import importlib
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.measure.functional.chance import chance_similarity, same_image
from solo_invariance.measure.functional.parameter_readout import parameter_readout_terms
from solo_invariance.measure.functional.retrieval import retrieval_rank
from solo_invariance.measure.functional.similarity import invariance_distance, invariance_similarity
from solo_invariance.measure.metrics.chance_corrected_similarity import ChanceCorrectedSimilarity
from solo_invariance.measure.metrics.distance import InvarianceDistance
from solo_invariance.measure.metrics.parameter_readout import ParameterReadout
from solo_invariance.measure.metrics.retrieval import RetrievalMRR, RetrievalRecall
from solo_invariance.measure.metrics.similarity import InvarianceSimilarity
from solo_invariance.measure.metrics.view_metric import Gallery, GalleryMetric, ViewMetric, prototypes_of
from solo_invariance.regression.cross_validation import assign_folds, penalty_grid

METRICS: dict[str, type[ViewMetric]] = {
    "similarity": InvarianceSimilarity,
    "distance": InvarianceDistance,
    "chance_corrected_similarity": ChanceCorrectedSimilarity,
    "retrieval_recall": RetrievalRecall,
    "retrieval_mrr": RetrievalMRR,
    "parameter_readout": ParameterReadout,
}
OF_AN_INVARIANT_BACKBONE = {
    "similarity": 1.0,
    "distance": 0.0,
    "chance_corrected_similarity": 1.0,
    "retrieval_recall": 1.0,
    "retrieval_mrr": 1.0,
}
NUM_IMAGES, NUM_VIEWS, SIZE = 13, 3, 5

every_metric = pytest.mark.parametrize("name", METRICS)


class Problem(NamedTuple):
    clean: Tensor
    views: Tensor
    coordinates: Tensor
    images: Tensor
    gallery: Gallery

    def metric(self, name: str) -> ViewMetric:
        return METRICS[name](self.gallery) if issubclass(METRICS[name], GalleryMetric) else METRICS[name]()

    def update(self, metric: ViewMetric, rows: slice | Tensor) -> ViewMetric:
        metric.update(self.clean[rows], self.views[rows], self.coordinates[rows], self.images[rows])
        return metric


def draw_problem(seed: int = 0) -> Problem:
    """Draw views that follow their image and their parameters, with noise; the gallery shows some images, one twice."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        # Numbers of float32, which is what a state may keep, in the float64 of whitened features.
        return torch.randn(*shape, generator=generator).double()

    clean, coordinates = draw(NUM_IMAGES, SIZE), draw(NUM_IMAGES, NUM_VIEWS, 2)
    noise = draw(NUM_IMAGES, NUM_VIEWS, SIZE)
    views = (clean[:, None] + coordinates @ draw(2, SIZE) + 0.3 * noise).float().double()
    images = torch.randperm(50, generator=generator)[:NUM_IMAGES]
    features = torch.cat([clean[:6], clean[1:2], draw(4, SIZE)])
    gallery = Gallery(features, torch.cat([images[:6], images[1:2], torch.arange(100, 104)]))
    return Problem(clean, views, coordinates, images, gallery)


PROBLEM = draw_problem()


def terms_by_function(name: str, problem: Problem) -> Tensor:
    clean, views, coordinates, images, gallery = problem
    own = same_image(images, gallery.images)
    twins: dict[str, Callable[[], Tensor]] = {
        "similarity": lambda: invariance_similarity(clean, views)[..., None],
        "distance": lambda: invariance_distance(clean, views)[..., None],
        "chance_corrected_similarity": lambda: torch.stack(
            [invariance_similarity(clean, views), chance_similarity(views, gallery.features, own)], dim=-1
        ),
        "retrieval_recall": lambda: (retrieval_rank(clean, views, gallery.features, own) == 1).double()[..., None],
        "retrieval_mrr": lambda: 1 / retrieval_rank(clean, views, gallery.features, own).double()[..., None],
        "parameter_readout": lambda: parameter_readout_terms(clean, views, coordinates, images)[:, None],
    }
    return twins[name]()


def reference(name: str, problem: Problem) -> np.ndarray:
    """Return the curve by loops in NumPy."""
    if name == "parameter_readout":
        return reference_readout(problem)
    clean, views = problem.clean.numpy(), problem.views.numpy()
    gallery, ids = problem.gallery.features.numpy(), problem.gallery.images.numpy()
    numbers = np.empty((NUM_IMAGES, NUM_VIEWS, 2))
    for i, image in enumerate(problem.images.numpy()):
        others = gallery[ids != image]
        for k in range(NUM_VIEWS):
            own, rest = cosine(views[i, k], clean[i]), np.array([cosine(views[i, k], other) for other in others])
            rank = 1 + int(np.flatnonzero(np.argsort(-np.r_[own, rest]) == 0)[0])
            numbers[i, k] = {
                "similarity": (own, 0),
                "distance": (np.sqrt(((views[i, k] - clean[i]) ** 2).sum()), 0),
                "chance_corrected_similarity": (own, rest.mean()),
                "retrieval_recall": (rank == 1, 0),
                "retrieval_mrr": (1 / rank, 0),
            }[name]
    number, chance = numbers.mean(axis=0).T
    return (number - chance) / (1 - chance)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def reference_readout(problem: Problem) -> np.ndarray:
    """Return R^2 by the normal equations, one ridge regression at a time."""
    features = torch.cat([problem.clean[:, None].expand_as(problem.views), problem.views], dim=2).numpy()
    targets = problem.coordinates.numpy() / problem.coordinates.flatten(0, 1).std(0, correction=0).numpy()
    half = assign_folds(NUM_IMAGES, 2, 0)[rank_of(problem.images)].numpy()
    squares = np.zeros(2)
    for held_out in (half == 0, half == 1):
        x, y = features[~held_out], targets[~held_out]
        scale = np.sqrt(((x - x.mean((0, 1))) ** 2).mean())
        fold = assign_folds(len(x), 3, 0)[rank_of(problem.images[~held_out])].numpy()
        fit = ridge(x / scale, y, best_penalty(x / scale, y, fold))
        squares[0] += ((targets[held_out] - fit(features[held_out] / scale)) ** 2).sum()
        squares[1] += ((targets[held_out] - y.mean((0, 1))) ** 2).sum()
    return np.array([1 - squares[0] / squares[1]])


def rank_of(images: Tensor) -> Tensor:
    return images.argsort().argsort()


def best_penalty(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> float:
    penalties, errors = penalty_grid().tolist(), np.zeros(len(penalty_grid()))
    for index, penalty in enumerate(penalties):
        for f in range(3):
            fit = ridge(x[fold != f], y[fold != f], penalty)
            errors[index] += ((y[fold == f] - fit(x[fold == f])) ** 2).sum()
    return penalties[errors.argmin()]


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    centred = x - x.mean(0)
    slopes = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean(0)))
    return lambda other: (other - x.mean(0)) @ slopes + y.mean(0)


@every_metric
@pytest.mark.parametrize("sizes", [[13], [7, 6], [1, 5, 4, 3]])
def test_class_and_function_agree_over_updates_and_pickling(name: str, sizes: list[int]) -> None:
    running = PROBLEM.metric(name)
    for rows in torch.arange(NUM_IMAGES).split(sizes):
        running = pickle.loads(pickle.dumps(PROBLEM.update(running, rows)))
    expected = terms_by_function(name, PROBLEM)
    torch.testing.assert_close(running.per_image(), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(running.compute(), running.value(expected.mean(dim=0)).squeeze())


@every_metric
@pytest.mark.parametrize("seed", range(3))
def test_numbers_against_a_loop_in_numpy(name: str, seed: int) -> None:
    problem = draw_problem(seed)
    running = problem.update(problem.metric(name), slice(None))
    np.testing.assert_allclose(running.compute(), reference(name, problem).squeeze(), rtol=1e-8)


@every_metric
def test_states_merge_in_any_order(name: str) -> None:
    rows = [slice(0, 4), slice(4, 5), slice(5, None)]
    parts = [PROBLEM.update(PROBLEM.metric(name), part).states() for part in rows]
    whole = PROBLEM.update(PROBLEM.metric(name), slice(None))
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = PROBLEM.metric(name)
        for index in order:
            merged.add_states(parts[index])
        positions = torch.cat([torch.arange(NUM_IMAGES)[rows[index]] for index in order])
        torch.testing.assert_close(merged.per_image(), whole.per_image()[positions], rtol=1e-12, atol=1e-12)


@every_metric
def test_every_state_has_a_row_an_image(name: str) -> None:
    states = PROBLEM.update(PROBLEM.metric(name), slice(None)).states()
    assert set(states) == set(METRICS[name].name_of_states)
    assert {len(state) for state in states.values()} == {NUM_IMAGES}


@every_metric
def test_value_takes_resamples(name: str) -> None:
    running = PROBLEM.update(PROBLEM.metric(name), slice(None))
    terms = running.per_image()
    resamples = torch.stack([terms.mean(dim=0), terms[:6].mean(dim=0)])
    assert running.value(resamples).shape == (2, terms.shape[1])
    torch.testing.assert_close(running.value(resamples)[0].squeeze(), running.compute())


@every_metric
def test_rotating_feature_space_changes_nothing(name: str) -> None:
    clean, views, coordinates, images, gallery = PROBLEM
    rotation = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1)).double()).Q
    turned = Gallery(gallery.features @ rotation, gallery.images)
    problem = Problem(clean @ rotation, views @ rotation, coordinates, images, turned)
    numbers = [p.update(p.metric(name), slice(None)).compute() for p in (PROBLEM, problem)]
    torch.testing.assert_close(*numbers, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OF_AN_INVARIANT_BACKBONE)
def test_an_invariant_backbone_has_the_best_score(name: str) -> None:
    problem = PROBLEM._replace(views=PROBLEM.clean[:, None].expand_as(PROBLEM.views))
    numbers = problem.update(problem.metric(name), slice(None)).compute()
    expected = torch.full((NUM_VIEWS,), OF_AN_INVARIANT_BACKBONE[name]).double()
    torch.testing.assert_close(numbers, expected, rtol=0, atol=1e-12)


@every_metric
@pytest.mark.parametrize("shapes", [((4, 5), (4, 5)), ((4, 5), (3, 2, 5)), ((4, 5), (4, 2, 6))])
def test_wrong_shapes_are_refused(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    clean, views = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"expected clean \(N, D\) and views \(N, K, D\)"):
        PROBLEM.metric(name).update(clean, views, torch.zeros(*views.shape[:2], 1), torch.arange(4))


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if issubclass(metric, GalleryMetric)])
def test_a_gallery_needs_the_images_ids(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected images \(N,\), got none"):
        PROBLEM.metric(name).update(PROBLEM.clean, PROBLEM.views)


def compute_in_process(rank: int, folder: Path) -> None:
    """Compute every metric, as one of two processes that have images of their own."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    numbers = {}
    for name in METRICS:
        running = PROBLEM.metric(name)
        for rows in torch.arange(NUM_IMAGES).split([5, 8])[rank].split(4):
            PROBLEM.update(running, rows)
        numbers[name] = running.compute()
    torch.save(numbers, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A new process imports the function by the name of its module, which pytest does not put on the path.
    monkeypatch.syspath_prepend(Path(__file__).parent)
    worker = importlib.import_module(Path(__file__).stem).compute_in_process
    torch.multiprocessing.spawn(worker, (tmp_path,), nprocs=2)
    alone = {name: PROBLEM.update(PROBLEM.metric(name), slice(None)).compute() for name in METRICS}
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_prototype_has_seen_no_image_and_the_metric_that_it_is_of_keeps_its_own() -> None:
    metric = InvarianceSimilarity()
    metric.update(torch.ones(2, 3), torch.ones(2, 1, 3))
    assert len(prototypes_of({"similarity": metric})["similarity"].rows) == 0
    assert len(metric.states()["rows"]) == 2
