import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

_SMALL = [
    "data.num_workers=1",
    "wandb.enabled=False",
    "accelerator=cpu",
    "devices='1'",
    "strategy=auto",
    "precision=32",
    "sync_batchnorm=False",
    "optimizer.batch_size=8",
]


@pytest.fixture
def run_host(solo_learn: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in the checkout, small and on the CPU; Lightning's logs go to the test's folder, not the checkout.

    Later overrides win. ``fails=True`` is for a run that must; further keywords are environment variables.
    """

    def run(
        script: str | Path, *arguments: str, fails: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        options = [argument for argument in arguments if argument.startswith("--")]  # Hydra wants them together
        overrides = [*_SMALL, f"+default_root_dir={tmp_path}", *(a for a in arguments if a not in options)]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), *options, *overrides],
            cwd=solo_learn,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert (done.returncode != 0) == fails, (done.stdout + done.stderr)[-3000:]
        return done

    return run


SPIED = Path(__file__).parent / "solo_learn" / "spied_pretrain.py"


@pytest.fixture
def run_spied(run_host: Callable[..., Any], photo_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Pre-train on photos for two epochs with validation, and return what was said, what each process saw, and the end.

    Its arguments are the run's name, the number of processes, and overrides.
    """

    def run(name: str, processes: int, *overrides: str) -> tuple[Any, list[Any], Path]:
        out = tmp_path / name
        out.mkdir()
        done = run_host(
            SPIED,
            "--config-path=scripts/pretrain/cifar",
            "--config-name=mocov2plus",
            f"name={name}",
            "data.dataset=custom",
            f"data.train_path={photo_folder / 'train'}",
            f"data.val_path={photo_folder / 'val'}",
            "augmentations=invariance/default",
            "+invariance.crop_size=32",
            "method_kwargs.proj_hidden_dim=32",
            "method_kwargs.proj_output_dim=16",
            "method_kwargs.queue_size=64",
            "max_epochs=2",
            "auto_resume.enabled=False",
            f"checkpoint.dir={out / 'checkpoints'}",
            *(["devices='2'", "strategy=ddp", "data.num_workers=0"] if processes == 2 else []),
            *overrides,
            SPY_OUT=str(out),
        )
        seen = [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]
        return done, seen, next((out / "checkpoints").rglob("*ep=1.ckpt"))

    return run
