"""The seams stay where they are, and imports go down the floors."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "solo_invariance"

# From the ground up: what stands on a floor imports from lower ones, and from its own room, alone.
FLOORS = (
    ("errors", "command_process", "callable_package", "known_datasets", "processes", "progress", "protocols"),
    ("plugins",),
    ("bootstrap", "config"),
    ("device",),
    ("results", "data", "regression"),
    ("families",),
    ("backbones",),
    ("features",),
    ("measure", "transfer", "export"),
    ("fuse", "comparison"),
    ("report",),
    ("shape", "advise"),
    ("hosts",),
    ("study",),
    ("installation",),
    ("commands",),
    ("cli", "__init__"),
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def _imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top, in a function, or for types only."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                submodule if (submodule := f"{node.module}.{alias.name}") in MODULES else node.module
                for alias in node.names
            }
    return names


def _room(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def _imports_of_ours(module: str) -> Iterator[str]:
    for name in _imports(MODULES[module]):
        if name.split(".")[0] == "solo_invariance" and name in MODULES:
            yield name


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - set(FLOOR) == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module: str) -> None:
    room = _room(module)
    for other in _imports_of_ours(module):
        below = FLOOR[_room(other)] < FLOOR[room] or _room(other) == room
        # The version is the one thing that everyone may know of the top.
        assert below or other == "solo_invariance", f"{module} imports {other}, which stands on a floor above"


def test_no_imports_go_round() -> None:
    TopologicalSorter(
        {module: set(_imports_of_ours(module)) - {module, "solo_invariance"} for module in MODULES}
    ).prepare()


def test_rooms_do_not_go_round_either() -> None:
    """What a package's face imports is imported by whoever imports a module of the package."""
    rooms: dict[str, set[str]] = {}
    for module in MODULES:
        rooms.setdefault(_room(module), set()).update(map(_room, _imports_of_ours(module)))
    TopologicalSorter({room: others - {room, "__init__"} for room, others in rooms.items()}).prepare()


def test_only_the_hosts_import_solo_learn_and_lightning() -> None:
    for module, path in MODULES.items():
        foreign = {name.split(".")[0] for name in _imports(path)} & {
            "solo",
            "lightning",
            "lightly",
            "pytorch_lightning",
        }
        if module == "solo_invariance.backbones.solo_learn":  # the one door to solo-learn's builders
            foreign -= {"solo"}
        assert not foreign or _room(module) == "hosts", path


def test_hydras_door_imports_nothing_heavy_at_module_level() -> None:
    tree = ast.parse((PACKAGE.parent / "hydra_plugins" / "solo_invariance_plugin" / "__init__.py").read_text())
    top = {name for node in tree.body if isinstance(node, ast.Import) for name in (a.name for a in node.names)}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in top} == {"re", "sys", "typing", "hydra", "omegaconf"}


def test_checkpoints_are_only_read_as_plain_tensors() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            assert name not in ("eval", "exec", "pickle.load", "pickle.loads"), path
            if name == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path


def test_commands_parse_and_print() -> None:
    """What a command can do, the library can: no room but the command line knows the terminal."""
    for module, path in MODULES.items():
        if _room(module) not in ("commands", "cli"):
            assert not _imports(path) & {"rich.console", "rich.progress", "argparse"}, path


def test_no_docstring_sends_its_reader_elsewhere() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                for line in (ast.get_docstring(node) or "").splitlines():
                    assert not re.search(r": (See there|Likewise|As for )|, likewise\.$|See there", line), (
                        f"{path}: {line}"
                    )


def test_the_callbacks_seam_is_the_factory_alone() -> None:
    seam = "solo_invariance.hosts.callbacks"
    assert not [path for path in PACKAGE.rglob("*.py") if seam in _imports(path)]
    assert [type(node) for node in ast.parse(MODULES[seam].read_text()).body] == [
        ast.Expr,
        *[ast.ImportFrom] * 4,
        ast.FunctionDef,
    ]


def test_one_function_reads_json() -> None:
    for path in PACKAGE.rglob("*.py"):
        calls = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert path.name == "files.py" or not [one for one in calls if re.match(r"json\.loads?\((?!json\.dumps)", one)]
