"""Whether whole networks load from files with their classifiers: every architecture of timm's and torchvision's.

``python -m benchmarks.zoo OUT.jsonl`` writes a line for each: what is wrong, if anything, the width and the seconds. It
goes on where it was interrupted. Files are written, read and compared with the network without its classifier; of every
architecture, ``--names`` looks for names and shapes alone: minutes, not hours.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, load_backbone
from solo_invariance.backbones.files.layouts import find_weights
from solo_invariance.backbones.sources import source_of


def main() -> None:
    """Write a line for each architecture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--names", action="store_true", help="look for names and shapes alone")
    parser.add_argument("--largest", type=float, default=120, help="leave out larger ones, of more million weights")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    done = {json.loads(line)["name"] for line in arguments.out.open()} if arguments.out.exists() else set()
    with arguments.out.open("a") as file, tempfile.TemporaryDirectory() as folder:
        for name in filter(lambda name: name not in done, _names()):
            start = time.perf_counter()
            try:
                found = _names_fit(name) if arguments.names else _numbers_fit(name, Path(folder), arguments.largest)
            except Exception as error:  # whatever it is, it is what this looks for
                found = {"wrong": f"{type(error).__name__}: {error}"}
            seconds = round(time.perf_counter() - start, 1)
            file.write(json.dumps({"name": name, **found, "seconds": seconds}) + "\n")
            file.flush()


def _names() -> Iterator[str]:
    yield from (f"timm:{name}" for name in timm.list_models())
    yield from (f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models))


def _whole(name: str) -> nn.Module:
    source, _, model = name.partition(":")
    built = timm.create_model(model) if source == "timm" else torchvision.models.get_model(model)
    return built.eval()


def _headless(name: str) -> nn.Module:
    source, rest = source_of(name)
    return Architecture(name, source.weights(rest, False)).build().eval()


def _names_fit(name: str) -> dict[str, object]:
    # torchvision's RegNets read a number off a tensor where they are built.
    with torch.device("cpu" if name.startswith("torchvision:regnet") else "meta"):
        whole, network = _whole(name), _headless(name)
    state = whole.state_dict()
    find_weights(network, {"state_dict": dict(state)}, Path(name))
    return {"wrong": "", "classifier": sorted({key for key in state if key not in network.state_dict()})}


def _numbers_fit(name: str, folder: Path, largest: float) -> dict[str, object]:
    torch.manual_seed(0)
    whole = _whole(name)
    if sum(value.numel() for value in whole.parameters()) > largest * 1e6:
        return {"wrong": "", "left_out": "large"}
    with torch.no_grad():
        for value in whole.parameters():  # some layers are the identity at first
            scale = 0.1 * float(value.std()) if value.ndim > 1 else 0.02
            value += scale * torch.randn(value.shape)
    torch.save(whole.state_dict(), folder / "weights.pth")
    backbone = load_backbone(folder / "weights.pth", name=name)
    size = backbone.input_spec.crop_size
    images = torch.rand(1, 3, size, size)
    features, expected = backbone(images), _expected(name, whole, (images - backbone.mean) / backbone.std)
    off = float((features - expected).norm() / expected.norm())
    same = (
        features.shape == expected.shape and off < 1e-2
    )  # as far as single precision lets a deep network of such weights agree with itself
    return {"wrong": "" if same else f"off by {off:.2g}", "width": backbone.num_features}


@torch.no_grad()
def _expected(name: str, whole: nn.Module, images: Tensor) -> Tensor:
    """Return a network's features: of timm's by one without classes, of torchvision's before the last layer."""
    if name.startswith("timm:"):
        headless = timm.create_model(name.removeprefix("timm:"), num_classes=0).eval()
        headless.load_state_dict({key: whole.state_dict()[key] for key in headless.state_dict()})
        return headless(images)  # type: ignore[no-any-return]
    last = [module for module in whole.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    seen: list[Tensor] = []
    with last.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0])):
        whole(images)
    return seen[0] if seen[0].ndim == 2 else seen[0].mean((2, 3))


if __name__ == "__main__":
    main()
