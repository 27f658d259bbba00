from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from solo_invariance.features.feature_stream import FeatureStream, suitable_batch_size


class _Sums(nn.Module):
    """Features that tell views apart: the sums of their values and of the squares. Notes the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.batches: list[int] = []

    def forward(self, views: Tensor) -> Tensor:
        self.batches.append(len(views))
        return torch.stack([views.sum(dim=(1, 2, 3)), (views**2).sum(dim=(1, 2, 3))], dim=1) + self.anchor


def _pieces(sizes: list[int]) -> list[Tensor]:
    views = torch.rand(sum(sizes), 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return list(views.split(sizes))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 16, 1000])
@pytest.mark.parametrize("sizes", [[1], [7], [16, 16], [1, 1, 1, 1, 1], [3, 40, 2, 1, 9], [5, 16, 11], [64]])
def test_pieces_of_any_sizes_get_their_own_features_from_full_batches(sizes, batch_size) -> None:
    network = _Sums()
    pieces = _pieces(sizes)
    found = list(FeatureStream(network, batch_size).stream(pieces))
    assert [len(features) for features in found] == sizes
    for features, piece in zip(found, pieces, strict=True):
        torch.testing.assert_close(features, _Sums()(piece), rtol=1e-6, atol=1e-6)
    full, rest = divmod(sum(sizes), batch_size)
    assert network.batches == [batch_size] * full + [rest] * (rest > 0)


def test_random_sizes_and_batches() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        sizes = generator.integers(1, 30, generator.integers(1, 12)).tolist()
        batch_size = int(generator.integers(1, 40))
        network, pieces = _Sums(), _pieces(sizes)
        found = list(FeatureStream(network, batch_size).stream(pieces))
        torch.testing.assert_close(torch.cat(found), _Sums()(torch.cat(pieces)), rtol=1e-6, atol=1e-6)
        assert [len(features) for features in found] == sizes
        assert set(network.batches[:-1]) <= {batch_size}


def test_an_empty_stream_asks_the_network_nothing() -> None:
    network = _Sums()
    assert list(FeatureStream(network, 4).stream([])) == []
    assert network.batches == []


def test_features_come_as_soon_as_they_are_known_and_views_are_not_hoarded() -> None:
    made: list[int] = []

    def views() -> Iterator[Tensor]:
        for index, piece in enumerate(_pieces([4] * 10)):
            made.append(index)
            yield piece

    ahead = []
    for done, _ in enumerate(FeatureStream(_Sums(), 8).stream(views())):
        ahead.append(len(made) - done)
    assert max(ahead) <= 2  # two pieces fill a batch


@pytest.mark.parametrize("sizes", [[3], [8, 8], [5, 1, 9, 2], [17]])
def test_a_compiled_backbone_sees_one_batch_size_only(sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[bool] = []

    def compile_nothing(network: nn.Module, *, dynamic: bool) -> nn.Module:
        compiled.append(dynamic)
        return network

    monkeypatch.setattr(torch, "compile", compile_nothing)
    network, pieces = _Sums(), _pieces(sizes)
    found = list(FeatureStream(network, 8, compiled=True).stream(pieces))
    assert compiled == [False]
    assert set(network.batches) == {8}
    assert len(network.batches) == -(-sum(sizes) // 8)
    assert [len(features) for features in found] == sizes
    torch.testing.assert_close(torch.cat(found), _Sums()(torch.cat(pieces)), rtol=1e-6, atol=1e-6)


def test_bf16_computes_in_bf16_and_gives_fp32_near_fp32(tiny_backbone) -> None:
    seen: list[torch.dtype] = []
    tiny_backbone.network.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    views = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    exact, rounded = (FeatureStream(tiny_backbone, 4, precision).features(views[:4]) for precision in ("fp32", "bf16"))
    assert seen == [torch.float32, torch.bfloat16]
    assert exact.dtype == rounded.dtype == torch.float32
    # bf16 has 8 bits: each of some ten layers rounds its input, weights and output by at most 2^-9 of a value.
    difference = (rounded - exact).norm(dim=1) / exact.norm(dim=1)
    assert 0 < difference.max() < 3 * 10 * 2**-9


def test_features_are_computed_without_gradients() -> None:
    features = FeatureStream(_Sums(), 4).features(torch.rand(2, 3, 4, 4))
    assert not features.requires_grad


@pytest.mark.parametrize(("device", "crop_size", "expected"), [("cuda", 224, 256), ("cpu", 32, 256), ("cpu", 9999, 1)])
def test_batches_fill_a_gpu_and_a_cpu_is_given_small_ones(device: str, crop_size: int, expected: int) -> None:
    assert suitable_batch_size(torch.device(device), crop_size) == expected
    pixels = suitable_batch_size(torch.device("cpu"), 224) * 224**2
    assert 0.5 < suitable_batch_size(torch.device("cpu"), 64) * 64**2 / pixels < 2
