"""A shaper that is trained: a small residual map of features."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from solo_invariance.backbones.shaping import OrbitFeatures, Reached, Shaper, ShapingReference
from solo_invariance.shape.closed_forms import ordered_directions
from solo_invariance.shape.moments import TransformSums
from solo_invariance.shape.shapers import Keep, pooled

_BATCH = 64
_HELD_OUT = 5  # every fifth image tells when to stop
_PATIENCE = 10
_WIDEST = 512
_LEAST_VARIANCE = 0.01  # of the mean over features


class Adapt(Shaper):
    r"""A residual map :math:`y = x + \sigma \odot U \, g(V z + b)`, :math:`z = (x - \mu) / \sigma`, trained on images.

    It makes the part of variance that transforms make small, or large, and is held to where features of untouched
    images are:

    .. math:: \operatorname{mean}_t \frac{s_t(y)}{s_t(x)} + c \operatorname{E} \frac{\lVert W (y - x) \rVert^2}{R}

    with :math:`s_t` the share of the variance of whitened features that transform :math:`t` makes, or for
    ``keep=sensitive`` the share that it does not make, :math:`W` what whitens the features, and :math:`R` the number of
    directions that they vary in. ``keep=sensitive`` holds the features of what transforms make, too. A fifth of the images tell when to stop: the map is that of the epoch that is the best
    for them.

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
        lr: float = 1e-3,
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
        mean, whiten, scale = _statistics(stored, images, weights)
        loss = _Loss(mean.float(), whiten.float(), scale.float(), weights, stored.slices, self.options)
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


class _Loss:
    """What is made small; see ``Adapt``."""

    def __init__(
        self,
        mean: Tensor,
        whiten: Tensor,
        scale: Tensor,
        weights: Mapping[str, Tensor],
        slices: Mapping[str, slice],
        options: Mapping[str, float | str],
    ) -> None:
        self._mean, self._whiten, self._scale = mean, whiten, scale
        self._weights, self._slices = weights, slices
        self._sensitive = options["keep"] == "sensitive"
        self._closeness = float(options["closeness"])
        self._set_out: dict[str, float] = {}

    def set_out_from(self, batches: Iterator[Tensor]) -> None:
        """Take the shares before anything is changed."""
        found = [self._shares((batch - self._mean) @ self._whiten) for batch in batches]
        self._set_out = {name: float(torch.stack([one[name] for one in found]).mean()) for name in self._slices}
        still = [name for name, share in self._set_out.items() if not share > 0]
        if still:
            raise ValueError(f"{still[0]} does not change the features of these images")

    def __call__(self, features: Tensor, learnt: Sequence[Tensor]) -> Tensor:
        """Return the loss of features (n, V, D) by a map."""
        before = (features - self._mean) @ self._whiten
        change = self._scale * _change((features - self._mean) / self._scale, *learnt)
        moved = change @ self._whiten
        shares = self._shares(before + moved)
        reached = torch.stack([share / self._set_out[name] for name, share in shares.items()]).mean()
        # What is to ignore a transform must move its views; what is to see more of it need move none far.
        held = moved if self._sensitive else moved[:, 0]
        return reached + self._closeness * held.square().mean()

    @torch.no_grad()
    def over(self, batches: Iterator[Tensor], learnt: Sequence[Tensor]) -> float:
        """Return the mean loss over batches."""
        return float(torch.stack([self(batch, learnt) for batch in batches]).mean())

    def _shares(self, whitened: Tensor) -> dict[str, Tensor]:
        found = {}
        for name, place in self._slices.items():
            views, weights = whitened[:, place], self._weights[name].to(whitened)
            means = torch.einsum("k,nkd->nd", weights, views)
            within = torch.einsum("k,nkd->", weights, (views - means[:, None]).square()) / len(views)
            between = (means - means.mean(0)).square().sum(1).mean()
            part = between if self._sensitive else within
            found[name] = part / (within + between)
        return found


def _change(standardised: Tensor, first: Tensor, bias: Tensor, last: Tensor) -> Tensor:
    return gelu(standardised @ first + bias) @ last


def _statistics(stored: _Stored, images: np.ndarray, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (D,), what whitens (D, R) and deviations (D,) of the features, float64."""
    width = stored.features.shape[2]
    sums = {name: TransformSums(width, torch.eye(len(one)), one) for name, one in weights.items()}
    for batch in _batches(stored, images):
        for name, one in sums.items():
            one.update(batch[:, stored.slices[name]])
    mean, total, _ = pooled({name: one.compute() for name, one in sums.items()})
    deviations = total.diagonal().clamp(min=0).sqrt()
    # Directions that hardly vary on these images may vary more on others, and would decide everything.
    least = _LEAST_VARIANCE * total.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    whiten = ordered_directions(mean, total + least, total).reads
    return mean, whiten, torch.where(deviations > 0, deviations, 1.0)


def _batches(stored: _Stored, images: np.ndarray) -> Iterator[Tensor]:
    """Yield features (n, V, D) of images, in this order; a last batch too small to tell a variance by is left out."""
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        if len(some) > 1:
            yield torch.from_numpy(np.ascontiguousarray(stored.features[some]))
