from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, LayerFeatures, Provenance
from solo_invariance.backbones.fused import network_of
from solo_invariance.data.decoding import resize_short_side, to_tensor
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.errors import UserError
from solo_invariance.features import ExtractionSettings, FeatureCache, extract_features, member_features
from solo_invariance.fuse import average, concatenate, fit_fusion
from solo_invariance.processes import Processes

Make = Callable[..., Backbone]


def _files(cache: FeatureCache) -> list[Path]:
    return sorted(cache.root.rglob("*.npy"))


def _fused(members: list[Backbone], fusion: Callable[..., Tensor], mode: str) -> Backbone:
    network = network_of(fit_fusion(members, fusion, mode))
    spec = InputSpec(network.crop_size, (0.0,) * 3, (1.0,) * 3)
    backbone = Backbone(network, Architecture("fusion"), spec, Provenance(mode))
    for member in members:
        member.seen = 0  # it has seen an image, which told the width
    return backbone


def test_the_backbone_sees_the_middle_square_in_its_own_size(make_backbone: Make, photo_folder: Path) -> None:
    backbone, files = make_backbone(crop_size=24), ImageFiles(photo_folder / "val")
    squares = []
    for path in files.paths:
        image = to_tensor(resize_short_side(Image.open(path), 24))
        top, left = (round((side - 24) / 2) for side in image.shape[1:])
        squares.append(image[:, top : top + 24, left : left + 24])
    expected = backbone(torch.stack(squares).float() / 255)
    found = extract_features(backbone, files, ExtractionSettings(batch_size=len(files)))
    assert found.dtype == torch.float32
    assert not found.is_inference()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_same_numbers_whatever_the_batches_and_threads(
    make_backbone: Make, images: TensorImages, batch_size: int, num_workers: int
) -> None:
    expected = extract_features(make_backbone(), images)
    found = extract_features(make_backbone(), images, ExtractionSettings(batch_size, num_workers))
    torch.testing.assert_close(found, expected)


def test_a_hit_gives_equal_numbers_and_calls_no_network(
    make_backbone: Make, images: TensorImages, cache: FeatureCache
) -> None:
    expected = extract_features(make_backbone(), images)
    first, second = make_backbone(), make_backbone()
    assert torch.equal(extract_features(first, images, cache=cache), expected)
    assert torch.equal(extract_features(second, images, cache=cache), expected)
    assert (first.seen, second.seen) == (10, 0)
    assert len(_files(cache)) == 3


def test_units_are_known_by_themselves(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    extract_features(make_backbone(), images, cache=cache)
    images.images[5, 0, 0, 4] ^= 1
    backbone = make_backbone()
    expected = extract_features(make_backbone(), images)
    assert torch.equal(extract_features(backbone, images, cache=cache), expected)
    assert backbone.seen == 4


def test_batch_size_and_threads_are_no_part_of_the_key(
    make_backbone: Make, images: TensorImages, cache: FeatureCache
) -> None:
    extract_features(make_backbone(), images, ExtractionSettings(3, 0), cache)
    backbone = make_backbone()
    extract_features(backbone, images, ExtractionSettings(4, 2), cache)
    assert backbone.seen == 0


def test_weights_and_precision_are_part_of_the_key(
    make_backbone: Make, images: TensorImages, cache: FeatureCache
) -> None:
    extract_features(make_backbone(0), images, cache=cache)
    other, coarse = make_backbone(1), make_backbone(0)
    extract_features(other, images, cache=cache)
    found = extract_features(coarse, images, ExtractionSettings(precision="bf16"), cache)
    assert (other.seen, coarse.seen) == (10, 10)
    assert torch.equal(found, found.bfloat16().float())


def test_features_of_other_statistics_are_not_served(
    tiny_backbone: Backbone, images: TensorImages, cache: FeatureCache
) -> None:
    """Two networks of the same weights that batch normalisation scales otherwise."""
    kept = extract_features(tiny_backbone, images, cache=cache)
    tiny_backbone.network.bn1.running_mean += 0.5
    expected = extract_features(tiny_backbone, images)
    assert not torch.allclose(expected, kept)
    assert torch.equal(extract_features(tiny_backbone, images, cache=cache), expected)


def test_the_framing_is_part_of_the_key(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    (small,) = member_features([make_backbone()], images, 8, cache=cache)
    backbone = make_backbone()
    (large,) = member_features([backbone], images, 10, cache=cache)
    assert backbone.seen == 10
    assert not torch.equal(small, large)


def test_the_layer_is_part_of_the_key(tiny_backbone: Backbone, images: TensorImages, cache: FeatureCache) -> None:
    def at(layer: str) -> Tensor:
        network = LayerFeatures(tiny_backbone.network, layer)
        backbone = Backbone(network, tiny_backbone.architecture, InputSpec(32), Provenance(layer))
        return extract_features(backbone, images, cache=cache)

    first, second = at("layer4.0.conv1"), at("layer4.0.conv2")
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_fusions_are_those_of_their_members_features(
    make_backbone: Make, images: TensorImages, cache: FeatureCache
) -> None:
    members = [make_backbone(0, crop_size=8), make_backbone(1, crop_size=10, mean=(0.3,) * 3)]
    backbone = _fused(members, concatenate, "concat")
    squares = images.images[..., 1:11].float() / 255
    torch.testing.assert_close(extract_features(backbone, images), backbone(squares))
    extract_features(backbone, images, cache=cache)
    known = [make_backbone(0, crop_size=8), make_backbone(1, crop_size=10, mean=(0.3,) * 3)]
    mean = extract_features(_fused(known, average, "mean"), images, cache=cache)
    assert [member.seen for member in known] == [0, 0]
    torch.testing.assert_close(mean, (members[0](squares) + members[1](squares)) / 2)


def test_a_member_alone_is_found_by_its_fusion(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    extract_features(make_backbone(0), images, cache=cache)
    known, unknown = make_backbone(0), make_backbone(1)
    told: list[tuple[str, int, int]] = []
    settings = ExtractionSettings(batch_size=4)
    fused = _fused([known, unknown], concatenate, "concat")
    extract_features(fused, images, settings, cache, lambda *one: told.append(one), "fused")
    assert (known.seen, unknown.seen) == (0, 10)
    steps = [done for what, done, total in told if (what, total) == ("fused", 10)]
    assert steps == sorted(steps)
    assert steps[-1] == 10


class _Counted(TensorImages):
    reads = 0

    def __getitem__(self, index: int) -> Tensor:
        self.reads += 1
        return super().__getitem__(index)


def test_images_are_read_once_for_all_members(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    counted = _Counted(images.images)
    found = member_features([make_backbone(0), make_backbone(1)], counted, 8, ExtractionSettings(num_workers=0), cache)
    assert counted.reads == 10
    assert torch.equal(found[1], extract_features(make_backbone(1), images))


def test_the_same_member_twice_and_the_same_images_twice(
    make_backbone: Make, images: TensorImages, cache: FeatureCache
) -> None:
    twice = TensorImages(images.images[:4].repeat(2, 1, 1, 1))
    one, other = make_backbone(0), make_backbone(0)
    first, second = member_features([one, other], twice, 8, cache=cache)
    expected = extract_features(make_backbone(0), images)[:4].repeat(2, 1)
    assert torch.equal(first, expected)
    assert torch.equal(second, expected)
    assert one.seen + other.seen == 4


def test_a_cache_that_is_too_small_changes_no_numbers(
    make_backbone: Make, images: TensorImages, tmp_path: Path
) -> None:
    expected = extract_features(make_backbone(), images)
    unit = 128 + 4 * 4 * 5
    cache = FeatureCache(tmp_path / "cache", 2 * unit)
    for seen in (10, 2, 2):  # two units stay, and the last one has two images
        backbone = make_backbone()
        assert torch.equal(extract_features(backbone, images, cache=cache), expected)
        assert backbone.seen == seen
        assert cache.size() == 2 * unit


def test_a_truncated_unit_is_computed_again(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    expected = extract_features(make_backbone(), images, cache=cache)
    broken = next(path for path in _files(cache) if path.stat().st_size == 128 + 4 * 4 * 5)
    whole = broken.read_bytes()
    broken.write_bytes(whole[:150])
    backbone = make_backbone()
    assert torch.equal(extract_features(backbone, images, cache=cache), expected)
    assert backbone.seen == 4
    assert broken.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_an_error_before_any_work(
    make_backbone: Make, images: TensorImages, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    backbone = make_backbone()
    with pytest.raises(UserError, match=r"^SOLO_INVARIANCE_CACHE: "):
        extract_features(backbone, images, cache=FeatureCache(tmp_path / "file", 10**6))
    assert backbone.seen == 0


class _OverflowsOnWhite(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / (images.mean(dim=(1, 2, 3), keepdim=True) < 2)


def test_features_that_are_not_finite_name_the_image_and_are_not_kept(
    make_backbone: Make, images: TensorImages, cache: FeatureCache
) -> None:
    images.images[6] = 255
    backbone = make_backbone()
    backbone.network = nn.Sequential(_OverflowsOnWhite(), backbone.network)
    with pytest.raises(UserError, match=r"^image 6: the backbone's features are not finite"):
        extract_features(backbone, images, cache=cache)
    assert len(_files(cache)) == 1  # the unit before it
    assert FeatureCache(cache.root, 0).claim(_files(cache)[0].stem)  # nothing stays claimed


@pytest.mark.parametrize("cached", [True, False])
def test_an_unreadable_image_is_named(make_backbone: Make, tmp_path: Path, cache: FeatureCache, cached: bool) -> None:
    for index in range(3):
        Image.fromarray(np.full((9, 9, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    files = ImageFiles.of([tmp_path / f"{index}.png" for index in range(3)])
    with pytest.raises(UserError, match=r"1\.png: not a readable image"):
        extract_features(make_backbone(), files, cache=cache if cached else None)
    assert not _files(cache)


def test_processes_do_their_own_share_first(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    for index in range(10):
        images.images[index] = index
    backbone = make_backbone(mean=(0.0,) * 3)
    seen: list[int] = []
    backbone.register_forward_pre_hook(lambda module, inputs: seen.extend((inputs[0][:, 0, 0, 0] * 255).round().int()))
    second = Processes()
    second.rank, second.count = 1, 2
    found = extract_features(backbone, images, cache=cache, processes=second)
    assert seen == [4, 5, 6, 7, 0, 1, 2, 3, 8, 9]
    assert torch.equal(found, extract_features(backbone, images))


@pytest.mark.parametrize("count", [2, 3])
def test_without_a_cache_processes_compute_each_batch_once_and_exchange_the_same_numbers(
    make_backbone: Make, images: TensorImages, in_threads: Any, count: int
) -> None:
    settings = ExtractionSettings(batch_size=3, num_workers=0)
    members = [make_backbone(0), make_backbone(1)]
    fused = _fused(members, concatenate, "concat")
    alone = extract_features(fused, images, settings)
    assert [one.seen for one in members] == [10, 10]
    found = in_threads(count, lambda them: extract_features(fused, images, settings, processes=them))
    assert all(torch.equal(one, alone) for one in found)
    assert [one.seen for one in members] == [20, 20]


def test_what_fails_in_one_process_fails_in_all(make_backbone: Make, images: TensorImages, in_threads: Any) -> None:
    images.images[6] = 255  # of the second batch, which is the second's

    def work(them: Processes) -> str:
        backbone = make_backbone()
        backbone.network = nn.Sequential(_OverflowsOnWhite(), backbone.network)
        with pytest.raises(UserError) as caught:
            extract_features(backbone, images, ExtractionSettings(batch_size=4, num_workers=0), processes=them)
        return str(caught.value)

    said = in_threads(2, work)
    assert said[0] == said[1]
    assert said[0].startswith("image 6: the backbone's features are not finite")


def test_no_images_give_no_features(make_backbone: Make, images: TensorImages, cache: FeatureCache) -> None:
    nothing = TensorImages(images.images[:0])
    assert extract_features(make_backbone(), nothing, cache=cache).shape == (0, 5)
    fused = _fused([make_backbone(0), make_backbone(1)], concatenate, "concat")
    assert extract_features(fused, nothing, cache=cache).shape == (0, 10)


def test_features_of_otherwise_decoded_pictures_are_not_served(
    make_backbone: Make, images: TensorImages, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(make_backbone(), images, cache=cache)
    before = len(_files(cache))
    extract_features(make_backbone(), images, cache=cache)
    assert len(_files(cache)) == before
    monkeypatch.setattr("solo_invariance.features.extract.DECODING", 1)
    extract_features(make_backbone(), images, cache=cache)
    assert len(_files(cache)) == 2 * before
