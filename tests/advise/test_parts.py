"""The parts that advice is made of, against what they must be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from solo_invariance import transfer
from solo_invariance.advise import AdviseSettings
from solo_invariance.advise.invariant import Components, Variation, _positive, invariant_directions
from solo_invariance.advise.ranking import ranking, recommended
from solo_invariance.advise.reading import Bench, Effect, Reading
from solo_invariance.advise.trained import Known, Trained, by_family, correlations, drawn_means, known_in, told_apart
from solo_invariance.advise.views import Canvases, FamilyChange, TransformChange
from solo_invariance.backbones import load_backbone
from solo_invariance.bootstrap import Estimate, ResampledScores
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.families import dorsal, identity
from solo_invariance.measure.transforms import hue, rotation, translation


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_variation_finds_the_variances_that_were_put_there() -> None:
    """Images have deviations 3 and 1, their views 1 and 2."""
    views = _normal(4000, 1, 2) * torch.tensor([3.0, 1.0]) + _normal(4000, 3, 2, seed=1) * torch.tensor([1.0, 2.0])
    found = Variation.of(views)
    torch.testing.assert_close(found.between.diagonal(), torch.tensor([9.0, 1.0]).double(), rtol=0.1, atol=0.1)
    torch.testing.assert_close(found.within.diagonal(), torch.tensor([1.0, 4.0]).double(), rtol=0.05, atol=0.05)
    assert found.share_within == pytest.approx(5 / 15, abs=0.02)


def test_what_views_share_comes_first() -> None:
    mixing = torch.linalg.qr(_normal(3, 3, seed=5)).Q
    deviations = torch.tensor([[2.0, 3.0, 3.0], [2.0, 6.0, 0.1]], dtype=torch.float64)
    views = (_normal(5000, 1, 3) * deviations[0] + _normal(5000, 2, 3, seed=1) * deviations[1]) @ mixing
    plain = views.mean(1)
    found = invariant_directions(Variation.of(views), plain)
    mapped = (mixing @ found).abs()
    # 3 against 0.1, 2 against 2, and what has most variance, 3 against 6, last.
    assert mapped.argmax(0).tolist() == [2, 0, 1]


def test_directions_are_those_of_scipy() -> None:
    views, plain = _normal(300, 4, 6) + 2 * _normal(300, 1, 6, seed=1), _normal(300, 6, seed=2)
    variation = Variation.of(views)
    ridge = 0.1 * float(plain.var(0).mean()) * np.eye(6)
    total = (variation.between + variation.within).numpy() + ridge
    _, vectors = scipy.linalg.eigh(variation.between.numpy(), total)
    found = invariant_directions(variation, plain)
    torch.testing.assert_close(found.abs(), torch.from_numpy(vectors[:, ::-1].copy()).abs())


def test_of_images_themselves_they_are_principal_components() -> None:
    plain = _normal(500, 4) * torch.tensor([1.0, 4.0, 2.0, 0.5])
    found = invariant_directions(Variation.of(plain[:, None]), plain)
    assert found.abs().argmax(0).tolist() == [1, 2, 0, 3]


def test_components_survive_features_that_hardly_ever_respond() -> None:
    features = _normal(100, 5)
    features[:, 4] = 0
    features[0, 4] = 1e-12
    components = Components.of(features)
    assert components.scale[4] == pytest.approx(1e-3 * float(features[:, :4].std(0).max()))  # not noise at full height
    far = torch.full((1, 5), 1e6, dtype=torch.float64)
    assert components.apply(far).abs().max() < 20
    assert components.axes.shape == (5, 5)


def test_directions_that_views_take_off_more_than_there_is_keep_a_thousandth_of_the_mean() -> None:
    rotation_ = torch.linalg.qr(_normal(3, 3, seed=2)).Q
    covariance = (rotation_ * torch.tensor([3.0, 1.0, -1.0])) @ rotation_.T
    assert torch.linalg.eigvalsh(_positive(covariance)).tolist() == pytest.approx([1e-3, 1.0, 3.0])


def test_views_are_those_of_a_seed_and_not_of_another() -> None:
    images = torch.randint(256, (5, 3, 40, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    canvases = Canvases(images, torch.tensor([40, 40]).expand(5, 2))
    for change in (FamilyChange(dorsal, 32), TransformChange(hue, 32), TransformChange(translation, 32)):
        one, again, other = (change.views(canvases, 2, seed) for seed in (0, 0, 1))
        assert [view.shape for view in one] == [(5, 3, 32, 32)] * 2
        assert torch.equal(one[0], again[0])
        assert not torch.equal(one[0], one[1])
        assert not torch.equal(one[0], other[0])
        assert not torch.equal(change.plain(canvases), one[0])
    assert torch.equal(FamilyChange(identity, 32).views(canvases, 1, 3)[0], FamilyChange(dorsal, 32).plain(canvases))


def test_a_transform_turns_each_image_by_an_angle_of_its_own() -> None:
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, :20] = 255
    images = Canvases(image.expand(30, 3, 64, 64), torch.tensor([64, 64]).expand(30, 2))
    (views,) = TransformChange(rotation, 64).views(images, 1, 0)
    assert 8 < len({view.numpy().tobytes() for view in views}) <= 16


def _reading(kind: str, metric: str, targets: Tensor) -> Reading:
    return Reading.of(kind, metric, targets, targets, 0)


def test_changes_of_predictions_in_their_units() -> None:
    classes = torch.tensor([0, 1, 2, 1])
    assert _reading("classification", "accuracy", classes).change(classes, torch.tensor([0, 1, 1, 1])).mean == 0.25
    labels = torch.tensor([[True, False], [False, True]])
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    flipped = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    assert _reading("multilabel", "mean_average_precision", labels).change(signs, flipped).mean == 0.25
    numbers = _normal(2000, 2) * torch.tensor([1.0, 50.0])
    shuffled = numbers[torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    assert _reading("regression", "r2", numbers).change(numbers, shuffled).mean == pytest.approx(1, abs=0.05)


def test_no_image_is_in_two_folds() -> None:
    """Targets by lot could be told of a copy in another fold: the penalty must be as for one copy of each."""
    features, targets = _normal(60, 20), _normal(60, 1, seed=1)
    reading = Reading.of("regression", "r2", targets, targets, 0)
    once, copied = (reading.predictions(features[:, None].expand(60, k, 20), features)[0] for k in (1, 3))
    torch.testing.assert_close(once, copied)


def _scores(values: list[float]) -> ResampledScores:
    samples = torch.tensor(values).double()
    return ResampledScores(samples.mean(), samples, 100)


def _effect(strength: float, seen: list[float], kept: list[float]) -> Effect:
    return Effect(strength, Estimate(0.0, 0.0, 0.0, 0.0), _scores(seen), _scores(kept))


class _Bench(Bench):
    def __init__(self, score: list[float], kept: list[float]) -> None:
        self.__dict__.update(score=_scores(score), kept=_scores(kept))


def test_safe_families_come_first_by_strength_and_the_others_by_what_they_cost() -> None:
    """Chance is 0.2 and the score 1: a quarter of 0.8 may be lost of views, a twentieth of features that are kept."""
    bench = _Bench([1.0] * 4, [0.9] * 4)
    effects = {
        "strong": _effect(0.8, [0.81, 0.79, 0.81, 0.81], [0.9] * 4),  # safe in three of four
        "weak": _effect(0.3, [1.0] * 4, [0.9, 0.9, 0.87, 0.9]),
        "lossy": _effect(0.9, [1.0] * 4, [0.85] * 4),  # 0.05 of 0.8 is more than a twentieth
        "hard": _effect(0.7, [0.3] * 4, [0.93, 0.95, 0.95, 0.95]),  # gains a twentieth in three of four
        "none": _effect(0.0, [1.0] * 4, [0.9] * 4),
    }
    found = ranking(bench, effects, 0.2, {}, AdviseSettings())
    assert [(one.name, one.first, one.safe) for one in found] == [
        ("strong", 0.75, 0.75),
        ("hard", 0.25, 0.75),
        ("weak", 0.0, 1.0),
        ("none", 0.0, 1.0),
        ("lossy", 0.0, 0.0),
    ]
    assert {one.name: one.place for one in found}["lossy"] == 4.5
    assert recommended(found) == ["strong", "hard"]


def test_of_families_that_cost_the_least_costly_is_first_whatever_its_strength() -> None:
    bench = _Bench([1.0] * 4, [0.9] * 4)
    effects = {
        "costly": _effect(0.9, [0.3] * 4, [0.8] * 4),
        "cheaper": _effect(0.2, [0.6] * 4, [0.8] * 4),
        "lossy": _effect(0.5, [0.6] * 4, [0.7] * 4),
    }
    found = ranking(bench, effects, 0.2, {}, AdviseSettings())
    assert [(one.name, one.safe) for one in found] == [("cheaper", 0.0), ("lossy", 0.0), ("costly", 0.0)]


def test_backbones_deal_out_the_places_of_their_families() -> None:
    bench = _Bench([1.0] * 4, [0.9] * 4)
    effects = {name: _effect(strength, [1.0] * 4, [0.9] * 4) for name, strength in (("a", 3), ("b", 2), ("c", 1))}
    trained = {"a": Trained((0.5, 0.501)), "c": Trained((0.8, 0.801)), "b": Trained((0.99,))}
    found = ranking(bench, effects, 0.2, trained, AdviseSettings())
    assert [(one.name, one.evidence) for one in found] == [("c", "backbones"), ("b", "data"), ("a", "backbones")]
    alone = ranking(None, {}, 0.2, {"b": trained["b"], **trained}, AdviseSettings())
    assert [one.name for one in alone] == ["c", "a"]  # one backbone does not count
    assert alone[0].safe is None


def test_seeds_that_differ_much_leave_it_open() -> None:
    apart, close = (Trained((0.50, 0.70)), Trained((0.55, 0.71))), (Trained((0.50, 0.51)), Trained((0.70, 0.71)))
    first = [float((drawn_means(pair, 0).argmax(1) == 1).mean()) for pair in (apart, close)]
    assert 0.5 < first[0] < 0.75
    assert first[1] > 0.95


def test_means_are_drawn_as_students_t() -> None:
    draws = np.concatenate([drawn_means([Trained((0.0, 2.0))] * 3, seed) for seed in range(10)])
    # Deviation sqrt(2) of one, 1 of the mean of two, with three degrees of freedom.
    assert np.quantile(draws, [0.025, 0.25, 0.75, 0.975]) == pytest.approx(
        [1 - 3.182, 1 - 0.765, 1 + 0.765, 1 + 3.182], abs=0.15
    )


def test_scores_go_with_invariances_over_backbones() -> None:
    known = [Known(f"f{n // 2}", BackboneConfig(name="random:resnet10"), None, {"hue": float(n)}) for n in range(8)]
    known[0] = replace(known[0], invariances={**known[0].invariances, "blur": 1.0})

    class _Result:
        def __init__(self, score: float) -> None:
            self.mean_score = score

    scores = [_Result(-float(n)) for n in range(8)]
    found = correlations(known, scores)  # type: ignore[arg-type]
    assert [*found] == ["hue"]
    assert found["hue"].rho == pytest.approx(-1)
    assert by_family(known, scores)["f1"].scores == (-2.0, -3.0)  # type: ignore[arg-type]


def _checkpoint(folder: Path, family: str, seed: int, name: str = "resnet10w025") -> Path:
    """Write weights as the embedded host does, with what they were trained by."""
    folder.mkdir(parents=True)
    weights = load_backbone(f"random:{name}", seed).network.state_dict()
    torch.save({"state_dict": {f"backbone.{key}": value for key, value in weights.items()}}, folder / "run-ep=0.ckpt")
    args = {"backbone": {"name": name, "kwargs": {}}, "invariance": {"family": family}, "seed": seed, "name": "mine"}
    args |= {"augmentations": [{"family": family, "crop_size": 32, "num_crops": 2}], "data": {"dataset": "cifar10"}}
    (folder / "args.json").write_text(json.dumps(args))
    return folder / "run-ep=0.ckpt"


def test_weights_count_once_and_families_are_those_they_were_trained_with(tmp_path: Path) -> None:
    first, second = (_checkpoint(tmp_path / f"v{seed}", "ventral", seed) for seed in (0, 1))
    wide = _checkpoint(tmp_path / "wide", "ventral", 2, "resnet10w075")
    known = [
        Known("mine", BackboneConfig(checkpoint=str(path), label=f"mine {path.parent.name}"))
        for path in (first, first, second, wide)
    ]
    known[1] = replace(known[1], invariances={"hue": 0.5})
    found = told_apart(known, 0)
    assert [one.family for one in found] == ["ventral", "ventral", "ventral (resnet10w075, 384-d)"]
    assert found[0].invariances == {"hue": 0.5}
    assert len({one.weights for one in found}) == 3


def test_what_results_do_not_say_how_to_load_is_left_out(tmp_path: Path) -> None:
    """As of a study's untrained arm, or of a module of one's own."""
    path = _checkpoint(tmp_path / "run", "ventral", 0)
    images = torch.randint(256, (60, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    task = (images[:40], images[:40].float().mean((1, 2, 3)), images[40:], images[40:].float().mean((1, 2, 3)))
    for name, net in (("trained", load_backbone(str(path))), ("untrained", load_backbone("random:resnet10w025"))):
        net.provenance = replace(net.provenance, label=name)
        transfer(net, task, out=tmp_path / "results" / name, device="cpu", cache=False)
    found = known_in([tmp_path / "results"])
    assert [one.source.checkpoint for one in found] == [str(path)]
