"""What lies beside weights is read where it is harmless, said where it is not, and never run."""

import argparse
import collections
import datetime
import decimal
import functools
import io
import json
import logging
import os
import pathlib
import pickle
import re
import shlex
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms import ToTensor

from solo_invariance.backbones import Architecture, Backbone, load_backbone
from solo_invariance.backbones.files.checkpoint import read_checkpoint
from solo_invariance.errors import UserError

NARROW = {"width": 0.125}


def _state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Architecture("resnet10", NARROW).build().state_dict()


def _load(path: Path, **keys: Any) -> Backbone:
    return load_backbone(path, **{"name": "resnet10", "kwargs": NARROW, "crop_size": 32, **keys})


def _default_dict() -> Any:
    found = collections.defaultdict(list)
    found["a"].append(1)
    return found


HARMLESS: dict[str, Any] = {
    "numpy scalar": np.float64(0.7),
    "numpy bool": np.bool_(True),
    "numpy array": np.arange(6.0).reshape(2, 3),
    "numpy objects": np.array([1, "a"], dtype=object),
    "numpy texts": np.array(["a", "bc"]),
    "numpy dtype": np.dtype("float32"),
    "numpy random state": np.random.get_state(),  # noqa: NPY002
    "numpy generator": np.random.default_rng(0),
    "namespace": argparse.Namespace(lr=0.1, where=Path("x")),
    "simple namespace": types.SimpleNamespace(a=1),
    "posix path": pathlib.PurePosixPath("a/b"),
    "this system's path": Path("a/b"),
    "windows path": pathlib.PureWindowsPath("c:/a"),
    "OmegaConf mapping": OmegaConf.create({"a": 1, "b": {"c": "${a}"}, "d": [1, {"e": None}]}),
    "OmegaConf list": OmegaConf.create([1, 2]),
    "default dict": _default_dict(),
    "ordered dict": collections.OrderedDict(a=1),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], maxlen=3),
    "masked array": np.ma.array([1, 2], mask=[0, 1]),
    "user dict": collections.UserDict(a=1),
    "pattern": re.compile("a+"),
    "logger": logging.getLogger("training"),
    "partial": functools.partial(int, base=2),
    "gradient scaler": torch.amp.GradScaler("cpu"),
    "transform": ToTensor(),
    "largest": torch.eye(2).max(0),
    "optimizer": torch.optim.SGD([torch.zeros(2)], lr=0.1),
    "ellipsis": ...,
    "date": datetime.datetime(2024, 6, 1),
    "duration": datetime.timedelta(1),
    "decimal": decimal.Decimal("0.1"),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "version": torch.__version__,
    "sets": [{1, 2}, frozenset([3])],
    "bytes": [b"a", bytearray(b"b")],
    "numbers": [1j, 10**50, -1, range(3), slice(1), None],
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("what", HARMLESS)
def test_what_lies_beside_weights_does_not_keep_them_from_loading(tmp_path: Path, what: str, zipped: bool) -> None:
    state, beside = _state(), {"first": HARMLESS[what], "then": [1, HARMLESS[what], "end"]}
    content = {"hyper_parameters": beside, "state_dict": state, "after": {HARMLESS[what]: 1} if what == "date" else 2}
    torch.save(content, tmp_path / "a.ckpt", _use_new_zipfile_serialization=zipped)
    assert read_checkpoint(tmp_path / "a.ckpt")["hyper_parameters"]["then"][::2] == [1, "end"]
    network = _load(tmp_path / "a.ckpt").network
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_stand_ins_import_and_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The types that are stood in for are not touched: neither made, nor called, nor given the file's data."""
    content = {"state_dict": _state(), **HARMLESS, "path": Path("x")}
    torch.save(content, tmp_path / "a.ckpt")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("was run")

    for owner, method in (
        (argparse.Namespace, "__init__"),
        (pathlib.PurePath, "__new__"),
        (type(OmegaConf.create({})), "__setstate__"),
        (type(OmegaConf.create([])), "__setstate__"),
    ):
        monkeypatch.setattr(owner, method, refuse)
    loaded = read_checkpoint(tmp_path / "a.ckpt")
    monkeypatch.undo()
    for name in ("namespace", "path", "OmegaConf mapping", "numpy array", "date", "numpy scalar"):
        assert type(loaded[name]).__mro__[1].__module__ == "solo_invariance.backbones.files.stand_ins", name


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.call


def _marks(tmp_path: Path) -> dict[str, Any]:
    """Objects that would make a file ``tmp_path / "ran"``, were they unpickled as pickle does it."""
    mark = str(tmp_path / "ran")
    code = f"open({mark!r}, 'w').close()"
    namespace = _Calls(argparse.Namespace, state={"__class__": _Calls(exec, code)})
    return {
        "exec": _Calls(exec, code),
        "eval": _Calls(eval, code),
        "os.system": _Calls(os.system, f"touch {mark}"),
        "posix": _Calls(os.mkdir, mark),
        "open": _Calls(open, mark, "w"),
        "path.touch": _Calls(Path.touch, Path(mark)),
        "getattr": _Calls(getattr, Path(mark), "touch"),
        "numpy": _Calls(np.save, mark, np.zeros(1)),
        "numpy, a method": _Calls(np.ndarray.tofile, np.zeros(1), mark),
        "partial": _Calls(functools.partial(exec, code)),
        "namespace": namespace,
        "omegaconf": _Calls(OmegaConf.save, OmegaConf.create({"a": 1}), mark),
        "torch": _Calls(torch.save, torch.zeros(1), mark),
        "torch.hub": _Calls(torch.hub.load, str(tmp_path), "ran"),
        "runpy": _Calls(__import__("runpy").run_path, mark),
        "import": _Calls(__import__, "antigravity"),
        "in a partial": functools.partial(exec, code),
        "a default factory": _Calls(collections.defaultdict, _Calls(exec, code)),
        "state of OmegaConf's": _Calls(type(OmegaConf.create({})), {}, state={"_content": _Calls(exec, code)}),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("what", _marks(Path()))
def test_nothing_that_a_file_holds_is_run(tmp_path: Path, what: str, zipped: bool) -> None:
    hostile = _marks(tmp_path)[what]
    torch.save({"state_dict": _state(), "extra": hostile}, tmp_path / "a.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"a\.ckpt: refused") as error:
        _load(tmp_path / "a.ckpt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_call_of_what_is_stood_in_for_does_nothing(tmp_path: Path) -> None:
    """Whatever a pickle does with a name that is let in, it does with a stand-in."""
    state = _state()
    tricks = {
        "arguments": _Calls(argparse.Namespace, "a", 1, {"b": 2}),
        "state": _Calls(argparse.Namespace, state={"__class__": 1, "__setstate__": 2, "state": 3, "items": 4}),
        "tuple": _Calls(argparse.Namespace, state=({"a": 1}, {"__dict__": 2})),
        "hiding": _Calls(collections.OrderedDict, state={"items": 1, "get": 2, "keys": 3}),
    }
    torch.save({"tricks": tricks, "state_dict": state}, tmp_path / "a.ckpt")
    assert torch.equal(_load(tmp_path / "a.ckpt").network.conv1.weight, state["conv1.weight"])


class _Hiding:
    """Pickles as an ``OrderedDict`` that has attributes in place of its methods."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self.entries = entries

    def __reduce__(self) -> Any:
        hidden = dict.fromkeys(("items", "get", "keys", "values", "__iter__"), 1)
        return collections.OrderedDict, (), hidden, None, iter(self.entries.items())


@pytest.mark.parametrize("where", ["whole", "state_dict", "fusion"])
def test_attributes_that_hide_a_mappings_methods(tmp_path: Path, where: str) -> None:
    """A pickle may give an ``OrderedDict`` attributes of any names: torch lets it."""
    hiding = _Hiding({"state_dict": _state()} if where == "whole" else _state())
    torch.save(hiding if where == "whole" else {where: hiding}, tmp_path / "a.ckpt")
    if where == "fusion":
        with pytest.raises(UserError, match=r"a\.ckpt: fused schema None, this version reads 1"):
            _load(tmp_path / "a.ckpt", crop_size=None)
    else:
        assert torch.equal(_load(tmp_path / "a.ckpt").network.conv1.weight, _state()["conv1.weight"])


class _Settings:
    """A class of somebody's training code."""

    def __init__(self) -> None:
        self.lr = 0.1


def test_what_is_refused_is_named_and_how_to_do_without(tmp_path: Path) -> None:
    path = tmp_path / "it's mine.ckpt"
    torch.save({"state_dict": _state(), "settings": _Settings()}, path)
    with pytest.raises(UserError) as error:
        _load(path)
    message = str(error.value)
    assert f"asks for {_Settings.__module__}._Settings, which is not known to be plain data" in message
    assert "If you trust whoever made the file" in message
    # The command is the shell's to run: here, its one argument.
    command = shlex.split(message.partition("python -c ")[2])[0]
    exec(command)
    assert torch.equal(_load(tmp_path / "it's mine.weights.pth").network.conv1.weight, _state()["conv1.weight"])


def test_names_that_begin_as_known_ones_do_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = type("NamespaceOfMine", (), {"__module__": "argparse"})
    monkeypatch.setattr(argparse, "NamespaceOfMine", other, raising=False)
    torch.save({"state_dict": _state(), "extra": other()}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"asks for argparse\.NamespaceOfMine"):
        _load(tmp_path / "a.ckpt")


def test_another_protocol_of_pickle_is_said_in_one_line(tmp_path: Path) -> None:
    torch.save({"state_dict": _state()}, tmp_path / "a.ckpt", pickle_protocol=5)
    with pytest.raises(UserError, match=r"a\.ckpt: refused, it is no file of plain tensors.*python -c") as error:
        _load(tmp_path / "a.ckpt")
    assert "\n" not in str(error.value)


ODD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "NaN": (lambda t: t.index_fill(0, torch.tensor([0]), torch.nan), r"holds 147 numbers of 1176 that are not finite"),
    "infinite": (lambda t: t + torch.inf, r"holds 1176 numbers of 1176 that are not finite"),
    "out of single precision": (lambda t: t.double() * 1e300, r"numbers of 1176 that are not finite"),
    "NaN in bfloat16": (lambda t: (t * torch.nan).bfloat16(), r"holds 1176 numbers"),
    "sparse": (lambda t: t.to_sparse(), "is a tensor of kind sparse"),
    "meta": (lambda t: t.to("meta"), r"is a tensor of kind meta \(without numbers\)"),
    "quantised": (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "is a tensor of kind quantised"),
    "complex": (lambda t: t.to(torch.complex64), "is a tensor of kind complex64"),
    "integer": (lambda t: t.to(torch.int8), "is a tensor of kind int8"),
    "truth values": (lambda t: t > 0, "is a tensor of kind bool"),
    "zero-dimensional": (lambda t: t.mean(), r"1 of another shape \(conv1\.weight \(\) for \(8, 3, 7, 7\)\)"),
    "empty": (lambda t: t[:0], r"1 of another shape \(conv1\.weight \(0, 3, 7, 7\)"),
    "enormous": (
        lambda t: torch.zeros(1).expand(10**6, 10**6),
        r"1 of another shape \(conv1\.weight \(1000000, 1000000\)",
    ),
    "nested": (lambda t: torch.nested.nested_tensor([t[0], t[1]]), "refused|of another shape|cannot be read"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_weights_that_are_no_plain_numbers_are_named(tmp_path: Path, kind: str) -> None:
    change, message = ODD[kind]
    state = _state()
    torch.save({"state_dict": {**state, "conv1.weight": change(state["conv1.weight"])}}, tmp_path / "odd.ckpt")
    with pytest.raises(UserError, match=rf"odd\.ckpt.*{message}") as error:
        _load(tmp_path / "odd.ckpt")
    assert "\n" not in str(error.value)
    assert "conv1.weight" in str(error.value) or kind == "nested"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["sparse", "meta", "complex", "integer", "enormous", "zero-dimensional"])
def test_odd_tensors_beside_the_weights_do_not_matter(tmp_path: Path, kind: str) -> None:
    state = _state()
    odd = ODD[kind][0](state["conv1.weight"])
    torch.save({"state_dict": state, "buffers": {"odd": odd, "0.weight": odd}}, tmp_path / "a.ckpt")
    assert torch.equal(_load(tmp_path / "a.ckpt").network.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64])
def test_weights_of_other_precisions_become_single(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in _state().items()}
    torch.save(state, tmp_path / "a.ckpt")
    weight = _load(tmp_path / "a.ckpt").network.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["conv1.weight"].float())


def test_safetensors(tmp_path: Path) -> None:
    state = _state()
    save_file({f"encoder.{name}": value for name, value in state.items()}, tmp_path / "a.safetensors", {"format": "pt"})
    backbone = _load(tmp_path / "a.safetensors")
    assert torch.equal(backbone.network.conv1.weight, state["conv1.weight"])
    whole = (tmp_path / "a.safetensors").read_bytes()
    for content in (whole[:100], whole[:-1], b"", (2**62).to_bytes(8, "little") + b"{}", b"\0" * 64):
        (tmp_path / "b.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"b\.safetensors: cannot be read"):
            _load(tmp_path / "b.safetensors")


@pytest.mark.filterwarnings("ignore")  # about TorchScript's age
def test_archives_that_are_no_checkpoints(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weight=np.zeros(3))
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(tmp_path / "a.ts"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for name in ("a.npz", "a.ts", "a.zip"):
        with pytest.raises(UserError, match=rf"{name}: is an archive, but none of torch\.save's"):
            _load(tmp_path / name)


def test_archives_that_would_fill_the_memory(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(10**6)}}, tmp_path / "honest.ckpt")
    with zipfile.ZipFile(tmp_path / "honest.ckpt") as honest, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w") as bomb:
        for entry in honest.infolist():
            bomb.writestr(entry.filename, honest.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=r"bomb\.ckpt: refused, its \d+ bytes expand to \d+"):
        _load(tmp_path / "bomb.ckpt")


def test_a_legacy_pickle_that_declares_more_than_it_has(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue().replace(pickle.dumps(3, 2)[2:4], b"K\xff")  # 3 elements become 255
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth: "):
        _load(tmp_path / "a.pth")


ARGS = {
    "nested deeply": ("[" * 10_000 + "]" * 10_000, "nested too deeply"),
    "mappings nested deeply": ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
    "a huge number": ('{"seed": ' + "9" * 5000 + "}", "not valid JSON"),
    "half a character": ('{"backbone": {"name": "\\ud800"}}', r"ud800"),
    "a key twice": ('{"name": "a", "name": "b"}', "key 'name' is there twice"),
    "truncated": ('{"name": "a', "not valid JSON"),
    "a huge crop": (
        '{"backbone": {"name": "resnet10"}, "augmentations": [{"crop_size": 1e5}]}',
        "crop_size is 100000.0",
    ),
    "an enormous crop": (
        json.dumps({"backbone": {"name": "resnet10"}, "augmentations": [{"crop_size": 10**19}]}),
        "expected at most 4096 pixels",
    ),
    "a true crop": ('{"backbone": {"name": "resnet10"}, "augmentations": [{"crop_size": true}]}', "crop_size is True"),
    "NaN": ('{"backbone": {"name": "resnet10"}, "augmentations": [{"crop_size": 32, "mean": [NaN, 0, 0]}]}', "mean is"),
    "overflow": (
        '{"backbone": {"name": "resnet10"}, "augmentations": [{"crop_size": 32, "std": [1e308, 1, 1]}]}',
        "std is",
    ),
    "odd arguments": (
        '{"backbone": {"name": "resnet10", "kwargs": {"zero_init_residual": [], "groups": 0}}}',
        "cannot be built",
    ),
    "arguments of another kind": ('{"backbone": {"name": "resnet10", "kwargs": {"width": "x"}}}', "cannot be built"),
}


@pytest.mark.parametrize("what", ARGS)
def test_hostile_args_end_in_one_line(tmp_path: Path, what: str) -> None:
    content, message = ARGS[what]
    torch.save({"state_dict": Architecture("resnet10").build().state_dict()}, tmp_path / "a.ckpt")
    (tmp_path / "args.json").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load_backbone(tmp_path / "a.ckpt")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_args_that_are_no_text_are_written_out(tmp_path: Path) -> None:
    torch.save({"state_dict": _state()}, tmp_path / "a.ckpt")
    args = {"backbone": {"name": "resnet10", "kwargs": NARROW}, "augmentations": [{"crop_size": 32}], "name": "\udce9"}
    (tmp_path / "args.json").write_text(json.dumps(args))
    assert load_backbone(tmp_path / "a.ckpt").provenance.label == "\\udce9"


@pytest.mark.parametrize(("encoding", "reads"), [("utf-8-sig", True), ("utf-16", False)])
def test_args_as_windows_writes_them(tmp_path: Path, encoding: str, reads: bool) -> None:
    torch.save({"state_dict": _state()}, tmp_path / "a.ckpt")
    args = {"backbone": {"name": "resnet10", "kwargs": NARROW}, "augmentations": [{"crop_size": 32}], "name": "größer"}
    (tmp_path / "args.json").write_bytes(json.dumps(args, ensure_ascii=False).encode(encoding))
    if reads:
        assert load_backbone(tmp_path / "a.ckpt").provenance.label == "größer"
    else:
        with pytest.raises(
            UserError, match=r"args\.json: is not valid JSON \(not UTF-8 text.*\)\. Restore it from the run"
        ):
            load_backbone(tmp_path / "a.ckpt")
