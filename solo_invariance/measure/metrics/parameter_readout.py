"""Parameter read-out: how well the transform's parameters can be read from the features of clean image and view."""

from torch import Tensor

from solo_invariance.measure.functional.parameter_readout import parameter_readout_terms
from solo_invariance.measure.metrics.sampled_views import SampledViewMetric


class ParameterReadout(SampledViewMetric):
    r"""R^2, on held-out images, of a linear read-out of the transform's parameters from clean and view features.

    1 says that the features tell the transform's parameters, whatever the image. 0 says that no better than their mean
    is read, as from a backbone that is invariant; less, that what was read on some images misleads on others. It says
    nothing of how the features move with them, which ``Equivariance`` does. The functional twin is
    ``functional.parameter_readout_terms``, with the formula.

    Of each image a few views are kept; which, depends on the image's id and the seed, not on batches, their order, or
    processes.

    Args:
        seed: Of the views that are kept, and of the halves and folds.
        views_per_image: How many of an image's views are kept; they are spread evenly over the parameters.

    Example:
        >>> import torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> angles = torch.rand(20, 3, 1, generator=draw)
        >>> clean = torch.randn(20, 5, generator=draw)
        >>> metric = ParameterReadout()
        >>> metric.update(clean, clean[:, None] + angles * torch.ones(5), angles, torch.arange(20))
        >>> bool(metric.compute() > 0.999)
        True
    """

    higher_is_better = True

    def per_image(self) -> Tensor:
        """Fit, and return the squared error and deviation of each image, (N, 1, 2), float64.

        Raises:
            ValueError: There are fewer than four images, or no coordinate varies.
        """
        return parameter_readout_terms(**self.states(), seed=self.seed)[:, None]

    @staticmethod
    def value(terms: Tensor) -> Tensor:
        """Return R^2 (...) of terms (..., 2)."""
        return 1 - terms[..., 0] / terms[..., 1]
