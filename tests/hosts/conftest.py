import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
