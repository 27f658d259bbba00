"""The paper's official code, to be run beside ours on small files in the layouts that it expects."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

_ITS_OWN = ("datasets", "model_utils", "moco", "eval_downstream", "eval_causal3dident")


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the checkout that SSL_INVARIANCES_DIR names, and forgets all of them afterwards."""
    folder = os.environ.get("SSL_INVARIANCES_DIR")
    if not folder:
        pytest.skip("set SSL_INVARIANCES_DIR to a checkout of linusericsson/ssl-invariances")
    assert Path(folder, "eval_downstream.py").is_file()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] in _ITS_OWN]:
        del sys.modules[name]
