r"""The mathematics of invariance, as pure functions on features.

Source: Ericsson, Gouk & Hospedales (2022), "Why Do Self-Supervised Models Transfer?", section on measuring invariance.
With mean :math:`\mu` and covariance :math:`\Sigma` of a backbone's features on clean reference images, a feature
:math:`f` is whitened to :math:`z = W (f - \mu)` with :math:`W^\top W = \Sigma^{-1}`.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from solo_invariance.errors import UserError
from solo_invariance.transfer.ridge_path import ridge_paths
from solo_invariance.transfer.selection import assign_folds, choose_penalty, penalty_grid
from solo_invariance.transfer.standardise import standardisation

_WORST_CONDITION = 1e12
_MOST_NEIGHBOURS = 2048  # of one search on a GPU, by faiss
_HALVES = 2
_FOLDS = 3


class Whitening(NamedTuple):
    """A whitening: the mean (D,) and the lower Cholesky factor (D, D) of the covariance, in float64.

    ``shrinkage`` is the weight in [0, 1] of the spherical target that was mixed into the covariance, 0 where none was.
    """

    mean: Tensor
    factor: Tensor
    shrinkage: float = 0.0


def whitening_from_statistics(mean: Tensor, covariance: Tensor, count: int, *, shrink: bool) -> Whitening:
    r"""Return the whitening of a distribution by its mean and covariance.

    Args:
        mean: (D,)
        covariance: (D, D), unbiased.
        count: Number of images that they were estimated from.
        shrink: Where the covariance is singular or nearly so, mix in a multiple of the identity by the oracle
            approximating shrinkage of Chen, Wiesel, Eldar & Hero (2010), equation 23; otherwise that is an error.

    Raises:
        ValueError: The covariance is singular and ``shrink`` is off; the message says how many images are needed.
    """
    factor = _cholesky(covariance) if count > len(mean) else None
    if factor is not None:
        return Whitening(mean, factor)
    if not shrink:
        raise ValueError(
            f"the covariance of {len(mean)} features from {count} reference images is singular: more than {len(mean)} "
            f"images are needed, and no feature may be constant"
        )
    weight = _oas_weight(covariance, count)
    # A constant feature leaves the covariance singular however many images there are: never shrink by nothing.
    weight = max(weight, 1e-6)
    target = torch.eye(len(mean), dtype=covariance.dtype, device=covariance.device) * covariance.diagonal().mean()
    factor = _cholesky((1 - weight) * covariance + weight * target)
    if factor is None:
        raise ValueError(f"all {len(mean)} features are constant over {count} reference images")
    return Whitening(mean, factor, weight)


def _cholesky(covariance: Tensor) -> Tensor | None:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = factor.diagonal()
    if failed or diagonal.min() <= 0 or (diagonal.max() / diagonal.min()) ** 2 > _WORST_CONDITION:
        return None
    return factor


def _oas_weight(covariance: Tensor, count: int) -> float:
    size = len(covariance)
    squared_trace, trace_of_square = covariance.trace() ** 2, (covariance**2).sum()
    numerator = (1 - 2 / size) * trace_of_square + squared_trace
    denominator = (count + 1 - 2 / size) * (trace_of_square - squared_trace / size)
    return 1.0 if denominator <= 0 else min(1.0, float(numerator / denominator))


def whiten(features: Tensor, whitening: Whitening) -> Tensor:
    """Return the whitened features, float64, of features (..., D)."""
    centred = features.to(whitening.mean.dtype) - whitening.mean
    flat = centred.reshape(-1, centred.shape[-1])
    return torch.linalg.solve_triangular(whitening.factor, flat.T, upper=False).T.reshape(centred.shape)


def invariance_similarity(clean: Tensor, views: Tensor) -> Tensor:
    r"""Cosine of the whitened clean feature and the whitened views' features.

    .. math:: s(x, p) = \frac{z(x)^\top z(T_p x)}{\lVert z(x) \rVert \lVert z(T_p x) \rVert}

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened, K views of each image.

    Returns:
        (N, K) in [-1, 1]; 1 says that the view changed nothing but the feature's length.

    Example:
        >>> import torch
        >>> clean = torch.tensor([[1.0, 0.0]])
        >>> views = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
        >>> invariance_similarity(clean, views)
        tensor([[ 1.,  0., -1.]])
    """
    return cosine_similarity(clean[:, None], views, dim=-1)


def invariance_distance(clean: Tensor, views: Tensor) -> Tensor:
    r"""Mahalanobis distance of the clean feature and the views' features: Euclidean, since both are whitened.

    .. math:: d(x, p) = \sqrt{(f(x) - f(T_p x))^\top \Sigma^{-1} (f(x) - f(T_p x))}

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.

    Returns:
        (N, K), not negative; 0 says that the view changed nothing.
    """
    return torch.linalg.vector_norm(clean[:, None] - views, dim=-1)


def same_image(images: Tensor | None, gallery_images: Tensor) -> Tensor:
    """Return which rows of a gallery show which image, bool (N, G), by ids (N,) and (G,).

    Raises:
        ValueError: There are no ids, or not one an image.

    Example:
        >>> import torch
        >>> same_image(torch.tensor([7, 8]), torch.tensor([8, 9, 8]))
        tensor([[False, False, False],
                [ True, False,  True]])
    """
    if images is None or images.ndim != 1:
        got = "none" if images is None else f"shape {tuple(images.shape)}"
        raise ValueError(f"a gallery leaves each image itself out by its id: expected images (N,), got {got}")
    return images.to(gallery_images)[:, None] == gallery_images


def chance_similarity(views: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    r"""Mean cosine of each view's feature and the clean features of the gallery's other images.

    .. math:: c(x, p) = \frac{1}{|G_x|} \sum_{g \in G_x} \frac{z(T_p x)^\top z(g)}{\lVert z(T_p x) \rVert \lVert z(g)
        \rVert}

    with :math:`G_x` the gallery without :math:`x`. The mean of the cosines is the inner product with the mean of the
    unit vectors, so that a view costs D products, not G D.

    Args:
        views: (N, K, D), whitened.
        gallery: (G, D), whitened.
        own: Which of the gallery's rows show the image itself, and are left out, (N, G), bool; see ``same_image``.

    Returns:
        (N, K) in [-1, 1].

    Raises:
        ValueError: The shapes do not fit, or the gallery has no image other than the image itself.

    Example:
        >>> import torch
        >>> views = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
        >>> gallery = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 5.0]])
        >>> chance_similarity(views, gallery, torch.tensor([[True, False, False, False]]))
        tensor([[0.0000, 0.3333]])
    """
    _check_gallery(views, gallery, own)
    others = (~own).sum(dim=1).to(views.device)
    if not others.all():
        raise ValueError(f"the gallery has no image but image {int(others.argmin())} itself to compare it with")
    unit = normalize(gallery.to(views), dim=-1)
    image, row = own.to(views.device).nonzero(as_tuple=True)
    total = unit.sum(dim=0).expand(len(views), -1).index_add(0, image, unit[row], alpha=-1)
    return torch.einsum("nkd,nd->nk", normalize(views, dim=-1), total / others[:, None])


def correct_for_chance(similarity: Tensor, chance: Tensor) -> Tensor:
    r"""Similarity on a scale on which 0 is what chance gives, and 1 remains 1.

    .. math:: \frac{s - c}{1 - c}

    The form of Cohen's kappa (Cohen 1960, "A Coefficient of Agreement for Nominal Scales"), and in general of indices
    corrected for chance, with a maximum of 1 (Hubert & Arabie 1985, "Comparing Partitions", on correcting for chance).

    Args:
        similarity: :math:`s`, (...), at most 1.
        chance: :math:`c`, its expectation by chance, (...).

    Raises:
        ValueError: Chance alone gives 1, so that nothing can be told from chance.

    Example:
        >>> import torch
        >>> correct_for_chance(torch.tensor([1.0, 0.6, 0.2, 0.0]), torch.tensor(0.2))
        tensor([ 1.0000,  0.5000,  0.0000, -0.2500])
    """
    remainder = 1 - chance
    if (remainder.abs() <= 8 * torch.finfo(remainder.dtype).eps).any():
        raise ValueError("similarity by chance is 1: the features of all the gallery's images point one way")
    return (similarity - chance) / remainder


def retrieval_rank(clean: Tensor, views: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    r"""Rank of the clean image where a view retrieves it from among other images, by cosine of whitened features.

    .. math:: r(x, p) = 1 + \#\{g \in G_x : \cos(z(T_p x), z(g)) > \cos(z(T_p x), z(x))\}

    with :math:`G_x` the gallery without :math:`x`. All similarities are computed, by faiss (Douze et al. 2024, "The
    Faiss library"), in float32. A tie does not count: where two cosines are nearer than the rounding of float32, a
    margin of :math:`2 + \sqrt D` ulp of 1 (errors of sums grow so: Higham & Mary 2019, "A New Approach to Probabilistic
    Rounding Error Analysis"), neither is more similar.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        gallery: (G, D), whitened. Searched on the views' GPU where they are on one and faiss has GPUs.
        own: Which of the gallery's rows show the image itself, and are left out, (N, G), bool; see ``same_image``.

    Returns:
        (N, K), int64, from 1 to one more than there are other images.

    Raises:
        ValueError: The shapes do not fit, or features are not finite.
        UserError: faiss is not installed.

    Example:
        >>> import torch
        >>> clean, views = torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.1], [0.0, 1.0], [-1.0, 0.1]]])
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> retrieval_rank(clean, views, gallery, torch.tensor([[True, False, False]]))
        tensor([[1, 3, 3]])
    """
    _check_gallery(views, gallery, own)
    # Cosines are finite where features are, and faiss would pass over those that are not.
    to_beat = invariance_similarity(clean.double(), views.double()) + _tie_margin(clean.shape[1])
    if not to_beat.isfinite().all() or not gallery.isfinite().all():
        raise ValueError("retrieval: features of clean images, views or gallery are not finite (NaN or inf)")
    queries, bars = _unit_vectors(views.flatten(0, 1)), to_beat.flatten().cpu()[:, None]
    counts = torch.zeros(len(queries), dtype=torch.int64)
    for shard, own_shard in zip(gallery.split(_MOST_NEIGHBOURS), own.cpu().split(_MOST_NEIGHBOURS, dim=1), strict=True):
        similarities, rows = _similarities(queries, _unit_vectors(shard), views.device)
        others = ~own_shard.repeat_interleave(views.shape[1], dim=0).gather(1, rows)
        counts += ((similarities > bars) & others).sum(dim=1)
    return 1 + counts.reshape(to_beat.shape).to(views.device)


def _check_gallery(views: Tensor, gallery: Tensor, own: Tensor) -> None:
    if gallery.ndim != 2 or gallery.shape[1] != views.shape[-1] or own.shape != (len(views), len(gallery)):
        raise ValueError(
            f"expected views (N, K, D), gallery (G, D) and own (N, G), "
            f"got {tuple(views.shape)}, {tuple(gallery.shape)}, {tuple(own.shape)}"
        )


def _tie_margin(size: int) -> float:
    return (2 + size**0.5) * torch.finfo(torch.float32).eps


def _unit_vectors(features: Tensor) -> Tensor:
    return normalize(features.double(), dim=-1).float().cpu()


def _similarities(queries: Tensor, unit: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return all inner products of queries (M, D) with vectors (G, D), each query's sorted, and the rows, (M, G)."""
    faiss = _faiss()
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit.numpy())
    if device.type == "cuda" and faiss.get_num_gpus():
        index = faiss.index_cpu_to_gpu(_gpu_resources(), device.index, index)
    similarities, rows = index.search(queries.numpy(), len(unit))
    return torch.from_numpy(similarities), torch.from_numpy(rows)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UserError("retrieval needs faiss: pip install 'solo-invariance[cpu]' (or [gpu])") from error
    return faiss


@cache
def _gpu_resources() -> Any:
    # Kept, since they hold memory that takes longer to get than a search takes.
    return _faiss().StandardGpuResources()


def equivariance_terms(clean: Tensor, views: Tensor, coordinates: Tensor, images: Tensor, seed: int = 0) -> Tensor:
    r"""Squared errors of a linear read-out of the transform's parameters from clean and view features, held out.

    .. math:: \hat y(x, p) = A z(x) + B z(T_p x) + b, \quad
        e(x) = \sum_{p, t} \frac{(y_t(p) - \hat y_t(x, p))^2}{\sigma_t^2}, \quad
        v(x) = \sum_{p, t} \frac{(y_t(p) - \bar y_t)^2}{\sigma_t^2}

    so that :math:`1 - \sum_x e(x) / \sum_x v(x)` is the R^2 of targets that all weigh the same. Each half of the images
    is predicted by a ridge regression on the other half, whose mean :math:`\bar y` is (cross-fitting: Chernozhukov et
    al. 2018, "Double/debiased machine learning for treatment and structural parameters", definition 3.1). Its penalty
    is chosen by cross-validation over images of that half. Rows of one image are never on both sides. Features are
    centred and divided by one number, so that turning feature space changes nothing.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        coordinates: The parameters of the views' transform, (N, K, C). Those that never vary are left out.
        images: Ids, (N,); rows of one id are one image.
        seed: Of the halves and folds. Neither depends on the rows' order.

    Returns:
        (N, 2), float64: :math:`e` and :math:`v`.

    Raises:
        ValueError: The shapes do not fit, numbers are not finite (an image is named), there are fewer than four images,
            or no coordinate varies.

    Example:
        >>> import torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> angles = torch.rand(20, 3, 1, generator=draw)
        >>> clean = torch.randn(20, 5, generator=draw)
        >>> views = clean[:, None] + angles * torch.ones(5)
        >>> errors, deviations = equivariance_terms(clean, views, angles, torch.arange(20)).sum(dim=0)
        >>> bool(1 - errors / deviations > 0.999)
        True
    """
    check_pairs(clean, views, coordinates, images)
    _, image = images.to(clean.device).unique(return_inverse=True)
    count = int(image.max()) + 1
    if count < 2 * _HALVES:
        raise ValueError(f"equivariance needs at least {2 * _HALVES} images, two in each half, got {count}")
    order = image.argsort(stable=True)  # so that sums, too, are rounded the same whatever the order of the rows
    features = torch.cat([clean[:, None].expand_as(views), views], dim=-1)[order].double()
    targets, image = _equal_targets(coordinates.to(clean.device)[order]), image[order]
    half = assign_folds(count, _HALVES, seed).to(clean.device)[image]
    terms = features.new_empty(len(features), 2)
    for held_out in (half[:, None] == torch.arange(_HALVES, device=half.device)).T:
        read_out = _read_out(features[~held_out], targets[~held_out], image[~held_out], seed)
        terms[held_out] = read_out.terms(features[held_out], targets[held_out])
    return terms[order.argsort()]


def check_pairs(clean: Tensor, views: Tensor, coordinates: Tensor, images: Tensor) -> None:
    """Raise ValueError where shapes are not (N, D), (N, K, D), (N, K, C) and (N,), or numbers are not finite."""
    if clean.ndim != 2 or views.ndim != 3 or views.shape[::2] != clean.shape:
        raise ValueError(f"expected clean (N, D) and views (N, K, D), got {tuple(clean.shape)}, {tuple(views.shape)}")
    if coordinates.ndim != 3 or coordinates.shape[:2] != views.shape[:2] or images.shape != clean.shape[:1]:
        raise ValueError(
            f"expected coordinates (N, K, C) and images (N,) for views {tuple(views.shape)}, "
            f"got {tuple(coordinates.shape)}, {tuple(images.shape)}"
        )
    for name, rows in {"clean feature": clean, "views": views, "coordinates": coordinates}.items():
        finite = rows.flatten(1).isfinite().all(dim=1).to(images.device)
        if not finite.all():
            raise ValueError(f"image {int(images[~finite][0])}: {name} not finite (NaN or inf)")


class _ReadOut(NamedTuple):
    """A linear map of features (D,) to targets (T,), and the targets' mean on the images that it was fitted to."""

    slopes: Tensor
    intercept: Tensor
    target_mean: Tensor

    def terms(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return squared errors and deviations, summed over views and targets, (N, 2), of (N, K, D) and (N, K, T)."""
        errors = targets - features @ self.slopes - self.intercept
        deviations = targets - self.target_mean
        return torch.stack([(terms**2).sum(dim=(1, 2)) for terms in (errors, deviations)], dim=1)


def _equal_targets(coordinates: Tensor) -> Tensor:
    """Return coordinates (N, K, C), each with variance 1, in float64; one that is constant is 0 throughout."""
    flat = coordinates.double().flatten(0, 1)
    transform = standardisation(flat, unit_deviation=True)
    if transform.scale.isinf().all():
        raise ValueError(f"no coordinate of the views' {flat.shape[1]} varies: there is nothing to read out")
    return transform.apply(flat).reshape(coordinates.shape)


def _read_out(features: Tensor, targets: Tensor, image: Tensor, seed: int) -> _ReadOut:
    """Fit targets (N, K, T) to features (N, K, D), with images (N,) in one fold each to choose the penalty by."""
    held_out = _folds_of_images(image, seed).repeat_interleave(features.shape[1], dim=0)
    features, targets = features.flatten(0, 1), targets.flatten(0, 1)
    transform, target_mean = standardisation(features, unit_deviation=False), targets.mean(dim=0)
    features, targets = transform.apply(features), targets - target_mean
    deviation = (features**2).mean().sqrt()
    deviations = torch.where(deviation > 0, deviation, 1).expand(features.shape[1], held_out.shape[1])
    *paths, whole = ridge_paths(features, targets, held_out, deviations)
    penalties = penalty_grid().to(features)
    residuals = [
        path.predict(features[fold], penalties) - targets[fold]
        for path, fold in zip(paths, held_out.T[:-1], strict=True)
    ]
    errors = (torch.cat(residuals, dim=1) ** 2).sum(dim=(1, 2))
    penalty = float(penalties[choose_penalty(penalties, -errors, "clean")])
    slopes, intercept = transform.undo(*whole.solution(penalty))
    return _ReadOut(slopes, intercept + target_mean, target_mean)


def _folds_of_images(image: Tensor, seed: int) -> Tensor:
    """Return which rows each fold holds out, and last none, (N, F), bool; rows of one image are in one fold."""
    distinct, which = image.unique(return_inverse=True)
    folds = min(_FOLDS, len(distinct))
    fold_of = assign_folds(len(distinct), folds, seed).to(image.device)[which]
    return fold_of[:, None] == torch.arange(folds + 1, device=image.device)


def group_similarity(views: Tensor, *, include_diagonal: bool) -> Tensor:
    """Mean pairwise cosine of a group's views.

    Args:
        views: (G, V, D), whitened, V >= 2 views of each of G things.
        include_diagonal: Count each view's similarity with itself too, as the paper's code does.

    Returns:
        (G,)
    """
    unit = normalize(views, dim=-1)
    return _pairwise_mean(unit @ unit.transpose(1, 2), 1.0, include_diagonal=include_diagonal)


def group_distance(views: Tensor) -> Tensor:
    """Mean Euclidean distance of a group's whitened views (G, V, D), over all pairs of two of them: (G,)."""
    distances = torch.cdist(views, views, compute_mode="donot_use_mm_for_euclid_dist")
    return _pairwise_mean(distances, 0.0, include_diagonal=False)


def _pairwise_mean(pairs: Tensor, diagonal: float, *, include_diagonal: bool) -> Tensor:
    count = pairs.shape[1]
    if include_diagonal:
        return pairs.mean(dim=(1, 2))
    return (pairs.sum(dim=(1, 2)) - diagonal * count) / (count * (count - 1))
