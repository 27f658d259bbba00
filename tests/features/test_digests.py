import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, LayerFeatures, Provenance
from solo_invariance.backbones.fused import network_of
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.errors import UserError
from solo_invariance.features.digests import digest_of_backbone, digests_of
from solo_invariance.fuse import add, average, fit_fusion

Make = Callable[..., Backbone]


class _Pixels:
    """A source that has no digests of its own."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]

    def name_of(self, index: int) -> str:
        return f"image {index}"


@pytest.mark.parametrize("num_workers", [0, 3])
def test_files_are_known_by_their_content_in_order(photo_folder: Path, tmp_path: Path, num_workers: int) -> None:
    files = ImageFiles(photo_folder)
    found = digests_of(files, num_workers)
    assert len(set(found)) == len(found) == len(files)
    copies = [tmp_path / f"{index}.jpg" for index in range(len(files))]
    for path, copy in zip(files.paths, copies, strict=True):
        shutil.copyfile(path, copy)
        os.utime(copy, (0, 0))
    assert digests_of(ImageFiles.of(copies), num_workers) == found
    copies[3].write_bytes(copies[3].read_bytes() + b"\0")
    assert [a == b for a, b in zip(digests_of(ImageFiles.of(copies), num_workers), found, strict=True)].count(
        False
    ) == 1


def test_more_images_than_a_thread_hashes_at_a_time_and_progress() -> None:
    images = torch.randint(256, (150, 3, 2, 2), dtype=torch.uint8)
    told: list[tuple[str, int, int]] = []
    found = digests_of(TensorImages(images), 2, lambda *one: told.append(one), "hashing")
    assert found == [digests_of(TensorImages(images[[index]]))[0] for index in range(150)]
    assert told == [("hashing", 64, 150), ("hashing", 128, 150), ("hashing", 150, 150)]


def test_a_source_without_digests_is_known_by_its_pixels() -> None:
    images = torch.arange(24, dtype=torch.uint8).reshape(1, 3, 2, 4).repeat(2, 1, 1, 1)
    one, other = digests_of(_Pixels(images))
    assert one == other
    images[1, 0, 0, 0] = 99
    assert digests_of(_Pixels(images))[1] != other
    assert digests_of(_Pixels(images.reshape(2, 3, 4, 2)))[0] != one


def test_a_missing_file_is_named(photo_folder: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.jpg: cannot be read"):
        digests_of(ImageFiles.of([photo_folder / "gone.jpg"]))


def test_a_backbone_is_known_by_its_weights(make_backbone: Make) -> None:
    known = digest_of_backbone(make_backbone(0))
    assert digest_of_backbone(make_backbone(0)) == known
    assert digest_of_backbone(make_backbone(1)) != known
    changed = make_backbone(0)
    changed.network[0].bias[0] += 1e-6
    assert digest_of_backbone(changed) != known
    assert digest_of_backbone(make_backbone(0).half()) != known


def test_a_backbone_is_known_by_the_statistics_of_its_batch_normalisation(tiny_backbone: Backbone) -> None:
    known = digest_of_backbone(tiny_backbone)
    for name in ("running_mean", "running_var"):
        changed = deepcopy(tiny_backbone)
        getattr(changed.network.bn1, name)[3] += 0.25
        assert digest_of_backbone(changed) != known


def test_a_backbone_is_known_by_its_input_and_architecture_but_not_by_its_label(make_backbone: Make) -> None:
    backbone = make_backbone(0)
    known = digest_of_backbone(backbone)
    assert digest_of_backbone(make_backbone(0, crop_size=9)) != known
    assert digest_of_backbone(make_backbone(0, mean=(0.1, 0.2, 0.3))) != known
    backbone.provenance = Provenance("another", "elsewhere.ckpt", "00")
    assert digest_of_backbone(backbone) == known
    backbone.architecture = Architecture("resnet10", small_stem=True)
    assert digest_of_backbone(backbone) != known


def test_a_backbone_is_known_by_its_layers(tiny_backbone: Backbone) -> None:
    def at(layers: str | list[str]) -> str:
        network = LayerFeatures(tiny_backbone.network, layers)
        return digest_of_backbone(Backbone(network, tiny_backbone.architecture, InputSpec(32), Provenance("layers")))

    found = [digest_of_backbone(tiny_backbone), at("layer2"), at("layer3"), at(["layer2"]), at(["layer2", "layer3"])]
    assert len(set(found)) == len(found)


def test_the_memory_format_is_no_part_of_a_backbone(make_backbone: Make) -> None:
    backbone = make_backbone(0)
    known = digest_of_backbone(backbone)
    assert digest_of_backbone(backbone.to(memory_format=torch.contiguous_format)) == known


def test_a_fused_backbone_is_known_by_its_mode(make_backbone: Make) -> None:
    def fused(fusion: Callable[..., Tensor], mode: str) -> str:
        network: nn.Module = network_of(fit_fusion([make_backbone(0), make_backbone(1)], fusion, mode))
        return digest_of_backbone(Backbone(network, Architecture("fusion"), InputSpec(8), Provenance("fused")))

    assert fused(add, "sum") == fused(add, "sum") != fused(average, "mean")


def test_a_backbone_is_known_by_where_its_weights_stand(tiny_backbone: Backbone) -> None:
    before = digest_of_backbone(tiny_backbone)
    with torch.no_grad():
        weights = next(tiny_backbone.parameters())
        weights.copy_(weights.flip(0))
    assert digest_of_backbone(tiny_backbone) != before
