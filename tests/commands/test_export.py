"""``solo-invariance export``."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from solo_invariance import load_backbone

_TINY = ("backbone.name=random:resnet10", "backbone.kwargs={width: 0.125}", "backbone.crop_size=32")
_TASK = ("task.name=hue", "task.num_train=24", "task.num_test=12", "device=cpu")


def test_a_checkpoint_is_exported_and_read_wherever_a_checkpoint_is(
    cli, host_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint, folder = host_checkpoint("ventral", 1), tmp_path / "exported"
    code, printed, err = cli("export", f"backbone.checkpoint={checkpoint}", f"out={folder}")
    assert (code, err) == (0, "")
    assert f"exported: {folder}, images (N, 3, H, W) in [0, 1] to features (N, 64)" in printed
    assert f"read by: backbone.checkpoint={folder}" in printed
    assert "license: unknown" in printed
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_backbone(folder)(images), load_backbone(checkpoint)(images))
    code, printed, _ = cli("transfer", f"backbone.checkpoint={folder}", *_TASK, f"out={tmp_path / 'scored'}")
    assert (code, "ventral: transfer" in printed) == (0, True)
    record = json.loads((tmp_path / "scored" / "transfer.json").read_text())["backbone"]
    written = json.loads((folder / "config.json").read_text())["solo_invariance"]
    assert (record["checkpoint"], record["sha256"]) == (str(folder), written["sha256"])
    # The results of what was exported are those of the folder.
    more = (f"measured=[{tmp_path / 'scored'}]", "license=mit", f"out={folder}")
    code, printed, err = cli("export", f"backbone.checkpoint={folder}", *more)
    assert (code, err, "license" in printed) == (0, "", False)
    assert "## How well it does on tasks" in (folder / "README.md").read_text()
    members = f"members=[{folder},{checkpoint}]"
    assert cli("fuse", members, f"out={tmp_path / 'fused.ckpt'}", f"export={tmp_path / 'fused'}")[0] == 0
    assert load_backbone(tmp_path / "fused").num_features == 128


def test_scripts_get_a_document_or_a_place(cli, tmp_path: Path) -> None:
    code, printed, err = cli("export", *_TINY, f"out={tmp_path / 'network.ts'}", "--json")
    assert (code, err) == (0, "")
    assert json.loads(printed) == {
        "out": str(tmp_path / "network.ts"),
        "format": "ts",
        "label": "random:resnet10",
        "num_features": 64,
    }
    assert cli("export", *_TINY, f"out={tmp_path / 'folder'}", "--quiet")[1] == f"{tmp_path / 'folder'}\n"
    code, printed, err = cli("export", *_TINY, "backbone.label=other", "seed=1", f"out={tmp_path / 'folder'}", "--json")
    assert code == 2
    assert "holds another backbone (random:resnet10, 64 features" in json.loads(printed)["error"]


def test_a_sweep_has_a_place_for_each(cli, tmp_path: Path) -> None:
    code, printed, _ = cli("export", "-m", *_TINY, "seed=0,1", f"out={tmp_path / 'swept'}")
    assert code == 0
    assert all(f"seed={seed}" in printed for seed in (0, 1))
    images = torch.rand(2, 3, 32, 32)
    first, second = (load_backbone(tmp_path / "swept" / f"seed={seed}")(images) for seed in (0, 1))
    assert not torch.equal(first, second)
    assert cli("export", "-m", *_TINY, "seed=0,1", f"out={tmp_path / 'network.ts'}")[0] == 0
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.ts")) == [
        Path("network/seed=0/network.ts"),
        Path("network/seed=1/network.ts"),
    ]


def test_averages_over_views_go_to_folders_alone(cli, tmp_path: Path) -> None:
    views = ("backbone.views.family=ventral", "backbone.views.num_views=2")
    code, _, err = cli("export", *_TINY, *views, f"out={tmp_path / 'network.pt2'}")
    assert (code, "export to a folder" in err) == (2, True)
    assert cli("export", *_TINY, *views, f"out={tmp_path / 'folder'}")[0] == 0
    described = load_backbone(tmp_path / "folder").describe()["views"]
    assert (described["family"], described["num_views"]) == ("ventral", 2)
