"""Equivariance: how well a map that all images share predicts a view's feature from the clean one."""

from typing import Any

import torch
from torch import Tensor

from solo_invariance.measure.functional.equivariance import equivariance_terms
from solo_invariance.measure.metrics.sampled_views import SampledViewMetric
from solo_invariance.measure.metrics.view_metric import ProjectionMetric


class Equivariance(ProjectionMetric, SampledViewMetric):
    r"""Share of the features' change that a map of clean feature and parameters predicts, on held-out images.

    1 says that the view's feature follows from the clean one and the parameters by a map that all images share. 0 says
    that such a map predicts no better than that nothing or only a share of the feature is kept, or than the mean view
    at these parameters does: of a backbone that scrambles its features, and of an invariant one, which has no change to
    predict; the similarity tells those two apart. The functional twin is ``functional.equivariance_terms``, with the
    formula and its source.

    Features are projected to the measurement's ``matched_width``, so that a map of them can be learnt from a thousand
    images; what depends on directions that the projection leaves out cannot be predicted.

    Args:
        projections: Maps from whitened features to whitened projections, (R, d, D), of which the first is taken; a
            measurement gives them.
        seed: Of the views that are kept, and of the halves and folds.
        views_per_image: How many of an image's views are kept; they are spread evenly over the parameters.

    Example:
        >>> import torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> clean, angles = torch.randn(60, 2, generator=draw), 6.3 * torch.rand(60, 3, generator=draw)
        >>> turned = [angles.cos() * clean[:, :1] - angles.sin() * clean[:, 1:]]
        >>> turned += [angles.sin() * clean[:, :1] + angles.cos() * clean[:, 1:]]
        >>> circle = torch.stack([angles.cos(), angles.sin()], dim=2)
        >>> metric = Equivariance(torch.eye(2)[None])
        >>> metric.update(clean, torch.stack(turned, dim=2), circle, torch.arange(60))
        >>> bool(metric.compute() > 0.9)
        True
    """

    higher_is_better = True

    def __init__(self, projections: Tensor | None = None, seed: int = 0, views_per_image: int = 4, **kwargs: Any):
        super().__init__(projections, seed=seed, views_per_image=views_per_image, **kwargs)

    def update(
        self,
        clean: Tensor,
        views: Tensor,
        coordinates: Tensor | None = None,
        images: Tensor | None = None,
        held_out: Tensor | None = None,
    ) -> None:
        """Add images; arguments as ``ProjectionMetric.update``, with all of them needed but the last.

        The maps are of all images, and so all features have to be whitened alike: none is taken out of the reference.

        Raises:
            ValueError: ``coordinates``, ``images`` or projections are missing, shapes do not fit, or numbers are not
                finite.
        """
        if self.projections is not None:
            one = self.projections[0].to(clean)
            clean, views = clean @ one.T, views @ one.T
        super().update(clean, views, coordinates, images)

    def per_image(self) -> Tensor:
        """Fit, and return the squared errors of each image, (N, 1, 3), float64.

        Raises:
            ValueError: There are fewer than four images, or no coordinate varies.
        """
        return equivariance_terms(**self.states(), seed=self.seed)[:, None]

    @staticmethod
    def value(terms: Tensor) -> Tensor:
        """Return the share of the change that is predicted (...), of terms (..., 3); 0 where nothing changes."""
        error, baseline = terms[..., 0], terms[..., 1:].amin(dim=-1)
        # Rounding, against the variance of the features, is no change.
        changes = baseline > 1e-9 * terms[..., 2]
        return torch.where(changes, 1 - error / torch.where(changes, baseline, 1), 0)
