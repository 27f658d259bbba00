"""Every kind of file that the commands read, damaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from fuzz import structure_damage as structure
from fuzz.bytes_damage import DAMAGES, RANDOM, Damage
from fuzz.case import Case
from fuzz.world import CSV, FUSE, MEASURE, NPZ, PRETRAIN, REPORT, TRANSFER, VIEWS


@dataclass(frozen=True)
class Specimen:
    """A good file, the commands that read it, and what else may be wrong with it than its bytes.

    Args:
        path: In the world.
        commands: Which read it.
        damages: To what it says.
        often: How many times each damage that is random is tried, in one round.
        named: What a refusal may say in place of the file's name.
    """

    path: str
    commands: tuple[tuple[str, ...], ...]
    damages: Mapping[str, Damage]
    often: int = 6
    named: tuple[str, ...] = ()


_BARE = (
    "measure",
    "backbone.checkpoint=host/bare.pth",
    "backbone.name=resnet10",
    "backbone.kwargs.width=0.0625",
    "backbone.crop_size=32",
)
_CAUSAL = (*TRANSFER[:2], "task.name=causal3dident_position_x", "task.path=causal", *TRANSFER[4:])
_FACES = (*TRANSFER[:2], "task.name=300w", "task.path=faces", *TRANSFER[4:])
_POSES = (*TRANSFER[:2], "task.name=lsp", "task.path=poses", *TRANSFER[4:])
_EXPORTED = ("measure", "backbone.checkpoint=fused.ts", *MEASURE[2:])
_FUSED = ("measure", "backbone.checkpoint=fused.ckpt", *MEASURE[2:])
_MINE = (*MEASURE, "+group=own", "--config-dir=config")
_CONFIG = (*MEASURE, "--config-dir=config", "--config-name=mine")

SPECIMENS = (
    Specimen("host/run.ckpt", (MEASURE, TRANSFER, FUSE), structure.TORCH, 12),
    Specimen("host/bare.pth", ((*_BARE, *MEASURE[2:]),), structure.TORCH, 12),
    Specimen("host/args.json", (MEASURE, TRANSFER, FUSE), structure.JSON, 12, ("run.ckpt", "backbone", "family")),
    Specimen("fused.ckpt", (_FUSED,), structure.TORCH, 12),
    Specimen("measured/invariance.json", (REPORT, ("fuse", "measured=[measured,begun,measured]")), structure.JSON, 20),
    Specimen(
        "scored/transfer.json", (REPORT, (*TRANSFER[:-1], "out=two", "against=scored")), structure.JSON, 20, ("scored",)
    ),
    Specimen("scored/transfer.npz", ((*TRANSFER[:-1], "out=two", "against=scored"),), structure.NPZ, 8, ("scored",)),
    Specimen("scored/run.json", ((*TRANSFER[:-1], "out=scored"),), structure.JSON, 4, ("scored",)),
    Specimen("measured/invariance.json", ((*MEASURE, "against=measured"),), structure.JSON, 8, ("measured",)),
    Specimen("measured/rotation.npz", ((*MEASURE, "against=measured"),), structure.NPZ, 8, ("measured",)),
    Specimen(
        "measured/run.json",
        ((*MEASURE, "against=measured"), (*MEASURE[:-1], "out=measured")),
        structure.JSON,
        4,
        ("measured",),
    ),
    Specimen("begun/parts/rotation.json", ((*MEASURE[:-1], "out=begun"),), structure.JSON, 8),
    Specimen("begun/parts/moments.npz", ((*MEASURE[:-1], "out=begun"),), structure.NPZ, 8),
    Specimen("stopped/parts/rows-all.npz", ((*MEASURE[:-1], "out=stopped"),), structure.NPZ, 8),
    Specimen("begun/rotation.npz", ((*MEASURE[:-1], "out=begun"),), structure.NPZ, 4),
    Specimen("begun/run.json", ((*MEASURE[:-1], "out=begun"),), structure.JSON, 4, ("begun",)),
    Specimen("table.csv", (CSV,), structure.CSV, 16),
    Specimen("table.npz", (NPZ,), structure.NPZ, 16),
    Specimen("causal/trainset/latents_0.npy", (_CAUSAL,), structure.NPY, 8),
    Specimen("faces/01_Indoor/1.pts", (_FACES,), {}, 8),
    Specimen("poses/joints.mat", (_POSES,), {}, 6),
    Specimen("fused.ts", (_EXPORTED,), {}, 2),
    Specimen("views/g1/1.png", (VIEWS,), {}, 4),
    Specimen("config/group/own.yaml", (_MINE,), structure.YAML, 16, ("group", "os.system")),
    Specimen("config/mine.yaml", (_CONFIG,), structure.YAML, 16, ("mine", "os.system", "--config-name", "unknown key")),
    Specimen(
        "trained/mocov2plus/0/mocov2plus-latent_scenes-0-ep=0.ckpt",
        ((*PRETRAIN[:-1], "checkpoint.dir=trained"),),
        structure.TORCH,
        4,
    ),
    Specimen("trained/mocov2plus/0/args.json", ((*PRETRAIN[:-1], "checkpoint.dir=trained"),), structure.JSON, 4),
)


def file_cases() -> list[Case]:
    """Return a case for every file with every damage."""
    found = []
    for specimen in SPECIMENS:
        for command in specimen.commands:
            for name, damage in {**DAMAGES, **specimen.damages}.items():
                often = specimen.often if name in RANDOM or name in specimen.damages else 1
                found += [_case(specimen, command, name, damage)] * often
    found += [_cache_case(name) for name in DAMAGES if name != "another"]
    return found


def _case(specimen: Specimen, command: tuple[str, ...], name: str, damage: Damage) -> Case:
    path = Path(specimen.path)
    title = f"{specimen.path} for {command[0]}: {name}"
    named = (path.name, path.parent.name, str(path), *specimen.named)
    named += ("backbone", "features") if name == "all weights" else ()
    return Case(
        "files",
        title,
        command,
        named,
        partial(_to, damage, specimen.path),
        name == "all weights" and command[0] not in ("fuse", "pretrain"),  # which look at no features
    )


def _to(damage: Damage, path: str, work: Path, random: Random) -> None:
    damage(work / path, random)


def _cache_case(name: str) -> Case:
    return Case(
        "files",
        f"entries of the cache: {name}",
        TRANSFER,
        ("cache", "SOLO_INVARIANCE_CACHE"),
        partial(_entries, DAMAGES[name]),
    )


def _entries(damage: Damage, work: Path, random: Random) -> None:
    for path in sorted((work.parents[2] / "cache").rglob("*.npy")):
        damage(path, random)
