"""Odd names of files, folders and labels."""

from functools import partial
from pathlib import Path
from random import Random

from fuzz.case import Case
from fuzz.odd_values import NAMES
from fuzz.world import CSV, FAMILIES, FUSE, MEASURE, NET, OWN, PRETRAIN, QUICK, REPORT, TRANSFER, VIEWS

_ROLES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # What is renamed, and the command, in which NAME stands for the new name.
    ("photos", ("measure", *NET, "data.path=NAME", *MEASURE[3:]), "data.path"),
    ("photos", ("transfer", *NET, "task.name=folder", "task.path=NAME", *TRANSFER[4:]), "task.path"),
    ("photos/train/circle", MEASURE, ""),
    ("photos/train/circle", TRANSFER, ""),
    ("photos/train/circle/1.png", MEASURE, ""),
    ("photos/test/circle/1.png", FAMILIES, ""),
    ("photos", (*FAMILIES[:2], "data.path=NAME", *FAMILIES[3:]), "data.path"),
    ("photos", (*OWN[:-1], "data.train_path=NAME"), "data.train_path"),
    ("photos/train/circle", OWN, ""),
    ("views/g1", VIEWS, ""),
    ("host", ("measure", "backbone.checkpoint=NAME/run.ckpt", *MEASURE[2:]), "backbone.checkpoint"),
    ("host/run.ckpt", ("measure", "backbone.checkpoint=host/NAME", *MEASURE[2:]), "backbone.checkpoint"),
    ("host/run.ckpt", ("fuse", "members=[host/NAME,other/run.ckpt]", *FUSE[2:]), "members"),
    ("host", ("fuse", "members=[NAME/run.ckpt,other/run.ckpt]", *FUSE[2:]), "members"),
    ("table.csv", (*CSV[:-1], "task.options.targets=NAME"), "targets"),
    ("measured", ("report", "runs=[NAME,scored]", "out=out/report.html"), "runs"),
    ("scored", (*TRANSFER, "against=NAME"), "against"),
    ("", (*MEASURE[:-1], "out=NAME"), "out"),
    ("", (*TRANSFER[:-1], "out=NAME"), "out"),
    ("", (*FUSE[:-1], "out=NAME/fused.ckpt"), "out"),
    ("", (*FUSE[:-1], "out=NAME.ckpt"), "out"),
    ("", (*FAMILIES[:-1], "out=NAME/sheet.png"), "out"),
    ("", (*REPORT[:-1], "out=NAME"), "out"),
    ("", (*REPORT[:-1], "out=NAME.html"), "out"),
    ("", (*PRETRAIN[:-1], "checkpoint.dir=NAME"), "checkpoint.dir"),
    ("", (*PRETRAIN, "name=NAME"), "name"),
    ("", (*MEASURE, "backbone.label=NAME"), "label"),
    ("", (*TRANSFER, "backbone.label=NAME"), "label"),
    ("", (*TRANSFER, "task.label=NAME"), "label"),
    (
        "",
        ("transfer", *NET, "tasks=[{name: folder, label: NAME}]", "task.path=photos", "folds=2", *QUICK, "out=out"),
        "label",
    ),
)


def name_cases() -> list[Case]:
    """Return a case for every name in every role."""
    return [_case(name, *role) for role in _ROLES for name in NAMES if "/" not in name]


def _case(name: str, path: str, command: tuple[str, ...], key: str) -> Case:
    suffix = Path(path).suffix
    new = f"{name}{suffix}"
    arguments = tuple(argument.replace("NAME", new) for argument in command)
    return Case(
        "names",
        f"{path or key} called {name[:40]!r}, for {command[0]}",
        arguments,
        (key or new, new),
        partial(_rename, path, new),
    )


def _rename(path: str, new: str, work: Path, random: Random) -> None:
    if path:
        (work / path).rename((work / path).parent / new)
