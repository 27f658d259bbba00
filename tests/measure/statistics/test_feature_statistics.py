import numpy as np
import pytest
import torch

from solo_invariance.measure import FeatureStatistics, feature_statistics
from solo_invariance.measure.statistics.feature_statistics import Moments, repetitions


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_streaming_is_numpys_mean_and_covariance_for_any_batches(offset: float) -> None:
    features = torch.randn(101, 7, generator=torch.Generator().manual_seed(0)) + offset
    for batch in (1, 10, 101):
        statistics = FeatureStatistics(7)
        for part in features.split(batch):
            statistics.update(part)
        moments = statistics.compute()
        np.testing.assert_allclose(moments.mean, features.double().numpy().mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            moments.covariance, np.cov(features.double().numpy(), rowvar=False), rtol=1e-6, atol=1e-8
        )


def test_the_functional_twin_agrees() -> None:
    features = torch.randn(50, 4)
    statistics = FeatureStatistics(4)
    statistics.update(features)
    for ours, twin in zip(statistics.compute()[:3], feature_statistics(features)[:3], strict=True):
        torch.testing.assert_close(ours, twin, atol=1e-12, rtol=1e-10)


def test_an_origin_changes_no_number_and_keeps_the_digits() -> None:
    features = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e7
    statistics = FeatureStatistics(3, origin=features[0])
    statistics.update(features)
    np.testing.assert_allclose(statistics.compute()[1], np.cov(features.numpy(), rowvar=False), rtol=1e-6)


def test_states_are_sums_so_that_processes_add_up() -> None:
    features = torch.randn(40, 3)
    whole, first, second = FeatureStatistics(3), FeatureStatistics(3), FeatureStatistics(3)
    whole.update(features)
    first.update(features[:13])
    second.update(features[13:])
    assert all(reduction is not None for reduction in whole._reductions.values())
    for name in ("count", "total", "outer"):
        assert whole._reductions[name] is first._reductions[name]
        torch.testing.assert_close(getattr(whole, name), getattr(first, name) + getattr(second, name))


def test_memory_does_not_grow_with_the_images() -> None:
    statistics = FeatureStatistics(5)
    sizes = set()
    for _ in range(3):
        statistics.update(torch.randn(100, 5))
        sizes.add(sum(getattr(statistics, name).numel() for name in statistics._defaults))
    assert sizes == {1 + 5 + 25}


def test_one_process_that_measures_for_itself_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first process of a training run does, while the others go on training."""
    from solo_invariance.data.images import TensorImages
    from solo_invariance.data.reading import ReadingPolicy
    from solo_invariance.features.feature_stream import FeatureStream
    from solo_invariance.measure import Geometry
    from solo_invariance.measure.statistics.reference import reference_statistics
    from solo_invariance.processes import Processes

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("waits for other processes")

    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: True)
    monkeypatch.setattr("torchmetrics.metric.gather_all_tensors", refuse)
    stream = FeatureStream(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)), 4)
    pixels = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    moments, _ = reference_statistics(
        stream, {"": 2}, TensorImages(pixels), Geometry(4, 4), ReadingPolicy(0), Processes()
    )
    assert moments[""].num_images == 9


def _moments(pictures: int, files: int, noise: float) -> Moments:
    """Of features of files that repeat pictures in turn, up to rounding; a sample of at most 100."""
    generator = torch.Generator().manual_seed(0)
    different = 5 + torch.randn(pictures, 8, generator=generator)
    different[:, 3] = 2.0
    features = different[torch.arange(files) % pictures] * (1 + noise * torch.randn(files, 8, generator=generator))
    sample = features[torch.randperm(files, generator=generator)[:100]]
    return feature_statistics(features)._replace(sample=sample)


@pytest.mark.parametrize(
    ("pictures", "files", "found"),
    [(10, 60, 10), (59, 60, 59), (60, 60, None), (10, 900, 10), (400, 900, None), (900, 900, None)],
)
@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_pictures_that_repeat_are_counted_whatever_their_files(
    pictures: int, files: int, found: int | None, noise: float
) -> None:
    assert repetitions(_moments(pictures, files, noise)) == found


def test_nothing_is_said_of_repetitions_without_a_sample() -> None:
    moments = _moments(10, 60, 0.0)
    assert repetitions(moments._replace(sample=None)) is None
