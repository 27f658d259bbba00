"""The part of an error of similarities and distances that comes from the images of mean and covariance."""

import math

from torch import Tensor

from solo_invariance.measure.functional.influence import (
    group_reference_influence,
    group_reference_influence_on_distance,
    reference_influence,
    reference_influence_on_distance,
)
from solo_invariance.measure.functional.similarity import projected_groups, projected_pairs
from solo_invariance.measure.functional.whitening import Whitening, whiten
from solo_invariance.measure.statistics.feature_statistics import Moments

_BLOCKS = 128
# Of a squared length, as for 1.25 images a feature. For fewer, a caution says what distances are worth.
_LEAST_CORRECTION = 0.2


class ReferenceBlocks:
    """Some reference images in blocks, of which the influence on similarities and distances is asked.

    A number for each block is what is kept of an image that is measured: the numbers of all images are averaged, and
    what the blocks then differ by is the error.

    Args:
        whitened: Whitened features (B, m, D), float32, of m images in each of B blocks.
        num_images: Of the whole reference.
    """

    def __init__(self, whitened: Tensor, num_images: int) -> None:
        self._images = whitened.flatten(0, 1)
        self._num_blocks = len(whitened)
        self._num_images = num_images
        # A block's mean varies with the images in it, and the mean over the reference with all of its images.
        self._scale = math.sqrt(whitened.shape[0] * whitened.shape[1] / num_images)

    @classmethod
    def of(cls, moments: Moments, whitening: Whitening) -> "ReferenceBlocks | None":
        """Return the blocks of the sample that comes with moments, None where there is none."""
        if moments.sample is None:
            return None
        count = min(_BLOCKS, len(moments.sample))
        size = len(moments.sample) // count
        sample = moments.sample[: count * size].to(whitening.mean.device)
        return cls(whiten(sample, whitening).float().unflatten(0, (count, size)), moments.num_images)

    def influence(self, clean: Tensor, views: Tensor, weights: Tensor) -> Tensor:
        """Return the blocks' influence on the mean similarity of images and their views.

        Args:
            clean: (N, D), whitened.
            views: (N, K, D), whitened.
            weights: (N, K), by which the views of an image are averaged.

        Returns:
            (N, B), float32, for ``standard_error``.
        """
        return self._of_blocks(reference_influence(clean.float(), views.float(), weights, self._images))

    def width_matched_influence(
        self, pairs: Tensor, weights: Tensor, projections: Tensor, held_out: Tensor, whitening: Whitening
    ) -> Tensor:
        """Return the blocks' influence, (N, B), on the mean width-matched similarity of images and their views.

        Args:
            pairs: (N, 1 + K, D), whitened: of each image, then of its views.
            weights: (N, K), by which the views of an image are averaged.
            projections: (P, d, D), over which similarities are averaged.
            held_out: Which images are taken out of mean and covariance, (N,), bool.
            whitening: Of the pairs.
        """
        projected = projected_pairs(pairs, projections, held_out, whitening).float()
        images = self._projected(projections)
        of_images = reference_influence(projected[:, :, 0], projected[:, :, 1:], weights, images)
        return self._of_blocks(of_images.mean(dim=0))

    def distance_influence(self, clean: Tensor, views: Tensor, weights: Tensor, whitening: Whitening) -> Tensor:
        """Return the blocks' influence, (N, B), on the mean distance of images and their views, of corrected length.

        The inverse of a covariance errs more, on average over directions, than the delta method says: relative to what
        it is expected to be, by n / (n - D) (Bai & Silverstein 2004, "CLT for Linear Spectral Statistics of
        Large-Dimensional Sample Covariance Matrices", of normal features).

        Args:
            clean: (N, D), whitened, of lengths that are not corrected.
            views: (N, K, D), whitened, of lengths that are not corrected.
            weights: (N, K), by which the views of an image are averaged.
            whitening: Of both.
        """
        of_images = reference_influence_on_distance(clean.float(), views.float(), weights, self._images)
        return self._of_blocks(of_images) * _inflation(whitening)

    def group_influence(self, views: Tensor, *, include_diagonal: bool) -> Tensor:
        """Return the blocks' influence, (1, B), on the mean pairwise similarity of whitened views (V, D) of a thing."""
        of_images = group_reference_influence(views.float(), self._images, include_diagonal=include_diagonal)
        return self._of_blocks(of_images[None])

    def group_distance_influence(self, views: Tensor, whitening: Whitening) -> Tensor:
        """Return the blocks' influence, (1, B), on the mean distance of two views of a thing, of corrected length.

        Args:
            views: (V, D), whitened, of lengths that are not corrected.
            whitening: Of the views.
        """
        of_images = group_reference_influence_on_distance(views.float(), self._images)
        return self._of_blocks(of_images[None]) * _inflation(whitening)

    def width_matched_group_influence(
        self,
        views: Tensor,
        projections: Tensor,
        removed: Tensor | None,
        whitening: Whitening,
        *,
        include_diagonal: bool,
    ) -> Tensor:
        """Return the blocks' influence, (1, B), on the mean width-matched similarity of views of a thing.

        Args:
            views: (V, D), whitened.
            projections: (P, d, D), over which similarities are averaged.
            removed: Whitened features (R, D) of images that are taken out of mean and covariance, None for none.
            whitening: Of the views.
            include_diagonal: Whether each view's similarity with itself counts.
        """
        without = None if removed is None else removed[None]
        projected = projected_groups(views[None], projections, without, whitening)[:, 0].float()
        of_images = group_reference_influence(
            projected, self._projected(projections), include_diagonal=include_diagonal
        )
        return self._of_blocks(of_images.mean(dim=0, keepdim=True))

    def _projected(self, projections: Tensor) -> Tensor:
        return self._images @ projections.mT.to(self._images)

    def _of_blocks(self, of_images: Tensor) -> Tensor:
        return of_images.unflatten(1, (self._num_blocks, -1)).mean(dim=2) * self._scale


def _inflation(whitening: Whitening) -> float:
    """Return n / (n - D) times what lengths are corrected by."""
    length = whitening.length()
    return length / max(length**2, _LEAST_CORRECTION)


def standard_error(influence: Tensor) -> float:
    """Return the reference's standard error of a mean similarity or distance by the influence (B,) of its blocks on it.

    Blocks of the same reference images have an influence on a difference, which is the difference of the influences.
    """
    return float(influence.double().std()) / math.sqrt(len(influence))
