"""What else than tensors lies in checkpoints, read without any of its code: a stand-in for each of its types.

Whoever trains pickles a configuration, a score or a path beside the weights. ``torch.load(weights_only=True)`` refuses
the whole file for that. The types that are known to come along are answered with classes of this module, which bear
their names and do nothing: the real ones are never imported, called or given the file's data. All other names are left
to torch, which refuses them.
"""

import pickletools
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

_CLASS = r"[A-Z]\w*"
_PLAIN = re.compile(
    rf"""builtins\.(list|dict|tuple|frozenset|int|float|str|bool|bytes|slice|range|object|type|Ellipsis|NotImplemented)
    |operator\.getitem|collections\.(defaultdict|deque|UserDict|ChainMap)|re\._compile|time\.struct_time
    |logging\.(getLogger|Logger|RootLogger)
    |argparse\.Namespace|types\.SimpleNamespace|functools\.partial
    |pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path
    |datetime\.\w+|decimal\.Decimal|fractions\.Fraction|uuid\.\w+|typing\.{_CLASS}
    |numpy\.random(\.\w+)+|numpy\.(dtype|ndarray|matrix|bool_?|u?int\d+|float\d+|complex\d+|str_)|numpy\.dtypes\.{_CLASS}
    |numpy\._?core\.multiarray\.(scalar|_reconstruct)|numpy\._?core\.numeric\._frombuffer
    |numpy\.ma\.(core\.)?(_mareconstruct|MaskedArray)
    |(omegaconf|hydra)\.([a-z_]\w*\.)*{_CLASS}
    |(pytorch_lightning|lightning|lightning_fabric)\.([a-z_]\w*\.)*{_CLASS}|torchmetrics\.([a-z_]\w*\.)*\w+
    |(yacs|easydict|addict|box|munch|ml_collections|fvcore|mmcv|mmengine)\.([a-z_]\w*\.)*{_CLASS}
    |torch\.torch_version\.TorchVersion|torch\.return_types\.\w+|torch\._C\.Generator
    |torch\.amp\.grad_scaler\._refresh_per_optimizer_state
    |torch\.(nn|optim|amp|cuda\.amp)\.(?!parameter\.)([a-z_]\w*\.)*{_CLASS}
    |torch\.nn\.functional\.\w+|torch\._C\._nn\.\w+
    |(torchvision\.(models|ops|transforms)|timm|transformers|kornia|sklearn)\.([a-z_]\w*\.)*{_CLASS}
    |(lightly|lightly_train|stable_pretraining|solo|vissl|classy_vision|mmpretrain|mmselfsup)\.([a-z_]\w*\.)*{_CLASS}""",
    re.VERBOSE,
)
# Subclasses of dict and list: torch fills only what is exactly one of its own.
_MAPPINGS = re.compile(
    r"collections\.defaultdict|.*\.(AttributeDict|CfgNode|EasyDict|ConfigDict|Dict|Box|Munch)|builtins\.dict"
)
_LISTS = ("collections.deque", "builtins.list")
_PICKLES_OF_OLD_FILES = 4
"""A magic number, the format's version, the machine, and then the content."""


class StandIn:
    """What stands for an object of a type that is not imported; ``state`` is what it would have been given."""

    state: Any = None

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """Return an object that knows nothing of its arguments."""
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        # In its own place: as attributes, the file's names could hide methods.
        object.__setattr__(self, "state", state)


class _MappingStandIn:
    def __new__(cls, *args: object, **kwargs: object) -> Any:
        return OrderedDict()


class _ListStandIn:
    def __new__(cls, *args: object, **kwargs: object) -> Any:
        return []


def stand_ins_for(path: Path) -> list[type]:
    """Return stand-ins for the types that a checkpoint names, as far as they are known to be data and nothing more.

    Raises:
        Exception: The file is no checkpoint; of any kind, since its bytes are a stranger's.
    """
    return [_stand_in(name) for name in sorted(_names_in(path)) if _PLAIN.fullmatch(name)]


def is_zip(path: Path) -> bool:
    """Return whether a file begins as an archive does; torch decides by the same bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _stand_in(name: str) -> type:
    module, _, own = name.rpartition(".")
    base = _MappingStandIn if _MAPPINGS.fullmatch(name) else _ListStandIn if name in _LISTS else StandIn
    # The name is all by which torch knows what it may take.
    return type(own, (base,), {"__module__": module, "__qualname__": own})


def _names_in(path: Path) -> set[str]:
    """Return the names of what a checkpoint's pickles ask for, without running them."""
    if not is_zip(path):
        with path.open("rb") as file:
            return {name for _ in range(_PICKLES_OF_OLD_FILES) for name in _names_in_pickle(file)}
    with zipfile.ZipFile(path) as archive:
        records = [name for name in archive.namelist() if re.fullmatch(r"[^/]*/?data\.pkl", name)]
        names: set[str] = set()
        for record in records:
            with archive.open(record) as pickled:
                names.update(_names_in_pickle(pickled))  # type: ignore[arg-type]
        return names


def _names_in_pickle(file: BinaryIO) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL":
            module, name = str(argument).split(" ", 1)
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            yield f"{module}.{name}"


def entries_of(value: object) -> Iterator[tuple[str, object]]:
    """Yield the named entries of a mapping, or of what an object that is stood in for would have had."""
    inner = value.state if isinstance(value, StandIn) else value
    if isinstance(inner, dict):
        # Not by its own method, which a pickle can hide by an attribute of that name.
        yield from ((name, entry) for name, entry in dict.items(inner) if isinstance(name, str))
    elif isinstance(inner, Mapping):
        yield from ((name, entry) for name, entry in inner.items() if isinstance(name, str))
