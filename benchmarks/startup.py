"""What the installed package costs programs that do not use it."""

import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.running import Step
from benchmarks.timing import Comparison, compare

_HYDRA = "import hydra; from hydra.core.plugins import Plugins; {hide}; Plugins.instance()"
_HIDE_HYDRA = "import sys; sys.modules['hydra_plugins'] = None"
_TRAINER = """
import lightning.pytorch as pl
{hide}
pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
"""
_HIDE_TRAINER = """
from lightning.pytorch.trainer.connectors import callback_connector
callback_connector._load_external_callbacks = lambda group: []
"""


def _python(script: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, check=True)


def steps() -> list[Step]:
    return [Step("start of a Hydra application", 5, _hydra), Step("making of a Lightning Trainer", 70, _trainer)]


def _hydra() -> Iterator[Comparison]:
    yield compare(
        "start a Hydra application",
        _python(_HYDRA.format(hide="pass")),
        "the same without our plugin",
        _python(_HYDRA.format(hide=_HIDE_HYDRA)),
        note="whole process",
    )


def _trainer() -> Iterator[Comparison]:
    yield compare(
        "make a Lightning Trainer",
        _python(_TRAINER.format(hide="pass")),
        "the same without our callback",
        _python(_TRAINER.format(hide=_HIDE_TRAINER)),
        note="whole process",
    )
