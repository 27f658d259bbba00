"""Damage to what a file says, while the file itself stays well-formed."""

import argparse
import csv
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

import numpy as np
import torch

from fuzz.bytes_damage import Damage
from fuzz.odd_values import CANARY, FOUND, MARKUP, TYPED

_TOO_DEEP = 100_000


class Payload:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def json_value(path: Path, random: Random) -> None:
    """Put another value somewhere into a JSON document."""
    content = json.loads(path.read_text(encoding="utf-8"))
    parent, key = random.choice(list(_places(content)))
    parent[key] = random.choice(FOUND)
    path.write_text(json.dumps(content), encoding="utf-8")


def json_key(path: Path, random: Random) -> None:
    """Remove, rename or repeat a key somewhere in a JSON document."""
    content = json.loads(path.read_text(encoding="utf-8"))
    parent, key = random.choice([place for place in _places(content) if isinstance(place[0], dict)])
    value = parent.pop(key)
    if random.random() < 0.5:
        parent[random.choice([name for name in FOUND if isinstance(name, str)])] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def json_everywhere(path: Path, random: Random) -> None:
    """Put markup into each string of a JSON document that may hold any."""
    content = json.loads(path.read_text(encoding="utf-8"))
    text = random.choice([MARKUP, random.choice([text for text in FOUND if isinstance(text, str)])])
    for parent, key in list(_places(content)):
        if isinstance(parent[key], str) and key not in ("kind", "schema"):
            parent[key] = text + str(parent[key])
    path.write_text(json.dumps(content), encoding="utf-8")


def json_keys_everywhere(path: Path, random: Random) -> None:
    """Put markup into the names of whatever has a name of its own: transforms, view sets, versions, timings."""
    content = json.loads(path.read_text(encoding="utf-8"))
    text = random.choice([MARKUP, random.choice([text for text in FOUND if isinstance(text, str)])])
    for key in ("transforms", "views", "versions", "timings", "config"):
        if isinstance(content.get(key), dict):
            content[key] = {text + name: value for name, value in content[key].items()}
    path.write_text(json.dumps(content), encoding="utf-8")


def json_document(path: Path, random: Random) -> None:
    """Put another document there."""
    documents = (
        *("null", "[]", "1", '""', "{}", "NaN", "[" * _TOO_DEEP, "[" * _TOO_DEEP + "]" * _TOO_DEEP, "9" * 5000, "-"),
        *(
            '{"a": ' * 50_000 + "1" + "}" * 50_000,
            '{"a": 1, "a": 2}',
            "{'a': 1}",
            '{"schema": 1}',
            '{"schema": 99}',
            "1e999",
        ),
        *(
            '{"schema": 1, "kind": "invariance"}',
            '{"schema": 1, "kind": "nope"}',
            '"\\ud800"',
            "{} {}",
            "{}\x00",
            "// a\n{}",
        ),
    )
    path.write_text(random.choice(documents), encoding="utf-8")


def csv_cells(path: Path, random: Random) -> None:
    """Put another value into a cell, a header or a row of a CSV table."""
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    row = random.choice(rows[: random.choice((1, len(rows)))])
    row[random.randrange(len(row))] = random.choice(TYPED)
    _write_csv(path, rows)


def csv_shape(path: Path, random: Random) -> None:
    """Change the shape of a CSV table: rows, columns, delimiters."""
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    changes: tuple[Callable[[], None], ...] = (
        lambda: rows.pop(0),
        lambda: rows.pop(),
        lambda: rows.__delitem__(slice(1, None)),
        lambda: rows.append(rows[1]),
        lambda: rows.insert(1, []),
        lambda: rows[2].append("more"),
        lambda: rows[2].pop(),
        lambda: [row.pop() for row in rows],
        lambda: [row.append(row[1]) for row in rows],
        lambda: [row.insert(0, str(number)) for number, row in enumerate(rows)],
        lambda: [row.append("") for row in rows],
    )
    random.choice(changes)()
    _write_csv(path, rows, random.choice(",,,;\t|"))


def csv_long(path: Path, random: Random) -> None:
    """Put a cell of a megabyte, or a quotation without an end, into a CSV table."""
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text + random.choice(("x" * 1_000_000 + ",circle,train\n", '"never ends\n' * 3, "\x00,circle,train\n"))
    )


def yaml_document(path: Path, random: Random) -> None:
    """Put another YAML document there: tags that run code, laughs by the billion, and what is no mapping."""
    laughs = "\n".join(
        ["a0: &a0 [x,x,x,x,x,x,x,x,x]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    )
    documents = (
        *(
            laughs,
            f"seed: !!python/object/apply:os.system ['touch {CANARY}']",
            "seed: !!python/name:os.system",
            "a: &a [*a]",
        ),
        *(
            "- 1\n- 2",
            "1",
            "",
            "null",
            "seed: [",
            "seed: {",
            "\tseed: 1",
            "seed: 1\nseed: 2",
            "? [a]\n: 1",
            "seed: *nope",
        ),
        *(
            "seed: ${x}",
            "seed: ${oc.env:NOPE}",
            "defaults:\n - nope",
            "defaults: 1",
            "defaults:\n - mine",
            "hydra: 1",
            "nope: 1",
        ),
        *(
            "%YAML 9.9\n---\nseed: 1",
            "seed: 1\n---\nseed: 2",
            "seed: '\x01'",
            'seed: "\\ud800"',
            "a: " + "[" * 5000,
            "seed: 2001-01-01",
        ),
        *(
            f"_target_: os.system\ncommand: touch {CANARY}",
            f"hydra:\n  launcher:\n    _target_: os.system\n    command: touch {CANARY}",
        ),
        *(
            f"hydra:\n  callbacks:\n    x:\n      _target_: os.system\n      command: touch {CANARY}",
            "seed: !nope 1",
            "seed: 0o7",
            "k: .nan",
        ),
    )
    path.write_text(random.choice(documents), encoding="utf-8")


def npz_arrays(path: Path, random: Random) -> None:
    """Change an array of an NPZ file: its type, its shape, its numbers, its name."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive}
    name = random.choice(list(arrays))
    changed = random.choice(_ARRAYS)(arrays[name])
    if changed is None:
        del arrays[name]
    else:
        arrays[name] = changed
    np.savez(path, **arrays)


def npz_members(path: Path, random: Random) -> None:
    """Change the archive around the arrays of an NPZ file: a bomb, names that lead elsewhere, pickles."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(bomb, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    changes = (
        lambda: members.update({name: bomb.getvalue()}),
        lambda: members.update({name: bomb.getvalue() + bytes(300_000_000)}),
        lambda: members.update({f"../../{name}": members[name]}),
        lambda: members.update({name: pickle.dumps(Payload())}),
        lambda: members.update({name: b"not an array"}),
        lambda: members.update({name: members[name][:-3]}),
        lambda: members.clear(),
    )
    random.choice(changes)()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def npy_array(path: Path, random: Random) -> None:
    """Change the array of an NPY file."""
    changed = random.choice(_ARRAYS)(np.load(path, allow_pickle=False))
    np.save(path, np.zeros(0) if changed is None else changed)


def tensors(path: Path, random: Random) -> None:
    """Change one tensor of a checkpoint: its kind, type, shape or name."""
    content = torch.load(path, weights_only=True)
    state = content.get("state_dict", content)
    name = random.choice([name for name, value in state.items() if isinstance(value, torch.Tensor)])
    changed = random.choice(_TENSORS)(state[name])
    if isinstance(changed, str):
        state[changed] = state.pop(name)
    else:
        state[name] = changed
    _save(content, path)


def all_weights(path: Path, random: Random) -> None:
    """Make all the weights of a checkpoint useless: not a number, nothing, huge."""
    content = torch.load(path, weights_only=True)
    state = content.get("state_dict", content)
    value = random.choice((float("nan"), 0.0, 1e30, float("inf"), -1e38))
    for name, weight in state.items():
        if isinstance(weight, torch.Tensor) and weight.is_floating_point():
            state[name] = torch.full_like(weight, value)
    _save(content, path)


def checkpoint_content(path: Path, random: Random) -> None:
    """Put something beside or in place of the weights of a checkpoint."""
    content = torch.load(path, weights_only=True)
    around: tuple[Callable[[], Any], ...] = (
        *(lambda: [content], lambda: None, lambda: 1),
        *(
            lambda: {},
            lambda: {"state_dict": {}},
            lambda: {"state_dict": None},
            lambda: {"state_dict": [1]},
            lambda: torch.zeros(3),
        ),
        *(lambda: {**content, "args": argparse.Namespace(lr=1)}, lambda: {**content, "best": np.float64(1.5)}),
        *(
            lambda: {**content, "path": PurePosixPath("a")},
            lambda: {1: torch.zeros(2)},
            lambda: {"state_dict": {1: torch.zeros(2)}},
        ),
        *(
            lambda: {**content, "model": torch.nn.Linear(2, 2)},
            lambda: {**content, "name": "[/v1]"},
            lambda: _nested(2000),
        ),
        *(lambda: {"state_dict": content}, lambda: {"model": content}, lambda: {**content, "f": os.path.join}),
    )
    _save(random.choice(around)(), path)


def checkpoint_payload(path: Path, random: Random) -> None:
    """Put what runs code when it is unpickled in the place of a checkpoint, or beside or among its weights."""
    content = torch.load(path, weights_only=True)
    around = (Payload(), {**content, "extra": Payload()}, {"state_dict": {**content, "backbone.x": Payload()}})
    if random.random() < 0.25:
        path.write_bytes(pickle.dumps(Payload()))
    else:
        _save(random.choice(around), path)


def _nested(depth: int) -> Any:
    content: Any = {}
    for _ in range(depth):
        content = {"state_dict": content}
    return content


def _save(content: Any, path: Path) -> None:
    import sys
    import warnings

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(content, path)
    finally:
        sys.setrecursionlimit(before)


def _quantised(tensor: torch.Tensor) -> Any:
    return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)


_TENSORS: tuple[Callable[[torch.Tensor], Any], ...] = (
    *(lambda t: t.to_sparse(), lambda t: t.to("meta"), _quantised, lambda t: torch.nested.nested_tensor([t.flatten()])),
    *(lambda t: torch.tensor(1.0), lambda t: t[:0], lambda t: t.to(torch.complex64), lambda t: t.to(torch.int64)),
    *(lambda t: t.bool(), lambda t: t.half(), lambda t: t.bfloat16(), lambda t: t.double(), lambda t: t.flatten()),
    *(lambda t: t * float("nan"), lambda t: t * float("inf"), lambda t: t * 1e38, lambda t: t * 0, lambda t: -t),
    *(
        lambda t: t.to(torch.float8_e4m3fn),
        lambda t: torch.nn.Parameter(t.float()),
        lambda t: t.float().t() if t.ndim == 2 else t,
    ),
    *(
        lambda t: t.repeat(2, *([1] * max(0, t.ndim - 1))),
        lambda t: t.unsqueeze(0),
        lambda t: None,
        lambda t: 1.0,
        lambda t: [1],
    ),
    *(
        lambda t: "backbone.nope",
        lambda t: "",
        lambda t: "[/v1]",
        lambda t: "module.x",
        lambda t: "x" * 3000,
        lambda t: t.expand(1, *t.shape),
    ),
)
_ARRAYS: tuple[Callable[[Any], Any], ...] = (
    *(
        lambda a: None,
        lambda a: a[:0] if a.ndim else a,
        lambda a: a[:-1] if a.ndim else a,
        lambda a: a.astype("U"),
        lambda a: a[None],
    ),
    *(
        lambda a: np.zeros(()),
        lambda a: np.full(a.shape, np.nan),
        lambda a: np.full(a.shape, np.inf),
        lambda a: np.full(a.shape, 1e308),
    ),
    *(
        lambda a: np.zeros(a.shape),
        lambda a: np.ones(a.shape, bool),
        lambda a: np.zeros(a.shape, "M8[s]"),
        lambda a: np.zeros(a.shape, "S3"),
    ),
    *(
        lambda a: np.zeros(a.shape, complex),
        lambda a: np.zeros(a.shape, [("a", "f4")]),
        lambda a: np.zeros(a.shape, ">f8"),
    ),
    *(
        lambda a: np.asfortranarray(a),
        lambda a: np.zeros((0, 0, 0)),
        lambda a: np.zeros((*a.shape, 2)),
        lambda a: np.full(a.shape, -1),
    ),
    *(
        lambda a: np.full(a.shape, "<x-canary>"),
        lambda a: np.zeros(a.shape, "f2"),
        lambda a: np.full(a.shape, 2**63, "u8"),
    ),
    *(
        lambda a: np.array([{"a": 1}] * 3, dtype=object),
        lambda a: np.array([Payload()], dtype=object),
        lambda a: a[::-1] if a.ndim else a,
    ),
)

JSON: Mapping[str, Damage] = {
    "a value": json_value,
    "a key": json_key,
    "markup in all strings": json_everywhere,
    "markup in all keys": json_keys_everywhere,
    "another document": json_document,
}
CSV: Mapping[str, Damage] = {"a cell": csv_cells, "the shape": csv_shape, "a long cell": csv_long}
YAML: Mapping[str, Damage] = {"another document": yaml_document}
NPZ: Mapping[str, Damage] = {"an array": npz_arrays, "the archive": npz_members}
NPY: Mapping[str, Damage] = {"the array": npy_array}
TORCH: Mapping[str, Damage] = {
    "a tensor": tensors,
    "all weights": all_weights,
    "the content": checkpoint_content,
    "a payload": checkpoint_payload,
}


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a document, as a container and a key or index."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(entries):
        yield content, key
        yield from _places(value)


def _write_csv(path: Path, rows: list[list[str]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
