"""Run one of solo-learn's scripts, unmodified, with our backbones in its registry.

Hydra's scripts (``main_pretrain.py``, ``main_linear.py``) have them anyway. The others, ``main_knn.py`` and
``main_umap.py``, start nothing that a plugin could answer, and are run in the checkout by ``python -m
solo_invariance.hosts.script main_knn.py ...``, with the arguments that they always take.

Two things that would stop these scripts are kept from it, in this process alone: an argument that ``main_knn.py`` gives
torchmetrics, which has refused it since before the versions that solo-learn asks for; and the move of every batch to a
GPU, on a machine that has none.
"""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchmetrics

from solo_invariance.backbones.solo_learn import host_builders
from solo_invariance.errors import UserError
from solo_invariance.hosts.solo_learn.registry import register_backbones

_FOLDER = "--pretrained_checkpoint_dir"


def run_script(arguments: Sequence[str]) -> None:
    """Run a script as if it were started by itself.

    Args:
        arguments: The script's path, and its arguments.

    Raises:
        UserError: There is no such script, or solo-learn is not beside it and cannot be found; or the folder that the
            script is to take a checkpoint from holds several.
    """
    if not arguments or not Path(arguments[0]).is_file():
        raise UserError(
            f"script {arguments[0] if arguments else ''}: no such file; name one of solo-learn's, main_knn.py"
        )
    script = Path(arguments[0])
    _require_one_checkpoint(arguments[1:])
    sys.argv = list(arguments)
    sys.path.insert(0, str(script.resolve().parent))
    if not host_builders():
        raise UserError(f"script {script}: solo-learn is not beside it; set SOLO_LEARN_DIR to a checkout")
    register_backbones()
    _accept_compute_on_step()
    if not torch.cuda.is_available():
        _stay_on_the_cpu()
    runpy.run_path(str(script), run_name="__main__")


def _require_one_checkpoint(options: Sequence[str]) -> None:
    """Refuse a folder of several checkpoints, of which the script would take whichever the file system names first."""
    words = [word for option in options for word in option.split("=", 1)]
    folder = words[words.index(_FOLDER) + 1] if _FOLDER in words[:-1] else None
    found = sorted(path.name for path in Path(folder).glob("*.ckpt")) if folder else []
    if len(found) > 1:
        raise UserError(
            f"{_FOLDER} {folder}: holds {len(found)} checkpoints ({', '.join(found)}), of which the script would take "
            f"any; give the one, with its args.json, a folder of its own"
        )


def _accept_compute_on_step() -> None:
    start = torchmetrics.Metric.__init__

    def without(self: torchmetrics.Metric, *, compute_on_step: Any = None, **options: Any) -> None:
        start(self, **options)

    torchmetrics.Metric.__init__ = without  # type: ignore[method-assign]


def _stay_on_the_cpu() -> None:
    def same(self: Any, *arguments: Any, **options: Any) -> Any:
        return self

    torch.Tensor.cuda = same  # type: ignore[method-assign]
    torch.nn.Module.cuda = same  # type: ignore[method-assign]


if __name__ == "__main__":
    try:
        run_script(sys.argv[1:])
    except UserError as error:
        print(f"solo-invariance: error: {error}", file=sys.stderr)
        sys.exit(2)
