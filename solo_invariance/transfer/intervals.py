"""Confidence intervals of accuracies: closed forms that stay sound where nearly every image is right, or every one.

The bootstrap resamples the images that are there: of 30 images of which all are right it draws nothing else, and calls
the accuracy certain. These intervals add a few images to both sides first (Agresti & Coull 1998, "Approximate is Better
than 'Exact' for Interval Estimation of Binomial Proportions").
"""

from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.bootstrap import NORMAL_QUANTILE, Interval


class _Prior(NamedTuple):
    """Images that are added before the interval is made: half of them score ``low``, and half ``high``."""

    images: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def mean_square(self) -> float:
        return (self.low**2 + self.high**2) / 2


_RIGHT_OR_WRONG = _Prior(NORMAL_QUANTILE**2, 0.0, 1.0)
# One image that ours alone gets right, and one that theirs alone does.
_BETTER_OR_WORSE = _Prior(2.0, -1.0, 1.0)


def accuracy_interval(predictions: Tensor, targets: Tensor) -> Interval:
    r"""Return the 95 % interval of an accuracy, by Agresti & Coull (1998), cut to [0, 1].

    .. math:: \tilde p \pm z \sqrt{\tilde p (1 - \tilde p) / (n + z^2)}, \quad
        \tilde p = \frac{x + z^2 / 2}{n + z^2}, \quad z = 1.96

    of :math:`x` images of :math:`n` that are right. Its centre is that of Wilson's interval, which it contains; it
    covers at least as often as that at every accuracy (Brown, Cai & DasGupta 2001, "Interval Estimation for a Binomial
    Proportion", section 4).

    Args:
        predictions: Classes, (N,).
        targets: Classes, (N,).

    Example:
        >>> targets = torch.zeros(30, dtype=torch.int64)
        >>> low, high = accuracy_interval(targets, targets)
        >>> round(low, 3), high
        (0.865, 1.0)
    """
    return _interval(_right(predictions, targets), torch.zeros_like(targets), _RIGHT_OR_WRONG)


def mean_per_class_interval(predictions: Tensor, targets: Tensor) -> Interval:
    r"""Return the 95 % interval of the accuracy within each class, averaged over the classes.

    .. math:: \tilde m \pm z \sqrt{\frac{n}{n + z^2} \frac{1}{C^2} \sum_c \frac{\tilde p_c (1 - \tilde p_c)}{n_c}},
        \quad n = C^2 / \sum_c \frac{1}{n_c}, \quad \tilde m = \frac{n m + z^2 / 2}{n + z^2}

    with :math:`m` the score and :math:`n` the number of images that an accuracy would need to be as sure. A class of
    few images says little of its own variance: its accuracy is drawn towards the mean, :math:`\tilde p_c = \tilde m +
    (p_c - m) n_c / (n_c + z^2)`, as it is in empirical Bayes estimates. Of one class, or of classes that score alike,
    it is ``accuracy_interval``. Its coverage is simulated in ``benchmarks/coverage.py``.

    Args:
        predictions: Classes, (N,).
        targets: Classes, (N,).
    """
    return _interval(_right(predictions, targets), targets, _RIGHT_OR_WRONG)


def paired_accuracy_interval(ours: Tensor, theirs: Tensor, targets: Tensor) -> Interval:
    r"""Return the 95 % interval of the difference of two accuracies on the same images, ours minus theirs.

    .. math:: \tilde d \pm z \sqrt{\frac{\tilde p_{+} + \tilde p_{-} - \tilde d^2}{n + 2}}, \quad
        \tilde p_\pm = \frac{n_\pm + 1}{n + 2}, \quad \tilde d = \tilde p_+ - \tilde p_-

    of :math:`n_+` images that ours alone gets right and :math:`n_-` that theirs alone does (Bonett & Price 2012,
    "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired Data").

    Args:
        ours: Predicted classes, (N,).
        theirs: Predicted classes, (N,).
        targets: Classes, (N,).
    """
    gains = _right(ours, targets) - _right(theirs, targets)
    return _interval(gains, torch.zeros_like(targets), _BETTER_OR_WORSE)


def paired_mean_per_class_interval(ours: Tensor, theirs: Tensor, targets: Tensor) -> Interval:
    """Return the 95 % interval of the difference of two mean per-class accuracies, ours minus theirs.

    As the accuracies' own intervals are: ``mean_per_class_interval`` for gains of 1, 0 and -1, to which one image of
    either sign is added, as in ``paired_accuracy_interval``.

    Args:
        ours: Predicted classes, (N,).
        theirs: Predicted classes, (N,).
        targets: Classes, (N,).
    """
    return _interval(_right(ours, targets) - _right(theirs, targets), targets, _BETTER_OR_WORSE)


def episodes_interval(accuracies: Tensor) -> Interval:
    r"""Return the 95 % interval of the mean accuracy over episodes (E,), cut to [0, 1].

    It is Agresti & Coull's for as many images as would have the episodes' variance, :math:`E m (1 - m) / s^2` with mean
    :math:`m` and variance :math:`s^2` (the effective number of Korn & Graubard 1998, "Confidence Intervals for
    Proportions with Small Expected Number of Positive Counts Estimated from Survey Data"), E where none varies. Away
    from 0 and 1 that is the usual mean :math:`\pm z s / \sqrt E`. It is of the episodes that these test images allow.

    Example:
        >>> low, high = episodes_interval(torch.ones(600))
        >>> round(low, 3), high
        (0.992, 1.0)
    """
    values, count = accuracies.double(), len(accuracies)
    varies = bool((values != values[0]).any())  # whose variance may be 1e-33 where none does
    mean, variance = (values.mean(), values.var()) if varies else (values[0], values.new_zeros(()))
    effective = float(count * mean * (1 - mean) / variance) if varies else count
    return _normal(_shrunken(mean, effective, _RIGHT_OR_WRONG.mean, _RIGHT_OR_WRONG), effective, _RIGHT_OR_WRONG)


def _right(predictions: Tensor, targets: Tensor) -> Tensor:
    return (predictions == targets).double()


def _interval(values: Tensor, classes: Tensor, prior: _Prior) -> Interval:
    """Return the interval of the mean over classes (N,) of the mean of values (N,) in each."""
    _, of_class = classes.unique(return_inverse=True)
    sizes = of_class.bincount().to(values)
    means, squares = (values.new_zeros(len(sizes)).index_add_(0, of_class, v) / sizes for v in (values, values**2))
    count = len(sizes) ** 2 / float((1 / sizes).sum())
    weight = sizes / (sizes + prior.images)
    mean = _shrunken(means.mean(), count, prior.mean, prior)
    square = _shrunken(squares.mean(), count, prior.mean_square, prior)
    variances = (square + weight * (squares - squares.mean())) - (mean + weight * (means - means.mean())) ** 2
    error = (variances.clamp_min(0) / sizes).sum().sqrt() / len(sizes) * (count / (count + prior.images)) ** 0.5
    return _around(mean, error, prior)


def _shrunken(mean: Tensor, count: float, prior_mean: float, prior: _Prior) -> Tensor:
    return (count * mean + prior.images * prior_mean) / (count + prior.images)


def _normal(mean: Tensor, count: float, prior: _Prior) -> Interval:
    return _around(mean, (mean * (1 - mean) / (count + prior.images)).sqrt(), prior)


def _around(mean: Tensor, error: Tensor, prior: _Prior) -> Interval:
    half = NORMAL_QUANTILE * float(error)
    return Interval(max(prior.low, float(mean) - half), min(prior.high, float(mean) + half))
