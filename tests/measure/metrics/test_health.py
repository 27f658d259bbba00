"""Label-free health: against NumPy, planted spectra and other people's code."""

import importlib
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.measure.functional import alpha_req, rankme
from solo_invariance.measure.functional import health as functional
from solo_invariance.measure.metrics import AlphaReQ, RankMe
from solo_invariance.measure.metrics.prototypes import of_views_and_features, prototype_of

BOTH = pytest.mark.parametrize(("metric", "twin"), [(RankMe, rankme), (AlphaReQ, alpha_req)])
SHAPES = pytest.mark.parametrize("shape", [(400, 48), (48, 48), (40, 64), (1000, 160)])


def _features(*shape: int, seed: int = 0) -> Tensor:
    """Features with a mean, whose variance decays."""
    draws = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return draws * torch.arange(1.0, shape[1] + 1) ** -0.6 + 0.4


def _of_spectrum(*eigenvalues: float, num_images: int = 400) -> Tensor:
    """Features whose covariance has these eigenvalues, up to a factor, and whose mean is 0."""
    draws = torch.randn(num_images, len(eigenvalues), generator=torch.Generator().manual_seed(0)).double()
    basis = torch.linalg.qr(draws - draws.mean(dim=0)).Q
    turn = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64)).Q
    return (basis * torch.tensor(eigenvalues, dtype=torch.float64).sqrt()) @ turn


@SHAPES
def test_rankme_is_the_papers_formula_on_numpys_singular_values(shape: tuple[int, int]) -> None:
    features = _features(*shape)
    values = np.linalg.svd(features.double().numpy(), compute_uv=False)
    assert len(values) == min(shape)
    p = values / np.abs(values).sum() + 1e-7
    assert rankme(features).item() == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-9)


@SHAPES
def test_alpha_is_numpys_weighted_line_through_the_eigenvalues_of_its_covariance(shape: tuple[int, int]) -> None:
    features = _features(*shape)
    eigenvalues = np.linalg.eigvalsh(np.cov(features.double().numpy(), rowvar=False))[::-1]
    index = np.arange(11, min(100, shape[0] - 1, shape[1]) + 1)
    # NumPy weights the residuals, not their squares.
    slope = np.polyfit(np.log(index), np.log(eigenvalues[index - 1]), 1, w=np.sqrt(1 / index))[0]
    assert alpha_req(features).item() == pytest.approx(-slope, rel=1e-6)


def test_a_planted_power_law_is_found_whatever_the_other_eigenvalues_are() -> None:
    law = torch.arange(1.0, 151.0, dtype=torch.float64) ** -1.3
    law[:10], law[100:] = 7.0, 1e-4
    assert alpha_req(_of_spectrum(*law.tolist())).item() == pytest.approx(1.3, abs=1e-6)
    assert alpha_req(_of_spectrum(*law.tolist()), last=120).item() > 1.4
    assert alpha_req(_of_spectrum(*law.tolist()), first=5).item() > 1.4


@BOTH
@SHAPES
def test_streamed_in_batches_it_is_the_functional_twin(metric: Any, twin: Any, shape: tuple[int, int]) -> None:
    features = _features(*shape)
    for batch in (7, len(features)):
        running = metric(shape[1])
        for part in features.split(batch):
            running.update(part)
        assert running.compute().item() == pytest.approx(twin(features).item(), rel=1e-6)


def test_streamed_it_keeps_its_range() -> None:
    features = _features(300, 40)
    running = AlphaReQ(40, first=3, last=20)
    running.update(features)
    assert running.compute().item() == pytest.approx(alpha_req(features, 3, 20).item(), rel=1e-6)
    assert running.compute().item() != pytest.approx(alpha_req(features).item(), rel=1e-3)


@BOTH
def test_an_origin_and_what_it_saw_before_a_reset_change_nothing(metric: Any, twin: Any) -> None:
    features = _features(300, 40)
    running = metric(40, origin=features[0])
    running.update(features * 3)
    running.reset()
    running.update(features)
    assert running.compute().item() == pytest.approx(twin(features).item(), rel=1e-6)


@BOTH
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scale_and_turns_of_the_features_do_not_count(metric: Any, twin: Any, factor: float) -> None:
    features = _features(200, 40).double()
    turn = torch.linalg.qr(_features(40, 40).double()).Q
    for other in (features * factor, features @ turn):
        assert twin(other).item() == pytest.approx(twin(features).item(), rel=1e-5)


def test_the_rank_of_features_of_few_directions_is_their_number() -> None:
    for rank in (1, 3, 8):
        features = _of_spectrum(*[1.0] * rank, *[0.0] * (40 - rank))
        # The paper's epsilon makes each of the other directions count for 1.6e-6 nats.
        assert rankme(features).item() == pytest.approx(rank, rel=1e-3)
        running = RankMe(40)
        running.update(features)
        assert running.compute().item() == pytest.approx(rank, rel=1e-3)


def test_a_mean_counts_in_the_rank_and_not_in_the_exponent() -> None:
    features = _features(400, 40)
    assert rankme(features + 100).item() < 2 < rankme(features).item()
    assert alpha_req(features.double() + 100).item() == pytest.approx(alpha_req(features).item(), rel=1e-6)


def test_features_that_are_alike_in_all_directions_have_nearly_all_of_them() -> None:
    features = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    assert 63.8 < rankme(features).item() < 64
    assert alpha_req(features).item() < 0.1
    assert rankme(features[:32]).item() < 32


def test_the_exponent_stops_where_rounding_begins() -> None:
    features = _features(400, 25) @ torch.randn(25, 60, generator=torch.Generator().manual_seed(1))
    assert np.linalg.matrix_rank(features.numpy()) == 25
    eigenvalues = np.linalg.eigvalsh(np.cov(features.double().numpy(), rowvar=False))[::-1]
    index = np.arange(11, 26)
    slope = np.polyfit(np.log(index), np.log(eigenvalues[index - 1]), 1, w=np.sqrt(1 / index))[0]
    assert alpha_req(features).item() == pytest.approx(-slope, rel=1e-6)


@pytest.mark.parametrize("shape", [(400, 40), (40, 400)])
def test_rounding_is_that_of_as_many_images_and_features(shape: tuple[int, int]) -> None:
    """Five directions are as small as rounding is among 400 of either, and not among 40."""
    law = torch.arange(1.0, 26.0, dtype=torch.float64) ** -1.3
    spectrum = torch.cat([law, (100 * law.new_full((5,), torch.finfo(torch.float32).eps)) ** 2])
    draws = torch.randn(sum(shape), 30, generator=torch.Generator().manual_seed(0)).double()
    images = torch.linalg.qr(draws[: shape[0]] - draws[: shape[0]].mean(dim=0)).Q
    features = images * spectrum.sqrt() @ torch.linalg.qr(draws[shape[0] :]).Q.T
    running = AlphaReQ(shape[1])
    running.update(features)
    for alpha in (alpha_req(features), running.compute()):
        assert alpha.item() == pytest.approx(1.3, abs=1e-6)


@pytest.mark.parametrize("errors", [0, 2])
def test_an_exponent_of_features_that_differ_by_rounding_alone_is_none(errors: float) -> None:
    draws = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    constant = torch.rand(64, generator=torch.Generator().manual_seed(1)) + 0.5
    collapsed = constant * (1 + errors * torch.finfo(torch.float32).eps * draws)
    running = AlphaReQ(64)
    running.update(collapsed)
    for compute in (lambda: alpha_req(collapsed), running.compute):
        with pytest.raises(ValueError, match="of 0 directions that vary"):
            compute()
    assert rankme(collapsed).item() == pytest.approx(1, abs=1e-3)
    varying = constant * (1 + 1e-4 * draws)  # which is a thousand times as much
    assert alpha_req(varying).item() == pytest.approx(alpha_req(varying.double() - constant).item(), rel=1e-3)


def test_what_says_nothing_is_refused() -> None:
    for wrong in (torch.full((30, 30), torch.nan), torch.eye(30) / 0):
        for metric in (alpha_req, rankme):
            with pytest.raises(ValueError, match="expected features that are finite numbers"):
                metric(wrong)
    with pytest.raises(ValueError, match="19 directions that vary: a line from eigenvalue 11 on needs 20"):
        alpha_req(_features(100, 19))
    assert alpha_req(_features(100, 20)) > 0
    with pytest.raises(ValueError, match="15 directions that vary"):
        alpha_req(_features(16, 40))
    with pytest.raises(ValueError, match="counted from 1"):
        alpha_req(_features(100, 40), first=0)
    with pytest.raises(ValueError, match="all 0"):
        rankme(torch.zeros(8, 3))
    for wrong in (torch.zeros(0, 3), torch.zeros(3), torch.zeros(2, 3, 4)):
        with pytest.raises(ValueError, match=r"expected features \(N, D\)"):
            rankme(wrong)


_THEIRS = """
import sys
from types import SimpleNamespace
import torch
from stable_pretraining.callbacks import RankMe
callback = RankMe("rankme", "embedding", queue_length=300, target_shape=48, verbose=False)
callback._target_queue = SimpleNamespace(data=torch.load(sys.argv[1], weights_only=True))
module = SimpleNamespace(log=lambda name, value: print(f"{name}={value!r}"))
callback.on_validation_batch_end(SimpleNamespace(global_rank=0), module, {}, {}, 0)
"""


def test_stable_pretrainings_callback_has_the_same_number_but_for_its_epsilon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = Path(sys.prefix) / "trainers" / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"stable-pretraining has an environment of its own, made by `make test`: {python} is not there")
    features = _features(300, 48)
    torch.save(features, tmp_path / "features.pt")
    command = [python, "-c", _THEIRS, tmp_path / "features.pt"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    (theirs,) = (float(line.removeprefix("rankme=")) for line in said.splitlines() if line.startswith("rankme="))
    assert theirs != pytest.approx(rankme(features).item(), rel=1e-4)
    monkeypatch.setattr(functional, "EPSILON", 1e-5)  # the paper has 1e-7
    assert theirs == pytest.approx(rankme(features).item(), rel=1e-5)


def compute_in_process(rank: int, folder: Path) -> None:
    """Compute both metrics, as one of two processes that have images of their own."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    numbers = {}
    for metric in (RankMe, AlphaReQ):
        running = metric(40)
        for part in _features(300, 40).split([100, 200])[rank].split(64):
            running.update(part)
        numbers[metric.__name__] = running.compute()
    torch.save(numbers, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A new process imports the function by the name of its module, which pytest does not put on the path.
    monkeypatch.syspath_prepend(Path(__file__).parent)
    worker = importlib.import_module(Path(__file__).stem).compute_in_process
    torch.multiprocessing.spawn(worker, (tmp_path,), nprocs=2)
    alone = {"RankMe": rankme(_features(300, 40)), "AlphaReQ": alpha_req(_features(300, 40))}
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


def test_memory_does_not_grow_with_the_images() -> None:
    running, sizes = RankMe(5), set()
    for _ in range(3):
        running.update(torch.randn(100, 5))
        sizes.add(sum(getattr(running, name).numel() for name in running._defaults))
    assert sizes == {1 + 5 + 25}


def test_a_prototype_is_of_any_width_and_keeps_its_options() -> None:
    views, features = of_views_and_features({"rankme": RankMe, "slope": AlphaReQ(7, first=3)})
    assert not views
    assert (type(features["rankme"]), features["slope"].first) == (RankMe, 3)
    with pytest.raises(TypeError, match="nothing is 3"):
        prototype_of("nothing", 3)  # type: ignore[arg-type]
