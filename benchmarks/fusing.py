"""The cost of a fused backbone's forward pass, over that of its members one after the other."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Check, Row
from benchmarks.running import Step
from benchmarks.timing import compare
from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.backbones.fused import FusedNetwork, network_of
from solo_invariance.fuse import Standardized, concatenate, fit_fusion

_REPETITIONS = 10


def steps(device: torch.device, quick: bool = False) -> list[Step]:
    size, batch, depth = (64, 8, "resnet18") if quick else (224, 10, "resnet50")
    batch *= 12 if device.type == "cuda" else 1
    rows = partial(cost, device, size, batch, depth, 5 if quick else 9)
    return [Step("a fused forward pass against its members'", 5 if quick else 80, rows, checks=True)]


def cost(device: torch.device, size: int, batch: int, depth: str, pairs: int) -> Iterator[Row]:
    """A fused forward pass and its members' own, which a GPU computes side by side: their time, and their numbers."""
    members = [_member(depth, seed, size).to(device) for seed in range(3)]
    widths = [member.num_features for member in members]
    images = torch.rand(batch, 3, size, size, device=device)
    head = Standardized(widths).fit([torch.randn(100, width) for width in widths])
    for mode, fusion in (("concat", concatenate), ("standardized", head)):
        fused = network_of(fit_fusion(members, fusion, mode)).to(device)

        def ours(fused: FusedNetwork = fused) -> object:
            with torch.inference_mode():
                return fused(images)

        def one_by_one() -> object:
            with torch.inference_mode():
                return [member(images) for member in members]

        yield compare(
            f"fused forward pass, {mode}",
            ours,
            "the three members' own, one after the other",
            one_by_one,
            pairs=pairs,
            target=1 / 1.05,
            note=f"3 {depth}, {batch} images of {size} pixels",
            items=batch,
        )
    yield _agreement(network_of(fit_fusion(members, concatenate, "concat")).to(device), members, images)


@torch.inference_mode()
def _agreement(fused: FusedNetwork, members: list[Backbone], images: Tensor) -> Check:
    """Compare several times over: streams that do not wait for each other are wrong only now and then."""
    worst = 0.0
    for repetition in range(_REPETITIONS):
        shifted = images.roll(repetition, dims=0)
        together, alone = fused(shifted), torch.cat([member(shifted) for member in members], dim=1)
        worst = max(worst, float((together - alone).abs().max() / alone.abs().max()))
    return Check(
        "features of a fused backbone",
        "the members', one after the other",
        worst,
        1e-5,
        f"largest difference over the largest feature, {_REPETITIONS} times",
    )


def _member(name: str, seed: int, size: int) -> Backbone:
    torch.manual_seed(seed)
    architecture = Architecture(name)
    return Backbone(architecture.build(), architecture, InputSpec(size), Provenance(f"{name}-{seed}"))
