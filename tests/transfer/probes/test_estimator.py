"""Probes are scikit-learn's estimators in what scikit-learn does with them."""

from typing import Any

import numpy as np
import pytest
import sklearn.utils
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import cross_val_score

from solo_invariance.transfer import probes

KINDS = [getattr(probes, name) for name in probes.__all__]
CLASSIFIERS = [probes.KNNProbe, probes.LogisticProbe, probes.OfficialLogisticProbe]


def _data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(80, 6))
    return features, features[:, 0] + 0.1 * generator.normal(size=80)


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_is_cloned_with_its_settings_alone(kind: Any) -> None:
    probe = kind(folds=3, seed=4)
    copy = clone(probe)
    assert type(copy) is kind
    assert copy is not probe
    assert copy.get_params() == probe.get_params()
    assert (copy.folds, copy.seed) == (3, 4)
    assert repr(copy) == f"{kind.__name__}(folds=3, seed=4)"
    assert repr(kind()) == f"{kind.__name__}()"
    assert copy.set_params(seed=5) is copy
    assert (copy.seed, probe.seed) == (5, 4)
    with pytest.raises(ValueError, match=f"{kind.__name__} has no setting 'sede'; it has .*folds"):
        probe.set_params(sede=5)
    regresses = kind in (probes.RidgeProbe, probes.KernelRidgeProbe)
    assert (is_regressor(probe), is_classifier(probe)) == (regresses, not regresses)
    if hasattr(sklearn.utils, "Tags"):  # since 1.6
        tags = sklearn.utils.get_tags(probe)
        assert (tags.classifier_tags is None, tags.regressor_tags is None) == (regresses, not regresses)


def test_settings_that_are_tensors_are_cloned() -> None:
    probe = probes.RidgeProbe(penalties=torch.tensor([0.1, 1.0]))
    assert torch.equal(clone(probe).penalties, probe.penalties)
    assert repr(probe) == "RidgeProbe(penalties=tensor([0.1000, 1.0000]))"


@pytest.mark.parametrize("kind", [*CLASSIFIERS, probes.RidgeProbe, probes.KernelRidgeProbe])
def test_arrays_give_what_tensors_give_as_arrays(kind: Any) -> None:
    features, targets = _data()
    targets = (targets > 0).astype(int) if kind in CLASSIFIERS else targets
    tensors = kind(folds=3).fit(torch.from_numpy(features), torch.from_numpy(targets))
    arrays = kind(folds=3).fit(features, targets)
    predicted = arrays.predict(features)
    assert isinstance(predicted, np.ndarray)
    np.testing.assert_array_equal(predicted, tensors.predict(torch.from_numpy(features)).numpy())
    assert arrays.score(features, targets) == tensors.score(torch.from_numpy(features), torch.from_numpy(targets))
    assert isinstance(arrays.predict(torch.from_numpy(features)), torch.Tensor)


def test_labels_of_several_kinds_may_be_arrays() -> None:
    features, targets = _data()
    labels = np.stack([targets > 0, targets > 1], axis=1)
    assert isinstance(probes.MultiLabelProbe(folds=3).fit(features, labels).predict(features), np.ndarray)


@pytest.mark.parametrize("kind", [probes.RidgeProbe, probes.LogisticProbe])
def test_scikit_learn_cross_validates_a_probe(kind: Any) -> None:
    features, targets = _data()
    targets = (targets > 0).astype(int) if kind is probes.LogisticProbe else targets
    scores = cross_val_score(kind(folds=3), features, targets, cv=4)
    assert scores.shape == (4,)
    assert scores.min() > 0.7
