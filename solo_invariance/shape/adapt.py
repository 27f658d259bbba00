"""A shaper that is trained: a small residual map of features."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from solo_invariance.backbones.shaping import OrbitFeatures, Reached, Shaper, ShapingReference
from solo_invariance.shape.shapers import Keep

_BATCH = 64
_HELD_OUT = 5  # every fifth image tells when to stop
_PATIENCE = 10
_WIDEST = 512


class Adapt(Shaper):
    r"""A residual map :math:`y = x + \sigma \odot U \, g(V z + b)`, :math:`z = (x - \mu) / \sigma`, trained on images.

    It makes small what transforms make of an image's features, and is held to where their mean over each transform was:

    .. math:: \operatorname{mean}_t \frac{\operatorname{E} \lVert y_{ij} - \bar y_i \rVert^2}
              {\operatorname{E} \lVert x_{ij} - \bar x_i \rVert^2}
              + c \frac{\operatorname{E} \lVert \bar y_i - \bar x_i \rVert^2}{\operatorname{tr} \Sigma}

    over images :math:`i` and steps :math:`j` of transform :math:`t`, whose weighted mean is :math:`\bar x_i`. For
    ``keep=sensitive`` it makes small the share of the variance that the transform does *not* make, and the features of
    each step are held. A fifth of the images tell when to stop: the map is that of the epoch that is the best for them.

    Args:
        widths: Of the features, a list of one.
        keep: Whether features become more ``invariant`` to the transforms, or more ``sensitive``.
        closeness: :math:`c`: the larger, the less features move.
        hidden: Width of the hidden layer; by default that of the features, but no more than 512.
        epochs: The most that it is trained for.
        lr: Learning rate of Adam.

    Raises:
        ValueError: An argument is out of its range.
    """

    takes = frozenset({"transforms"})
    mean: Tensor
    scale: Tensor
    first: Tensor
    bias: Tensor
    last: Tensor

    def __init__(
        self,
        widths: Sequence[int],
        keep: Keep = "invariant",
        closeness: float = 1.0,
        hidden: int | None = None,
        epochs: int = 100,
        lr: float = 3e-4,
    ) -> None:
        super().__init__(widths, keep=keep, closeness=closeness, hidden=hidden, epochs=epochs, lr=lr)
        if keep not in get_args(Keep):
            raise ValueError(f"keep={keep}, expected {' or '.join(get_args(Keep))}")
        for name, value in {"closeness": closeness, "lr": lr, "epochs": epochs, "hidden": hidden or 1}.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value}, expected a positive number")
        (width,) = self.widths
        inner = hidden or min(width, _WIDEST)
        for name, shape in {
            "mean": (width,),
            "first": (width, inner),
            "bias": (inner,),
            "last": (inner, width),
        }.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the features (N, D) of features, a list of one (N, D)."""
        (own,) = features
        return own + self.scale * _change((own - self.mean) / self.scale, self.first, self.bias, self.last)

    def missed(self, reached: Reached) -> str | None:
        """Return that nothing became of it, where what the transform makes went the other way."""
        wanted = self.options["keep"] == "invariant"
        if (reached.share_after < reached.share_before) == wanted:
            return None
        return f"its share of the variance went from {reached.share_before:.3f} to {reached.share_after:.3f}"

    def fit(self, reference: ShapingReference) -> "Adapt":
        """Return it, trained on reference images.

        Raises:
            ValueError: There are fewer than ten, or the transforms change nothing.
        """
        assert reference.transforms is not None
        weights = {name: torch.tensor(one.weights) for name, one in reference.transforms.transforms.items()}
        with tempfile.TemporaryFile() as file:
            stored = _Stored.of(reference.orbits(), file.fileno())
            images = np.arange(len(stored.features))
            kept = images % _HELD_OUT == _HELD_OUT - 1
            if len(images) < 2 * _HELD_OUT:
                raise ValueError(f"{len(images)} images are too few to train on: take at least {2 * _HELD_OUT}")
            self._train(stored, images[~kept], images[kept], weights, reference.seed)
        return self

    def _train(
        self, stored: "_Stored", images: np.ndarray, others: np.ndarray, weights: Mapping[str, Tensor], seed: int
    ) -> None:
        mean, scale = _statistics(stored, images)
        loss = _Loss(mean, scale, weights, stored.slices, self.options)
        draw = torch.Generator().manual_seed(seed)
        width, inner = self.first.shape
        first = nn.Parameter(torch.randn(width, inner, generator=draw) / width**0.5)
        bias, last = nn.Parameter(torch.zeros(inner)), nn.Parameter(torch.zeros(inner, width))
        learnt = [first, bias, last]
        optimiser = torch.optim.Adam(learnt, lr=self.options["lr"])
        loss.set_out_from(_batches(stored, images))
        best, waited = loss.over(_batches(stored, others), learnt), 0
        chosen = [one.detach().clone() for one in learnt]
        for _ in range(self.options["epochs"]):
            order = images[torch.randperm(len(images), generator=draw).numpy()]
            for features in _batches(stored, order):
                optimiser.zero_grad()
                loss(features, learnt).backward()
                optimiser.step()
            now = loss.over(_batches(stored, others), learnt)
            waited += 1
            if now < best:
                best, waited, chosen = now, 0, [one.detach().clone() for one in learnt]
            if waited == _PATIENCE:
                break
        self.mean, self.scale = mean.to(self.mean), scale.to(self.mean)
        self.first, self.bias, self.last = chosen


class _Stored(NamedTuple):
    """Features of images and of their views, on disk.

    Args:
        features: (N, V, D), float32: of each image itself, then of each transform's steps.
        slices: Which of the V are of which transform.
    """

    features: np.memmap
    slices: Mapping[str, slice]

    @classmethod
    def of(cls, orbits: Iterator[OrbitFeatures], descriptor: int) -> "_Stored":
        """Write features to a file, and return what it holds."""
        count, slices, shape = 0, {}, (0, 0)
        with open(descriptor, "wb", closefd=False) as file:
            for clean, views in orbits:
                start = 1
                for name, one in views.items():
                    slices[name] = slice(start, start + one.shape[1])
                    start += one.shape[1]
                together = torch.cat([clean[:, None], *views.values()], dim=1).float().cpu()
                file.write(together.contiguous().numpy().tobytes())
                count, shape = count + len(together), (together.shape[1], together.shape[2])
        with open(descriptor, "rb", closefd=False) as file:
            return cls(np.memmap(file, np.float32, "r", shape=(count, *shape)), slices)


class _Spread(NamedTuple):
    """Of features of one transform: what it makes, what images make, and their means (n, D) over it."""

    within: Tensor
    between: Tensor
    means: Tensor


class _Loss:
    """What is made small; see ``Adapt``.

    Args:
        mean: (D,), of the features.
        scale: (D,), their deviations.
        weights: (K,), of the steps of each transform, by its name.
        slices: Where the steps are.
        options: Of ``Adapt``.
    """

    def __init__(
        self,
        mean: Tensor,
        scale: Tensor,
        weights: Mapping[str, Tensor],
        slices: Mapping[str, slice],
        options: Mapping[str, float | str],
    ) -> None:
        self._mean, self._scale = mean, scale
        self._variance = float(scale.square().sum())
        self._weights, self._slices = weights, slices
        self._sensitive = options["keep"] == "sensitive"
        self._closeness = float(options["closeness"])
        self._set_out: dict[str, float] = {}

    def set_out_from(self, batches: Iterator[Tensor]) -> None:
        """Take what there is before anything is changed.

        Raises:
            ValueError: A transform does not change the features at all.
        """
        made = {name: torch.zeros(()) for name in self._slices}
        unwanted: dict[str, list[Tensor]] = {name: [] for name in self._slices}
        for batch in batches:
            for name in self._slices:
                spread = self._spread(name, batch)
                made[name] = made[name] + spread.within
                unwanted[name].append(self._unwanted(spread))
        still = [name for name, within in made.items() if not within > 0]
        if still:
            raise ValueError(f"{still[0]} does not change the features of these images")
        self._set_out = {name: float(torch.stack(found).mean()) for name, found in unwanted.items()}

    def __call__(self, features: Tensor, learnt: Sequence[Tensor]) -> Tensor:
        """Return the loss of features (n, V, D) by a map."""
        changed = features + self._scale * _change((features - self._mean) / self._scale, *learnt)
        losses = []
        for name, before in self._set_out.items():
            own, found = self._spread(name, features), self._spread(name, changed)
            # What is to ignore a transform must move its views; what is to see more of it need move none far.
            moved = (changed - features)[:, self._slices[name]] if self._sensitive else found.means - own.means
            far = moved.square().sum(-1).mean() / self._variance
            losses.append(self._unwanted(found) / before + self._closeness * far)
        return torch.stack(losses).mean()

    @torch.no_grad()
    def over(self, batches: Iterator[Tensor], learnt: Sequence[Tensor]) -> float:
        """Return the mean loss over batches."""
        return float(torch.stack([self(batch, learnt) for batch in batches]).mean())

    def _unwanted(self, spread: _Spread) -> Tensor:
        return spread.between / (spread.within + spread.between) if self._sensitive else spread.within

    def _spread(self, name: str, features: Tensor) -> _Spread:
        views, weights = features[:, self._slices[name]], self._weights[name].to(features)
        means = torch.einsum("k,nkd->nd", weights, views)
        within = torch.einsum("k,nkd->", weights, (views - means[:, None]).square()) / len(views)
        return _Spread(within, (means - means.mean(0)).square().sum(1).mean(), means)


def _change(standardised: Tensor, first: Tensor, bias: Tensor, last: Tensor) -> Tensor:
    return gelu(standardised @ first + bias) @ last


def _statistics(stored: _Stored, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and deviations (D,) of the features of all views."""
    count, total, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for batch in _batches(stored, images):
        views = batch[:, 1:].flatten(0, 1).double()
        count, total, squares = count + len(views), total + views.sum(0), squares + views.square().sum(0)
    mean = total / count
    deviations = (squares / count - mean**2).clamp(min=0).sqrt()
    return mean.float(), torch.where(deviations > 0, deviations, 1.0).float()


def _batches(stored: _Stored, images: np.ndarray) -> Iterator[Tensor]:
    """Yield features (n, V, D) of images, in this order; a last batch too small to tell a variance by is left out."""
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        if len(some) > 1:
            yield torch.from_numpy(np.ascontiguousarray(stored.features[some]))
