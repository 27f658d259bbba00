"""The tasks on the embedded dataset, and that nothing embedded is seen twice."""

import math

import pytest
import torch
from torch import Tensor

from solo_invariance.config.fuse import FusionReferenceConfig
from solo_invariance.config.measure import DataConfig, ReferenceConfig
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.data.images import TensorImages
from solo_invariance.data.latent_scenes.dataset import (
    LATENTS,
    SHAPES,
    VIEW_SETS,
    LatentScenes,
    render,
    sample_latents,
    view_group_latents,
)
from solo_invariance.features.digests import digests_of
from solo_invariance.fuse.images import FusionImages
from solo_invariance.fuse.settings import FuseSettings
from solo_invariance.transfer.tasks import Split, TaskSettings, scenes

NAMES = [latent.name for latent in LATENTS]
_SETTINGS = TaskSettings(num_train=5, num_test=3, size=16, seed=9)


def _pixels(split: Split) -> Tensor:
    return torch.stack([split.images[index] for index in range(len(split.images))])


def test_the_pose_of_one_shape_is_its_three_angles() -> None:
    classes, latents = sample_latents(torch.arange(8), seed=9)
    airplanes = render(torch.full_like(classes, SHAPES.index("airplane")), latents, 16)
    train, test = scenes.pose.load(_SETTINGS)
    assert torch.equal(torch.cat([_pixels(train), _pixels(test)]), airplanes)
    angles = [NAMES.index(f"rotation_{name}") for name in ("phi", "theta", "psi")]
    assert torch.equal(torch.cat([train.targets, test.targets]), latents[:, angles])
    # The older task is of whatever shape there is.
    train, test = scenes.rotation.load(_SETTINGS)
    assert torch.equal(torch.cat([_pixels(train), _pixels(test)]), render(classes, latents, 16))
    assert torch.equal(torch.cat([train.targets, test.targets]), latents[:, angles])


def test_recognition_has_twenty_labels_a_shape_and_all_else_varies() -> None:
    train, test = scenes.recognition.load(TaskSettings(size=16))
    assert (len(train.images), len(test.images)) == (20 * len(SHAPES), 1000)
    classes, latents = sample_latents(torch.arange(160 + 1000), seed=2)
    assert torch.equal(torch.cat([train.targets, test.targets]), classes)
    assert set(train.targets.tolist()) == set(range(len(SHAPES)))
    low, high = (torch.tensor([getattr(latent, end) for latent in LATENTS]) for end in ("low", "high"))
    assert (latents[:160].std(0) > (high - low) / math.sqrt(12) * 0.8).all()
    assert len(scenes.shape.load(TaskSettings(size=16, num_test=2))[0].images) == 2000


def test_a_shape_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="shape is 'cube'; the shapes are airplane, chair"):
        LatentScenes(3, shape="cube")


def test_nothing_embedded_is_seen_twice() -> None:
    """Scenes to pre-train on, to measure, to whiten by, to fuse by, to score on, and views share none, by default.

    Nor do they by the seeds of a study's sections, which are among these.
    """
    data, reference, number = DataConfig(), ReferenceConfig(), 3000
    seeds = {"pretrain": PretrainConfig().data.seed, "measure": data.seed, "reference": reference.seed}
    seeds |= {"task": TaskConfig().seed}
    assert len(set(seeds.values())) == len(seeds)
    parts = [torch.cat([c[:, None].float(), x], 1) for c, x in (_scenes(seed, number) for seed in seeds.values())]
    for name in VIEW_SETS:
        classes, latents = view_group_latents(name, data.num_groups, data.num_views, data.seed)
        parts.append(torch.cat([classes.flatten()[:, None].float(), latents.flatten(0, 1)], 1))
    everything = torch.cat(parts)
    assert len(everything.unique(dim=0)) == len(everything)


def _scenes(seed: int, number: int) -> tuple[Tensor, Tensor]:
    return sample_latents(torch.arange(number), seed)


def test_fusions_are_fitted_to_none_of_the_scenes_that_backbones_are_trained_on() -> None:
    fitted = FusionImages("projected", [], "latent_scenes", None, FuseSettings(reference_images=30))
    (source,) = fitted.sources().values()
    default = PretrainConfig().data
    trained = TensorImages(LatentScenes(30, size=default.size, seed=default.seed).images)
    assert len(digests_of(source)) == 30
    assert not {*digests_of(source)} & {*digests_of(trained)}
    assert FusionReferenceConfig(name="latent_scenes").num_images == 5000
