"""Run one of solo-learn's scripts, unmodified, with our backbones in its registry.

Hydra's scripts (``main_pretrain.py``, ``main_linear.py``) have them anyway. The others, ``main_knn.py`` and
``main_umap.py``, start nothing that a plugin could answer, and are run in the checkout by ``python -m
solo_invariance.hosts.script main_knn.py ...``, with the arguments that they always take.
"""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from solo_invariance.errors import UserError
from solo_invariance.hosts.registry import register_backbones
from solo_invariance.hosts.solo_learn import host_builders


def run_script(arguments: Sequence[str]) -> None:
    """Run a script as if it were started by itself.

    Args:
        arguments: The script's path, and its arguments.

    Raises:
        UserError: There is no such script, or solo-learn is not beside it and cannot be found.
    """
    if not arguments or not Path(arguments[0]).is_file():
        raise UserError(
            f"script {arguments[0] if arguments else ''}: no such file; name one of solo-learn's, main_knn.py"
        )
    script = Path(arguments[0])
    sys.argv = list(arguments)
    sys.path.insert(0, str(script.resolve().parent))
    if not host_builders():
        raise UserError(f"script {script}: solo-learn is not beside it; set SOLO_LEARN_DIR to a checkout")
    register_backbones()
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    try:
        run_script(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
