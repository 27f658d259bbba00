"""Check a device against the CPU and measure on it what needs one: ``benchmarks/device.sh`` runs this."""

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks import agreement
from benchmarks.families import FAMILIES
from benchmarks.floor import against_passes
from benchmarks.fusing import cost
from benchmarks.measuring import precisions
from benchmarks.official import against_official
from benchmarks.running import Step, carry_out, file_name
from benchmarks.training import synchronisation, training, views


@dataclass(frozen=True)
class Sizes:
    """How large the problems are.

    Args:
        network: That is measured and trained.
        size: Side of its images, in pixels.
        batch: Images in a training step.
        k: Number of parameters, where a transform has a choice.
        seconds: About how long a measurement is to take.
        pairs: How often what is timed is run.
        images: That are measured where only the numbers count.
        small: Side of the images, likewise.
        problem: Images and features of the probes.
    """

    network: str = "resnet50"
    size: int = 224
    batch: int = 256
    k: int = 256
    seconds: float = 6.0
    pairs: int = 5
    images: int = 16
    small: int = 96
    problem: tuple[int, int] = (2000, 512)


SMALLEST = Sizes("resnet18", 32, 4, 2, 0.1, 1, 4, 48, (120, 8))


def steps(device: torch.device, sizes: Sizes) -> list[Step]:
    """Return what is checked and measured, the most telling first, with the seconds it takes on an H100 or so."""
    network, size, pairs, smallest = sizes.network, sizes.size, sizes.pairs, sizes == SMALLEST
    over_passes = partial(against_passes, device, network, size, sizes.k, sizes.seconds, pairs)
    return [
        Step("crops beside the training step", 15, partial(training, device, sizes.batch, size, network, pairs)),
        Step("views of the default family", 3, partial(views, device, 2 * sizes.batch, size, pairs)),
        Step("no host synchronisation", 3, partial(synchronisation, device, FAMILIES, sizes.batch, size), checks=True),
        Step("measuring in half precision", 50, partial(over_passes, 1.15, "bf16", stages=True)),
        Step("families, numbers", 10, partial(agreement.families, device, 16, sizes.small), checks=True),
        Step("measuring, numbers", 30, partial(agreement.measuring, device, sizes.images, sizes.small, 4), checks=True),
        Step("probes", 40, partial(agreement.probes, device, *sizes.problem, min(pairs, 3)), checks=True),
        Step("fused backbone", 15, partial(cost, device, size, max(2, sizes.batch // 2), network, pairs), checks=True),
        Step("nearest neighbours", 3, partial(agreement.neighbours, device, *sizes.problem), checks=True),
        Step("measuring in single precision", 50, partial(over_passes, 1.10)),
        Step("memory", 10, partial(agreement.memory, device), checks=True),
        Step(
            "options of speed, numbers",
            60,
            partial(precisions, device, sizes.small, sizes.images, compiled=not smallest),
            checks=True,
        ),
        Step("the paper's protocol", 90, partial(against_official, device, 256, 2, min(pairs, 3)), checks=True),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/device.sh", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("benchmarks/results"), help="folder of the JSON")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smallest", action="store_true", help="tiny problems, to try the command itself")
    parser.add_argument("--only", default="", help="steps whose name begins so")
    parser.add_argument("--seconds", type=float, default=420, help="what is not reached by then is left")
    parser.add_argument("--spent", type=float, default=0, help="seconds of these that have gone by")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; --device cpu --smallest tries the command without one")
    chosen = [s for s in steps(device, SMALLEST if given.smallest else Sizes()) if s.what.startswith(given.only)]
    return carry_out(chosen, given.out / file_name(device), device, given.seconds - given.spent)


if __name__ == "__main__":
    sys.exit(main())
