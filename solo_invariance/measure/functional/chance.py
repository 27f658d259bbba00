"""What similarity chance gives."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


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


def _check_gallery(views: Tensor, gallery: Tensor, own: Tensor) -> None:
    if gallery.ndim != 2 or gallery.shape[1] != views.shape[-1] or own.shape != (len(views), len(gallery)):
        raise ValueError(
            f"expected views (N, K, D), gallery (G, D) and own (N, G), "
            f"got {tuple(views.shape)}, {tuple(gallery.shape)}, {tuple(own.shape)}"
        )
