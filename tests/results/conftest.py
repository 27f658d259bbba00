from pathlib import Path

import pytest

from solo_invariance.cli import main

_IMAGES = [
    "data.name=latent_scenes",
    "data.num_images=4",
    "data.size=32",
    "data.num_groups=3",
    "data.num_views=2",
    "k=2",
]
_TASK = ["task.name=shape", "task.num_train=40", "task.num_test=20", "task.size=32"]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results and comparisons as the commands write them, of small networks on a few images.

    They are in ``measure/resnet18``, ``transfer/resnet18`` and so on; those of resnet18 are compared with resnet10's.
    """
    root = tmp_path_factory.mktemp("written")
    transforms = ["transforms=[rotation,translation,h_flip,hue]", "metrics=all"]
    for name in ("resnet10", "resnet18"):
        backbone = [f"backbone.name=random:{name}", "backbone.kwargs.width=0.125", "backbone.crop_size=32"]
        for command, arguments in {"measure": [*_IMAGES, *transforms], "transfer": _TASK}.items():
            against = [f"against={root}/{command}/resnet10"] if name == "resnet18" else []
            out = f"out={root}/{command}/{name}"
            assert main([command, *backbone, *arguments, *against, "device=cpu", out]) == 0
    return root
