"""The cost of a fused backbone's forward pass, over that of its members one after the other."""

from collections.abc import Iterator

import torch

from benchmarks.timing import Comparison, compare
from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.backbones.fused import FusedNetwork, network_of
from solo_invariance.fuse import Standardized, concatenate, fit_fusion


def run(device: torch.device, quick: bool = False) -> Iterator[Comparison]:
    size, batch, depth = (64, 8, "resnet18") if quick else (224, 10, "resnet50")
    batch *= 12 if device.type == "cuda" else 1
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
            pairs=5 if quick else 9,
            target=1 / 1.05,
            note=f"3 {depth}, {batch} images of {size} pixels",
            items=batch,
        )


def _member(name: str, seed: int, size: int) -> Backbone:
    torch.manual_seed(seed)
    architecture = Architecture(name)
    return Backbone(architecture.build(), architecture, InputSpec(size), Provenance(f"{name}-{seed}"))
