"""The small world that cases damage: photographs, checkpoints, tables and results, all of them good."""

import contextlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.cli import main
from solo_invariance.measure.loop.partial_results import PartialResultFiles

NETWORK = {"width": 0.0625}
NET = ("backbone.checkpoint=host/run.ckpt",)
QUICK = ("num_workers=0", "device=cpu")
MEASURE = ("measure", *NET, "data.path=photos", "k=2", "num_images=6", "transforms=[rotation,hue]", *QUICK, "out=out")
VIEWS = ("measure", *NET, "data.path=views", "data.name=view_folders", "k=2", *QUICK, "out=out")
TRANSFER = ("transfer", *NET, "task.name=folder", "task.path=photos", "folds=2", *QUICK, "out=out")
TABLE = ("transfer", *NET, "task.name=table", "task.path=photos", "folds=2", *QUICK, "out=out")
CSV = (*TABLE, "task.options.targets=table.csv")
NPZ = (*TABLE, "task.options.targets=table.npz")
FUSE = ("fuse", "members=[host/run.ckpt,other/run.ckpt]", "out=out/fused.ckpt")
EXPORT = ("export", *NET, "out=out/exported")
FAMILIES = (
    "families",
    "show=[ventral]",
    "data.path=photos",
    "num_images=2",
    "draws=1",
    "crop_size=32",
    "out=out/sheet.png",
)
REPORT = ("report", "runs=[measured,scored]", "out=out/report.html")
PRETRAIN = (
    *("pretrain", "data.num_images=8", "data.size=32", "max_epochs=1", "optimizer.batch_size=4", "accelerator=cpu"),
    *("backbone.kwargs.width=0.0625", "method_kwargs.queue_size=8", "invariance.crop_size=32", "checkpoint.dir=out"),
)
OWN = (*PRETRAIN, "data.dataset=custom", "data.train_path=photos/train")
STUDY = (
    *("study", "study.pretrain={max_epochs: 1, data: {num_images: 128}}", "study.measure={k: 2, num_images: 4}"),
    *("study.task={num_train: 200, num_test: 20}", "study.fuse_reference.num_images=200", "device=cpu", "out=out"),
)
COMMANDS = (MEASURE, TRANSFER, FUSE, EXPORT, FAMILIES, REPORT, PRETRAIN)


def build(work: Path) -> None:
    """Make the world in an empty folder, which is the current one, and whose cache and home lie beside it."""
    _photographs(work / "photos")
    _tables(work)
    _views(work / "views")
    _causal(work / "causal")
    _faces(work / "faces")
    _poses(work / "poses")
    for seed, name in enumerate(("host", "other")):
        _checkpoint(work / name, seed)
    _config(work / "config")
    _make([*MEASURE[:-1], "out=measured"])
    _make([*TRANSFER[:-1], "out=scored"])
    _make([*FUSE[:-1], "out=fused.ckpt", "export=fused.ts"])
    _make([*PRETRAIN[:-1], "checkpoint.dir=trained"])
    # What is left when a measurement is interrupted at the very end.
    shutil.copytree(work / "measured", work / "begun")
    (work / "begun" / "invariance.json").unlink()
    # And before: all rows are there, and nothing is made of them yet.
    with patch.object(PartialResultFiles, "drop"):
        _make([*MEASURE[:-1], "out=stopped"])
    for path in (work / "stopped" / "invariance.json", *(work / "stopped" / "parts").glob("*.json")):
        path.unlink()
    (rows,) = (work / "stopped" / "parts").glob("rows-*.npz")
    rows.rename(rows.with_name("rows-all.npz"))
    shutil.rmtree(work / "lightning_logs", ignore_errors=True)


def picture(seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """Return a smooth coloured picture."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    waves = [np.sin(7 * (x * a + y * b) + c) for a, b, c in random.uniform(-1, 1, (3, 3)) * (1, 1, 6)]
    return Image.fromarray(((np.stack(waves, -1) + 1) * 127).astype(np.uint8))


def _photographs(root: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for number, name in enumerate(("circle", "square")):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                suffix = "png" if index % 2 else "jpg"
                picture(100 * number + 10 * (part == "test") + index).save(root / part / name / f"{index}.{suffix}")


def _tables(work: Path) -> None:
    rows = ["image,shape,split"]
    for path in sorted((work / "photos").rglob("*.*")):
        part, name, file = path.relative_to(work / "photos").parts
        rows.append(f"{part}/{name}/{file},{name},{part}")
    (work / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    pictures = np.stack([np.asarray(picture(seed, (32, 32))) for seed in range(16)])
    np.savez(work / "table.npz", images=pictures, targets=np.arange(16) / 7)


def _views(root: Path) -> None:
    for group in range(4):
        for view in range(3):
            (root / f"g{group}").mkdir(parents=True, exist_ok=True)
            picture(10 * group + view).save(root / f"g{group}" / f"{view}.png")


def _causal(root: Path) -> None:
    for part in ("trainset", "testset"):
        for number in range(2):
            (root / part / str(number)).mkdir(parents=True)
            for index in range(4):
                picture(index).save(root / part / str(number) / f"{index:02}.png")
            np.save(root / part / f"latents_{number}.npy", np.random.default_rng(number).normal(size=(4, 10)))


def _faces(root: Path) -> None:
    for folder in ("01_Indoor", "02_Outdoor"):
        (root / folder).mkdir(parents=True)
        for index in range(4):
            picture(index, (64, 64)).save(root / folder / f"{index}.png")
            points = np.random.default_rng(index).uniform(10, 50, (68, 2))
            lines = "\n".join(f"{x:.2f} {y:.2f}" for x, y in points)
            text = f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n"
            (root / folder / f"{index}.pts").write_text(text, encoding="ascii")


def _poses(root: Path) -> None:
    from scipy.io import savemat

    (root / "images").mkdir(parents=True)
    for index in range(8):
        picture(index, (64, 48)).save(root / "images" / f"{index}.jpg")
    savemat(root / "joints.mat", {"joints": np.random.default_rng(0).uniform(1, 48, (3, 14, 8))}, do_compression=True)


def _checkpoint(folder: Path, seed: int) -> None:
    folder.mkdir()
    torch.manual_seed(seed)
    state = Architecture("resnet10", NETWORK).build().state_dict()
    named = {f"backbone.{name}": value for name, value in state.items()}
    torch.save({"state_dict": named, "epoch": 1}, folder / "run.ckpt")
    torch.save(state, folder / "bare.pth")
    args = {
        "name": f"run-{seed}",
        "method": "mocov2plus",
        "backbone": {"name": "resnet10", "kwargs": NETWORK},
        "data": {"dataset": "latent_scenes"},
        "augmentations": [{"family": "ventral", "crop_size": 32, "num_crops": 2}],
    }
    (folder / "args.json").write_text(json.dumps(args, indent=1), encoding="utf-8")


def _config(folder: Path) -> None:
    text = "k: 2\ndata:\n  path: photos\nseed: 3\n"
    (folder / "group").mkdir(parents=True)
    (folder / "group" / "own.yaml").write_text(f"# @package _global_\n{text}", encoding="utf-8")
    (folder / "mine.yaml").write_text(f"defaults: [measure, _self_]\n{text}", encoding="utf-8")


def _make(arguments: Sequence[str]) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(arguments)
    if code:
        raise RuntimeError(f"the good world cannot be made, {' '.join(arguments)}: {printed.getvalue()}")
