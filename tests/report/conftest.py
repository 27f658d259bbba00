from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.fixture
def paper_runs(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make, make_view: Make
) -> Path:
    """Ventral, dorsal and their fusion, measured on four transforms and two view sets and scored on two tasks."""
    similarities = {"ventral": (0.8, 0.3), "dorsal": (0.2, 0.9), "ventral+dorsal": (0.5, 0.6)}
    for label, (spatial, appearance) in similarities.items():
        write_invariance(
            f"runs/{label}/measure",
            label,
            transforms={
                "rotation": make_transform(spatial),
                "resized_crop": make_transform(spatial - 0.1),
                "hue": make_transform(appearance, "appearance", unit="turns"),
                "blur": make_transform(appearance - 0.1, "appearance", unit="pixels"),
            },
            views={"pose": make_view(spatial - 0.05), "light_hue": make_view(appearance - 0.05, "appearance")},
        )
    for label, score in {"ventral": 0.7, "dorsal": 0.9, "ventral+dorsal": 0.91}.items():
        write_transfer(f"runs/{label}/shape", label, "shape", score)
    for label, score in {"ventral": 0.6, "dorsal": 0.1, "ventral+dorsal": 0.65}.items():
        write_transfer(f"runs/{label}/object_hue", label, "object_hue", score, metric="r2", probe="ridge")
    return tmp_path / "runs"
