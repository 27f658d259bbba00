"""The seams stay where they are."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "solo_invariance"


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("part", ["measure", "fuse", "transfer", "families", "features", "data", "report"])
def test_the_parts_never_import_the_hosts(part: str) -> None:
    for path in (PACKAGE / part).rglob("*.py"):
        assert not any(
            name.startswith(("solo_invariance.hosts", "solo_invariance.commands")) for name in _imports(path)
        ), path


def test_only_the_hosts_import_solo_learn_and_lightning() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "backbones" / "solo_learn.py":  # the one door to solo-learn's builders
            assert not {name.split(".")[0] for name in _imports(path)} & {"lightning", "lightly", "pytorch_lightning"}
        elif path.relative_to(PACKAGE).parts[0] != "hosts":
            roots = {name.split(".")[0] for name in _imports(path)}
            assert not roots & {"solo", "lightning", "lightly", "pytorch_lightning"}, path


def test_hydras_door_imports_nothing_heavy_at_module_level() -> None:
    tree = ast.parse((PACKAGE.parent / "hydra_plugins" / "solo_invariance_plugin" / "__init__.py").read_text())
    top = {name for node in tree.body if isinstance(node, ast.Import) for name in (a.name for a in node.names)}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in top} == {"sys", "typing", "hydra", "omegaconf"}


def test_checkpoints_are_only_read_as_plain_tensors() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            assert name not in ("eval", "exec", "pickle.load", "pickle.loads"), path
            if name == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path


def test_features_know_nothing_of_what_is_done_with_them() -> None:
    for path in (PACKAGE / "features").glob("*.py"):
        users = ("solo_invariance.measure", "solo_invariance.transfer", "solo_invariance.report")
        assert not any(name.startswith(users) for name in _imports(path)), path


def test_the_hosts_have_no_circles() -> None:
    """Neither at the top of a file, nor in a function, nor for types alone."""
    files = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in (PACKAGE / "hosts").rglob("*.py")
        if path.name != "__init__.py"
    }
    left = {name: _imports(path) & files.keys() for name, path in files.items()}
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    assert not left, "these import each other, or those that do"


def test_the_callbacks_seam_is_the_factory_alone() -> None:
    seam = "solo_invariance.hosts.callbacks"
    assert not [path for path in PACKAGE.rglob("*.py") if seam in _imports(path)]
    assert [type(node) for node in ast.parse((PACKAGE / "hosts" / "callbacks.py").read_text()).body] == [
        ast.Expr,
        *[ast.ImportFrom] * 3,
        ast.FunctionDef,
    ]
