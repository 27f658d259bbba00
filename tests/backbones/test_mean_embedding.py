import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from solo_invariance import TaskConfig, TransferSettings, load_backbone, mean_embedding, measure, transfer
from solo_invariance.backbones import Backbone, BackboneConfig, LayerFeatures, ViewsConfig, random_init_of
from solo_invariance.backbones.files.fused_checkpoint import require_single
from solo_invariance.data.latent_scenes.dataset import LatentScenes
from solo_invariance.data.sources import image_source
from solo_invariance.errors import UserError
from solo_invariance.families import Family, HorizontalFlip
from solo_invariance.features import ExtractionSettings, FeatureCache, extract_features
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.fuse import fit_fusion
from solo_invariance.measure import MeasureSettings, ResizeCrop
from solo_invariance.plugins import load_plugin

SMALL = {"kwargs": {"width": 0.125}, "crop_size": 32}


def images(count: int = 12, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, size, size, generator=generator)


@pytest.fixture
def backbone() -> Backbone:
    return load_backbone("random:resnet10", **SMALL)


def test_features_are_the_mean_of_those_of_the_familys_views(backbone: Backbone) -> None:
    family, pictures = load_plugin("families", "default"), images(3)
    drawn = family.draw(5, torch.Generator().manual_seed(4))
    # Each image alone, all its views in one batch.
    expected = [backbone(family.apply(one.expand(5, -1, -1, -1), drawn, 32)).mean(0) for one in pictures]
    found = mean_embedding(backbone, "default", num_views=5, seed=4)(pictures)
    assert torch.allclose(found, torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, backbone(pictures), rtol=1e-2, atol=1e-2)


def test_one_view_that_changes_nothing_gives_plain_features(backbone: Backbone) -> None:
    for size in (32, 48):  # another size is the network's before views are drawn
        pictures = images(size=size)
        assert torch.equal(mean_embedding(backbone, "identity", num_views=1)(pictures), backbone(pictures))


def test_features_depend_on_the_image_and_the_seed_alone(backbone: Backbone) -> None:
    pictures, averaged = images(), mean_embedding(backbone, "ventral", num_views=4, seed=1)
    whole = averaged(pictures)
    assert torch.allclose(torch.cat([averaged(part) for part in pictures.split(5)]), whole, atol=1e-5)
    torch.manual_seed(9)
    assert torch.allclose(averaged(pictures.flip(0)).flip(0), whole, atol=1e-5)
    assert torch.equal(mean_embedding(backbone, "ventral", num_views=4, seed=1)(pictures), whole)
    assert not torch.allclose(mean_embedding(backbone, "ventral", num_views=4, seed=2)(pictures), whole, atol=1e-3)


def test_averaging_over_mirror_images_makes_a_backbone_invariant_to_them() -> None:
    backbone = load_backbone("random:resnet10", layer="layer3.0.bn2", **SMALL)
    settings = MeasureSettings(num_images=60, geometry=ResizeCrop(36, 32))
    scenes, mirror = LatentScenes(300, size=36, seed=0).images, Family("mirror", (HorizontalFlip(p=0.5),))

    def similarity(of: Backbone) -> dict[str, float]:
        found = measure(of, scenes, ["h_flip", "v_flip"], settings, device="cpu").only
        return {name: one.similarity.mean for name, one in found.transforms.items()}

    plain, averaged = similarity(backbone), similarity(mean_embedding(backbone, mirror))
    assert plain["h_flip"] < 0.4
    assert averaged["h_flip"] > 0.9  # not 1: of 32 views, 19 are mirrored
    assert averaged["v_flip"] == pytest.approx(plain["v_flip"], abs=0.1)  # and to nothing else
    pairs = [mean_embedding(backbone, mirror, num_views=2, seed=seed) for seed in range(20)]
    balanced = next(one for one in pairs if int(mirror.draw(2, _generator(one))[0]["applied"].sum()) == 1)
    assert similarity(balanced)["h_flip"] > 0.999


def _generator(of: Backbone) -> torch.Generator:
    assert of.views is not None
    return torch.Generator().manual_seed(of.views.seed)


def test_members_of_a_fusion_are_averaged_then_fused(backbone: Backbone, tmp_path: Path) -> None:
    other, pictures = load_backbone("random:resnet10", seed=1, **SMALL), images()
    fused = fit_fusion([backbone, other], load_plugin("fusions", "concat"), "concat")
    averaged = mean_embedding(fused, "ventral", num_views=3)
    members = [mean_embedding(member, "ventral", num_views=3)(pictures) for member in (backbone, other)]
    assert torch.allclose(averaged(pictures), torch.cat(members, dim=1), atol=1e-6)
    assert averaged.describe()["views"]["family"] == "ventral"
    bytes_ = images().mul(255).byte()
    source = image_source(bytes_)
    extracted = extract_features(averaged, source, cache=FeatureCache(tmp_path, 10**9))
    assert torch.allclose(extracted, averaged(bytes_.float() / 255), atol=1e-5)


def test_layers_are_averaged_and_twins_are_untrained_with_the_same_views(backbone: Backbone) -> None:
    layered = load_backbone("random:resnet10", layer=["layer2", "layer3"], **SMALL)
    averaged = mean_embedding(layered, "ventral", num_views=2)
    assert averaged.layers == layered.layers
    assert isinstance(averaged.network, LayerFeatures)
    twin = random_init_of(averaged, 0)
    assert twin.views == averaged.views
    assert not torch.allclose(twin(images()), averaged(images()))


def test_what_is_known_of_features_tells_views_apart(backbone: Backbone) -> None:
    backbones = [
        backbone,
        mean_embedding(backbone, "ventral", num_views=2),
        mean_embedding(backbone, "ventral", num_views=3),
        mean_embedding(backbone, "ventral", num_views=2, seed=1),
        mean_embedding(backbone, "dorsal", num_views=2),
    ]
    assert len({digest_of_backbone(one) for one in backbones}) == len(backbones)


def test_the_cache_and_batches_do_not_change_features(backbone: Backbone, tmp_path: Path) -> None:
    source, averaged = image_source(images()), mean_embedding(backbone, "default", num_views=2)
    cache = FeatureCache(tmp_path, 10**9)
    plain = extract_features(backbone, source, cache=cache)
    first = extract_features(averaged, source, cache=cache)
    assert not torch.allclose(first, plain, atol=1e-2)
    assert torch.equal(extract_features(averaged, source, cache=cache), first)
    small = extract_features(averaged, source, ExtractionSettings(batch_size=5, num_workers=0))
    assert torch.allclose(small, first, atol=1e-5)


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_commands_record_views_and_give_pythons_numbers(cli, tmp_path: Path, protocol: str) -> None:
    out = tmp_path / "measured"
    few = ["data.name=latent_scenes", "data.num_images=80", "data.size=32", "views=[]", "num_images=10"]
    model = ["backbone.name=random:resnet10", "backbone.kwargs.width=0.125", "backbone.crop_size=32"]
    views = ["backbone.views={family: ventral, num_views: 2}", "backbone.layer=layer2.0.bn2", f"protocol={protocol}"]
    assert cli("measure", *model, *few, *views, "transforms=[h_flip]", "device=cpu", f"out={out}")[0] == 0
    recorded = json.loads((out / "invariance.json").read_text())["backbone"]["views"]
    assert (recorded["family"], recorded["num_views"], recorded["seed"]) == ("ventral", 2, 0)
    task = ["task.name=position", "task.num_train=40", "task.num_test=10", "task.size=32"]
    assert cli("transfer", *model, *task, *views, "device=cpu", f"out={tmp_path / 'transferred'}")[0] == 0
    scored = json.loads((tmp_path / "transferred" / "transfer.json").read_text())
    assert scored["backbone"]["views"] == recorded
    config = BackboneConfig(name="random:resnet10", layer="layer2.0.bn2", views=ViewsConfig("ventral", 2), **SMALL)
    settings = TransferSettings(protocol=protocol)  # type: ignore[arg-type]
    ours = transfer(
        load_backbone(config), TaskConfig("position", num_train=40, num_test=10, size=32), settings, device="cpu"
    )
    assert ours.only.score.mean == pytest.approx(scored["score"], abs=1e-6)


def test_runs_of_a_checkpoint_with_and_without_views_are_told_apart(host_checkpoint, tmp_path: Path) -> None:
    plain = load_backbone(host_checkpoint())
    settings = MeasureSettings(num_images=5, k=2, geometry=ResizeCrop.of_crop(32))
    measure(plain, images(80, 36), ["h_flip"], settings, out=tmp_path / "out", device="cpu")
    averaged = mean_embedding(plain, "ventral", num_views=2)
    with pytest.raises(UserError, match="out"):
        measure(averaged, images(80, 36), ["h_flip"], settings, out=tmp_path / "out", device="cpu")


def test_what_cannot_be_averaged_is_refused(backbone: Backbone) -> None:
    averaged = mean_embedding(backbone, "ventral", num_views=2)
    with pytest.raises(UserError, match="averaged over views already"):
        mean_embedding(averaged, "dorsal")
    with pytest.raises(UserError, match="which no fused checkpoint keeps"):
        require_single(averaged)
    with pytest.raises(UserError, match=r"backbone\.views\.num_views=0: expected at least 1"):
        mean_embedding(backbone, "ventral", num_views=0)
    with pytest.raises(UserError, match="there is no 'ventrall'; did you mean 'ventral'"):
        mean_embedding(backbone, "ventrall")
