"""The room has no circles, and nothing in it hides one."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOM = Path(__file__).parents[2] / "solo_invariance" / "measure"


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOM.parents[1]).with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.AST) -> set[str]:
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def test_nothing_is_imported_in_a_circle() -> None:
    graph = {_module(path): _imports(ast.parse(path.read_text())) for path in ROOM.rglob("*.py")}
    inside = {module: imported & graph.keys() for module, imported in graph.items()}
    assert len(list(TopologicalSorter(inside).static_order())) == len(graph)


def test_nothing_of_the_project_is_imported_late_or_for_its_types_only() -> None:
    for path in ROOM.rglob("*.py"):
        tree = ast.parse(path.read_text())
        at_the_top = _imports(ast.Module([node for node in tree.body if not isinstance(node, ast.If)], []))
        of_functions = {node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not any(name.startswith("solo_invariance") for node in of_functions for name in _imports(node)), path
        assert {name for name in _imports(tree) if name.startswith("solo_invariance")} <= at_the_top, path
        assert "TYPE_CHECKING" not in path.read_text(), path


def test_protocols_are_asked_for_their_quirks() -> None:
    for path in [*ROOM.rglob("*.py"), ROOM.parent / "commands" / "measure.py"]:
        compared = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Compare)]
        values = [ast.unparse(value) for node in compared for value in [node.left, *node.comparators]]
        assert not {"'paper'", "'clean'"} & {*values}, path
