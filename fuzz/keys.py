"""Every key of every command, with odd values; the keys are those that the commands compose."""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from fuzz.case import Case
from fuzz.odd_values import TYPED
from fuzz.world import CSV, EXPORT, FAMILIES, FUSE, MEASURE, NPZ, OWN, PRETRAIN, REPORT, STUDY, TRANSFER, VIEWS
from solo_invariance.config.composed import compose_command, schema_of

BASES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "measure": (MEASURE, VIEWS),
    "transfer": (TRANSFER, CSV, NPZ),
    "fuse": (FUSE,),
    "export": (EXPORT,),
    "families": (FAMILIES,),
    "report": (REPORT,),
    "pretrain": (PRETRAIN, OWN),
    "doctor": (("doctor",),),
    "study": (STUDY,),
}
# Of plugins, which no schema lists.
_FURTHER = {
    "measure": ("backbone.kwargs.width", "backbone.kwargs.depth", "backbone.views.family.name"),
    "transfer": tuple(f"task.options.{key}" for key in ["targets", "columns", "image", "split", "kind", "points"]),
    "fuse": ("members.0", "options.width", "task.options.targets"),
    "families": ("operations.crop", "operations.crop.min_scale", "operations.nope"),
    "pretrain": (
        "backbone.kwargs.width",
        "augmentations.0.family",
        "augmentations.0.operations.crop",
        "method_kwargs.temperature",
    ),
}
_HYDRA = (
    "hydra",
    "hydra.run.dir",
    "hydra.output_subdir",
    "hydra.job.name",
    "hydra.mode",
    "hydra.sweep.dir",
    "hydra/launcher",
)
FLAGS = (
    *("--config-dir", "--config-dir=config", "--config-dir=missing", "--config-dir=photos", "--config-name=mine"),
    *(
        "--config-path=config",
        "--package=x",
        "--multirun",
        "-m",
        "--cfg",
        "--cfg=job",
        "--cfg=nope",
        "--info",
        "--info=all",
    ),
    *(
        "--resolve",
        "--hydra-help",
        "--version",
        "--help",
        "--nope",
        "-x",
        "--experimental-rerun=host/run.ckpt",
        "--run",
    ),
    *(
        "--experimental-rerun",
        "--shell-completion",
        "-sc",
        "+new=1",
        "++new=1",
        "~seed",
        "~",
        "~~x",
        "+",
        "++",
        "+=1",
        "=1",
    ),
    *(
        "",
        " ",
        "seed",
        "seed:1",
        "seed==1",
        "seed=1=2",
        "Seed=1",
        "sede=1",
        "seed.x=1",
        "seed[0]=1",
        ".seed=1",
        "seed.=1",
    ),
    *(
        "a.b.c=1",
        "+a/b=1",
        "out",
        "é=1",
        "[=1",
        "seed =1",
        " seed=1",
        "--seed=1",
        "-seed=1",
        "seed@x=1",
        "+seed@=1",
        "++seed",
    ),
    *(
        "+recipe=nope",
        "recipe=mocov2",
        "augmentations=nope",
        "augmentations=[]",
        "augmentations=invariance/nope",
        "seed=1\n",
    ),
)


def keys_of(command: str) -> list[str]:
    """Return every key of a command, sections and mappings of any keys included, in the order of the schema."""
    schema = dict.fromkeys(_of_schema(schema_of(command)))
    composed = dict.fromkeys(_of_mapping(compose_command(command)))
    return list(dict.fromkeys([*schema, *composed, *_FURTHER.get(command, ()), *_HYDRA]))


def key_cases() -> list[Case]:
    """Return a case for every key with every value, and for every flag."""
    found = []
    for command, bases in BASES.items():
        # Hydra itself writes to the latter, before anything of ours is called.
        keys = [key for key in keys_of(command) if key != "hydra.output_subdir"]
        for number, key in enumerate(keys):
            # A study that is let through takes half a minute.
            for index, value in enumerate(TYPED[:: 8 if command == "study" else 1]):
                if not _is_honest_work(key, value):
                    found.append(_case(bases[(number + index) % len(bases)], key, value))
        for flag in FLAGS:
            name = flag.strip("-+~ ").partition("=")[0]
            named = (name,) if name.isalpha() and name != "sc" else ()  # which is said in full
            found.append(Case("keys", f"{command} {flag!r}", (*bases[0], flag), named))
    return found


def _case(base: tuple[str, ...], key: str, value: str) -> Case:
    kept = [argument for argument in base if argument.partition("=")[0] != key]
    section, _, last = key.rpartition(".")
    named = (key, *filter(None, (section, last)), *(["checkpoint"] if key == "members" else []), *_also(value))
    return Case("keys", f"{base[0]} {key}={value[:60]!r}", (*kept, f"{key}={value}"), named)


def _also(value: str) -> tuple[str, ...]:
    """Return what names a value as well as its key does: itself, where it is short enough to be recognised."""
    whole = (value, os.path.normpath(value)) if len(value) <= 200 else (value[:100],)
    unescaped = re.sub(r"\\(.)", r"\1", value)
    inner = f" {value.strip('[]')}: "
    said = ("interpolation",) if "${" in value else ()  # of whichever key holds it in the end
    return (repr(value), f"{value}: ", f"{unescaped}: ", inner, *said, *(whole if len(value) >= 3 else ()))


def _is_honest_work(key: str, value: str) -> bool:
    """Whether a value asks for what takes longer than a case may, and rightly so."""
    huge = value.isdigit() and value.isascii() and int(value[:30]) > 10**6 and len(value) < 25
    return huge and not key.endswith("seed")


def _of_schema(schema: Any, prefix: str = "") -> Iterator[str]:
    for name, kind in get_type_hints(schema).items():
        if name not in {field.name for field in dataclasses.fields(schema)}:
            continue
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            yield from _of_schema(kind, f"{prefix}{name}.")


def _of_mapping(config: Any, prefix: str = "") -> Iterator[str]:
    for name in config:
        yield f"{prefix}{name}"
        value = config._get_node(name)
        if hasattr(value, "keys") and not value._is_none():
            yield from _of_mapping(value, f"{prefix}{name}.")
