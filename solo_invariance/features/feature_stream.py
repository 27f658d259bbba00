"""Features of views, computed in batches that are full whatever the sizes in which the views come."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from solo_invariance.device import device_of

Precision = Literal["fp32", "bf16", "fp16"]
_AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


_GPU_BATCH = 256
# On CPUs larger batches were slower, by up to a half (ResNets, EfficientNet, ViT; 32 to 224 pixels): what a layer
# writes is not in the cache any more when the next one reads it.
_CPU_PIXELS = 2**19


def suitable_batch_size(device: torch.device, crop_size: int) -> int:
    """Return how many views of a size, in pixels, to give a backbone at a time for the most views a second."""
    return _GPU_BATCH if device.type != "cpu" else min(_GPU_BATCH, max(1, _CPU_PIXELS // crop_size**2))


class FeatureStream:
    """A backbone's features of a stream of views.

    Args:
        backbone: Takes views (N, 3, S, S) in [0, 1], gives features (N, D).
        batch_size: Views in one forward pass.
        precision: ``fp32``, or the type that is cast to where autocast thinks it safe.
        compiled: Compile the backbone; batches then all have one size, the last one filled up and cut again.
    """

    def __init__(
        self, backbone: nn.Module, batch_size: int, precision: Precision = "fp32", compiled: bool = False
    ) -> None:
        self.batch_size = batch_size
        self._network = torch.compile(backbone, dynamic=False) if compiled else backbone
        self._fill_up = compiled
        self.device = device_of(backbone)
        self._autocast = _AUTOCAST.get(precision)

    @torch.inference_mode()
    def features(self, views: Tensor) -> Tensor:
        """Return the features (N, D), float32, of at most ``batch_size`` views (N, 3, S, S), in one forward pass."""
        count = len(views)
        if self._fill_up and count < self.batch_size:
            views = torch.cat([views, views[-1:].expand(self.batch_size - count, *views.shape[1:])])
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None):
            return self._network(views)[:count].float()

    def stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Return the features (n, D) of each piece of views (n, 3, S, S), n >= 1, in order.

        Pieces are put together and cut up on the way, so that every forward pass but the last has ``batch_size`` views.
        """
        sizes: deque[int] = deque()
        views: deque[Tensor] = deque()
        done: deque[Tensor] = deque()
        for piece in pieces:
            sizes.append(len(piece))
            views.append(piece)
            while _count(views) >= self.batch_size:
                done.append(self.features(_take(views, self.batch_size)))
            yield from self._whole(sizes, done)
        if views:
            done.append(self.features(_take(views, _count(views))))
        yield from self._whole(sizes, done)

    @staticmethod
    def _whole(sizes: deque[int], done: deque[Tensor]) -> Iterator[Tensor]:
        while sizes and _count(done) >= sizes[0]:
            yield _take(done, sizes.popleft())


def _count(tensors: deque[Tensor]) -> int:
    return sum(map(len, tensors))


def _take(tensors: deque[Tensor], count: int) -> Tensor:
    """Take the first ``count`` rows off a queue of tensors."""
    taken = []
    while count:
        first = tensors.popleft()
        if len(first) > count:
            tensors.appendleft(first[count:])
            first = first[:count]
        taken.append(first)
        count -= len(first)
    return taken[0] if len(taken) == 1 else torch.cat(taken)
