import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photo() -> torch.Tensor:
    """A photograph as float (1, 3, 256, 300) in [0, 1]."""
    pixels = torch.from_numpy(photographs.astronaut()[:256, :300].copy())
    return pixels.permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six classes of JPEG cut-outs of photographs, of unequal sizes, in `train` and `val`."""
    root = tmp_path_factory.mktemp("photos")
    sources = {
        name: getattr(photographs, name)()[..., :3]
        for name in ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina")
    }
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, pixels in sources.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                height, width = generator.integers(60, 120, 2)
                top = generator.integers(0, pixels.shape[0] - height)
                left = generator.integers(0, pixels.shape[1] - width)
                cut = Image.fromarray(pixels[top : top + height, left : left + width])
                cut.save(root / split / name / f"{index}.jpg", quality=90)
    return root


@pytest.fixture
def tiny_backbone() -> Backbone:
    """A randomly initialised ResNet-10 of 64 features for images of 32 pixels."""
    torch.manual_seed(0)
    architecture = Architecture("resnet10", {"width": 0.125})
    return Backbone(architecture.build(), architecture, InputSpec(32), Provenance("tiny"))


@pytest.fixture
def host_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkpoint as a host does: backbone.* and other weights in state_dict, args.json beside it."""

    def write(family: str = "ventral", seed: int = 0, width: float = 0.125, args: bool = True) -> Path:
        directory = tmp_path / f"{family}-{seed}"
        directory.mkdir(exist_ok=True)
        torch.manual_seed(seed)
        network = Architecture("resnet10", {"width": width}).build()
        state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
        path = directory / f"{family}-0-ep=1.ckpt"
        torch.save({"state_dict": {**state, "projector.0.weight": torch.zeros(2, 2)}, "epoch": 1}, path)
        if args:
            config = {
                "name": "a-run",
                "method": "mocov2plus",
                "backbone": {"name": "resnet10", "kwargs": {"width": width}},
                "data": {"dataset": "latent_scenes"},
                "augmentations": [{"family": family, "crop_size": 32, "num_crops": 2}],
            }
            (directory / "args.json").write_text(json.dumps(config))
        return path

    return write


@pytest.fixture(scope="session")
def solo_learn() -> Path:
    """The checkout that SOLO_LEARN_DIR names."""
    directory = os.environ.get("SOLO_LEARN_DIR")
    if not directory:
        pytest.skip("SOLO_LEARN_DIR is not set: no solo-learn checkout to run")
    return Path(directory)
