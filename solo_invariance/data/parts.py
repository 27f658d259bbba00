"""The parts of a dataset, for training, validation and test, by the names that people give them."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from solo_invariance.data.listing import contents_of_folder
from solo_invariance.errors import UserError

Role = Literal["train", "valid", "test", "unlabelled"]

_WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "eval", "evaluation"), "valid"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"), "unlabelled"),
}
_OF_ANY_PART = r"(?:data)?(?:sets?|data|images?|imgs?|pictures|photos|folders?|splits?|samples)"
_WORD = re.compile(rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?:{_OF_ANY_PART})?")
_GENERIC = re.compile(rf"{_OF_ANY_PART}|.")


class PartName(NamedTuple):
    """What a part's name says.

    Attributes:
        role: What the part is for.
        affix: What else is in the name, such as ``("seg",)`` in ``seg_train``; words such as ``set`` and ``images``,
            single letters and numbers do not count.
    """

    role: Role
    affix: tuple[str, ...]


class Parts(NamedTuple):
    """The parts of a dataset that are folders.

    Attributes:
        train: What is for training, with what is for validation where there is a test.
        test: What is for the test.
        passed_over: The names of the other folders beside them.
    """

    train: tuple[Path, ...]
    test: Path
    passed_over: tuple[str, ...]


def part_name(name: str) -> PartName | None:
    """Return what a name says of a part of a dataset, None where it names none.

    Example:
        >>> part_name("Training_Set"), part_name("seg_test"), part_name("bus")
        (PartName(role='train', affix=()), PartName(role='test', affix=('seg',)), None)
    """
    words = [
        word.lower() for run in re.findall(r"[^\W\d_]+", name) for word in re.findall(r"[A-Z]+(?![a-z])|.[^A-Z]*", run)
    ]
    roles = {_WORDS[found[1]] for word in words if (found := _WORD.fullmatch(word))}
    if roles == {"train", "valid"}:
        roles = {"train"}
    elif "unlabelled" in roles:
        roles = {"unlabelled"}
    if len(roles) != 1:
        return None
    return PartName(
        roles.pop(), tuple(word for word in words if not (_WORD.fullmatch(word) or _GENERIC.fullmatch(word)))
    )


def for_test(roles: Iterable[Role]) -> Role | None:
    """Return which of a dataset's roles is for the test, None where none is.

    What is for validation is for the test where nothing else is, and else for training.

    Example:
        >>> for_test(["train", "valid"]), for_test(["train", "valid", "test"])
        ('valid', 'test')
    """
    present = set(roles)
    return "test" if "test" in present else "valid" if "valid" in present else None


def parts_of(root: Path) -> Parts | None:
    """Return the parts that a folder of labelled images is split into, None where its folders are classes.

    A part holds a folder for each class; it may lie in a folder of its own name (``seg_train/seg_train``). Folders with
    the names of parts that hold images themselves, beside folders of other names, are classes; so is one such name
    alone.

    Raises:
        UserError: The folder cannot be read; or its folders are named like parts, but are not all that is needed, are
            there twice, or hold images without classes.
    """
    names = contents_of_folder(root).folders
    named = {name: part for name in names if (part := part_name(name))}
    datasets: dict[tuple[str, ...], dict[Role, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, part in named.items():
        datasets[part.affix][part.role].append(name)
    whole = [roles for roles in datasets.values() if "train" in roles and for_test(roles)]
    if not whole:
        _refuse_rest(root, names, named)
        return None
    if len(whole) > 1:
        listed = " and ".join(_listed(name for found in roles.values() for name in found) for roles in whole)
        raise UserError(f"{root}: holds the parts of several datasets, {listed}; name the folder of one of them")
    (roles,) = whole
    members = [name for found in roles.values() for name in found]
    others = tuple(name for name in names if name not in members)
    holding = {name: _undoubled(root / name, named[name]) for name in members}
    if others and not any(contents_of_folder(folder).folders for folder in holding.values()):
        return None
    return _chosen(root, roles, holding, others)


def _chosen(root: Path, roles: dict[Role, list[str]], holding: dict[str, Path], others: tuple[str, ...]) -> Parts:
    for role, found in roles.items():
        if role != "unlabelled" and len(found) > 1:
            raise UserError(f"{root}: {_listed(found)} are both called like the part for {_PURPOSES[role]}; keep one")
    labelled: dict[Role, Path] = {
        role: holding[name]
        for role, (name, *_) in roles.items()
        if role != "unlabelled" and not _holds_only_images(holding[name])
    }
    unlabelled = [name for name, folder in holding.items() if folder not in labelled.values()]
    scored = for_test(labelled)
    if "train" not in labelled or scored is None:
        bare = [name for name in unlabelled if name not in roles.get("unlabelled", [])]
        hint = (
            f"; task.path={labelled['train']} takes its test from there"
            if "train" in labelled
            else "; expected a folder for each class, or a table of targets"
        )
        raise UserError(f"{root}: {_listed(bare)} hold images without folders of classes{hint}")
    train = tuple(folder for role, folder in labelled.items() if role != scored)
    return Parts(train, labelled[scored], (*unlabelled, *others))


_PURPOSES: dict[Role, str] = {"train": "training", "valid": "validation", "test": "the test"}


def _refuse_rest(root: Path, names: list[str], named: dict[str, PartName]) -> None:
    """Refuse folders that are all named like parts and are no whole dataset, rather than take them for classes."""
    if not named or len(named) < len(names):
        return
    affixes = {part.affix for part in named.values()}
    alike = len(affixes) == 1 and (len(names) > 1 or () in affixes)
    if not alike and not any(contents_of_folder(root / name).folders for name in names):
        return
    roles = {part.role for part in named.values()}
    if not alike and len(names) == 1:
        return
    has = _listed(names)
    if "train" in roles and not for_test(roles):
        raise UserError(f"{root}: has {has}, but neither test nor val; expected train and test (or val)")
    if "train" not in roles:
        raise UserError(
            f"{root}: has {has}, but no train; expected train and test (or val), or a folder for each class"
        )
    raise UserError(f"{root}: {has} look like parts of datasets, but not of one; name them train and test")


def _undoubled(folder: Path, name: PartName) -> Path:
    """Return the folder in a folder that holds nothing else, as far down as that is only a wrapping."""
    while True:
        found = contents_of_folder(folder)
        if len(found.folders) != 1 or found.images:
            return folder
        inner = folder / found.folders[0]
        if part_name(inner.name) != name and not contents_of_folder(inner).folders:
            return folder
        folder = inner


def _holds_only_images(folder: Path) -> bool:
    found = contents_of_folder(folder)
    return bool(found.images) and not found.folders


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
