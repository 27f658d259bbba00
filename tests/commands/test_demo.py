import json
from pathlib import Path

import pytest
from torch import Tensor

from solo_invariance.data.latent_scenes import dataset


@pytest.fixture
def rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the images of latents that were rendered before, which takes most of the time, again."""
    render, known = dataset.render, {}

    def look_up(classes: Tensor, latents: Tensor, *size: int) -> Tensor:
        key = (classes.numpy().tobytes(), latents.numpy().tobytes(), *size)
        if key not in known:
            known[key] = render(classes, latents, *size)
        return known[key].clone()

    monkeypatch.setattr(dataset, "render", look_up)


@pytest.mark.usefixtures("rendered_once")
def test_the_whole_story_small(cli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    arguments = [
        "demo",
        f"out={out}",
        "families=[ventral,dorsal]",
        "max_epochs=1",
        "num_images=128",
        "k=4",
        "measure_images=8",
        "train_images=60",
        "test_images=30",
        "device=cpu",
    ]
    code, printed, err = cli(*arguments)
    assert code == 0, err
    page = out / "report.html"
    assert str(page.resolve()) in printed.replace("\n", "")
    content = page.read_text()
    for word in ("ventral", "dorsal", "ventral+dorsal", "rotation", "position"):
        assert word in content
        assert word in printed
    results = sorted(
        str(path.relative_to(out)) for path in out.rglob("*.json") if path.name in ("invariance.json", "transfer.json")
    )
    assert len(results) == 3 + 3 * 4
    fused = json.loads((out / "measure" / "ventral+dorsal" / "invariance.json").read_text())
    assert (
        fused["backbone"]["num_features"]
        == 2 * json.loads((out / "measure" / "ventral" / "invariance.json").read_text())["backbone"]["num_features"]
    )
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt")}
    assert cli(*arguments)[0] == 0
    assert {
        path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt") if "pretrain" in str(path)
    }.items() <= written.items()


def test_the_place_of_another_fusion_is_refused_before_training(cli, host_checkpoint, tmp_path: Path) -> None:
    members = f"members=[{host_checkpoint('default')},{host_checkpoint('ventral', 1)}]"
    assert cli("fuse", members, f"out={tmp_path / 'fused.ckpt'}")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, _, err = cli("demo", f"out={tmp_path}", "families=[ventral,dorsal]", "device=cpu")
    assert code == 2
    assert f"{tmp_path / 'fused.ckpt'} is another fusion, concat of default+ventral; choose another out" in err
    assert sorted(tmp_path.rglob("*")) == before
