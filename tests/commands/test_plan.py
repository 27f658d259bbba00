"""What commands say before their work."""

import json
from pathlib import Path

import pytest
import torch

from solo_invariance.backbones import Backbone
from solo_invariance.commands import terminal
from solo_invariance.commands.terminal import Estimate, progress_bars
from solo_invariance.features import FeatureCache
from solo_invariance.measure import MeasureSettings, PartialResultFiles, measure
from solo_invariance.measure.ahead import MeasurementAhead
from solo_invariance.measure.loop.partial_results import PartialResult
from solo_invariance.progress import Doing


def _photographs(count: int) -> torch.Tensor:
    return torch.randint(256, (count, 3, 40, 40), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def _ahead(backbone: Backbone, settings: MeasureSettings, **options) -> MeasurementAhead:
    told: list[MeasurementAhead] = []
    measure(backbone, _photographs(24), ["rotation", "hue", "h_flip"], settings, announce=told.append, **options)
    (ahead,) = told
    return ahead


@pytest.mark.parametrize("budget", ["full", "adaptive"])
@pytest.mark.parametrize("twin", [False, True])
def test_as_many_views_are_announced_as_are_made(tiny_backbone, monkeypatch, budget: str, twin: bool) -> None:
    seen: list[int] = []
    forward = Backbone.forward

    def counted(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(FeatureCache, "default", classmethod(lambda cls: None))
    # Enough precision at once: no more rows are taken than at first.
    settings = MeasureSettings(k=5, num_images=20, budget=budget, target_se=10)
    known = {"twin": twin, "device": "cpu"}
    ahead = _ahead(tiny_backbone, settings, **known)
    monkeypatch.setattr(Backbone, "forward", counted)
    measure(tiny_backbone, _photographs(24), ["rotation", "hue", "h_flip"], settings, **known)
    assert ahead.passes == sum(seen)
    assert ahead.twin == twin


def test_what_an_interrupted_run_has_left_is_what_is_announced(tiny_backbone, monkeypatch, tmp_path: Path) -> None:
    settings, kept, seen = MeasureSettings(k=130, num_images=24), [0], [0]
    add, forward = PartialResultFiles.add, Backbone.forward

    def interrupted(self: PartialResultFiles, part: PartialResult) -> None:
        if kept[0]:
            raise KeyboardInterrupt
        kept[0] += len(part.rows)
        add(self, part)

    def counted(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        seen[0] += len(images)
        return forward(self, images)

    monkeypatch.setattr(FeatureCache, "default", classmethod(lambda cls: None))
    monkeypatch.setattr(PartialResultFiles, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ahead(tiny_backbone, settings, out=tmp_path, device="cpu")
    monkeypatch.setattr(PartialResultFiles, "add", add)
    monkeypatch.setattr(Backbone, "forward", counted)
    ahead = _ahead(tiny_backbone, settings, out=tmp_path, device="cpu")
    assert 0 < kept[0] < 24
    assert ahead.goes_on
    assert ahead.passes == seen[0] == (24 - kept[0]) * (1 + 130 + 130 + 2)


def test_what_is_announced_of_a_measurement(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    checkpoint, out = host_checkpoint("ventral"), tmp_path / "out"
    arguments = ["measure", f"backbone.checkpoint={checkpoint}", f"data.path={photo_folder / 'val'}", "device=cpu"]
    arguments += [f"out={out}", "k=4", "transforms=[hue,h_flip]"]
    assert cli(*arguments, "num_images=5000")[0] == 0
    assert cli.plan["measure"] == f"ventral (resnet10, 64 features, 32 px) from {checkpoint}"
    assert cli.plan["images"].startswith("all 24 (5000 asked for: there are no more) in ")
    assert cli.plan["images"].endswith("whitened by all of them")
    assert cli.plan["how"].startswith("protocol clean, budget full, k 4; similarity, ")
    # 24 clean images as reference, 24 beside their views, and of each 4 hues and 2 flips.
    assert f"{24 + 24 + 24 * (4 + 2)} forward passes on cpu" in cli.plan["work"]
    assert cli.plan["out"] == str(out)
    (out / "invariance.json").unlink()
    (out / "parts" / "hue.json").unlink()
    assert cli(*arguments, "num_images=5000")[0] == 0
    assert cli.plan["out"] == f"{out} (goes on with an earlier run: 1 of 2 done)"
    assert f"{24 + 24 * 4} forward passes" in cli.plan["work"]
    assert cli(*arguments, "num_images=5000")[0] == 0
    assert cli.plan["work"] == "nothing is left to do"


def test_a_large_measurement_is_advised_to_be_adaptive(tiny_backbone) -> None:
    class Enough(Exception):
        pass

    def stop(ahead: MeasurementAhead) -> None:
        told.append(ahead)
        raise Enough

    told: list[MeasurementAhead] = []
    for k in (200, 2000):  # of which 200 are many more than the adaptive budget takes, and quick all the same
        with pytest.raises(Enough):
            measure(tiny_backbone, _photographs(60), ["hue"], MeasureSettings(k=k), device="cpu", announce=stop)
    small, large = (ahead.facts()["work"] for ahead in told)
    assert "budget=adaptive" not in small
    assert told[0].adaptive_passes < told[0].passes / 10
    assert f"(budget=adaptive begins with {told[1].adaptive_passes:,})" in large
    assert told[1].passes == 60 + 60 * 2000 + 60
    assert told[1].adaptive_passes < told[1].passes / 10


def test_nothing_is_announced_of_what_is_refused(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    arguments = ["measure", f"backbone.checkpoint={host_checkpoint()}", "device=cpu", f"out={tmp_path / 'out'}"]
    assert cli(*arguments, f"data.path={photo_folder / 'val'}", "k=4", "resize=8")[0] == 2
    assert cli.plan == {}


def test_what_is_announced_of_tasks_and_what_is_in_the_cache(cli, host_checkpoint, tmp_path: Path) -> None:
    arguments = ["transfer", f"backbone.checkpoint={host_checkpoint()}", "tasks=[shape,hue]", "device=cpu", "folds=3"]
    arguments += ["task.num_train=60", "task.num_test=30", "task.size=32", f"out={tmp_path / 'out'}"]
    assert cli(*arguments)[0] == 0
    # Of the second task, whose images are those of the first.
    assert cli.plan["task"] == "2 of 2: hue, regression, 2 numbers; 60 training and 30 test images"
    assert cli.plan["how"] == "r2 by ridge, 45 penalties in 3 folds"
    assert cli.plan["work"] == "all 90 features are in the cache"
    assert cli.plan["out"] == str(tmp_path / "out" / "hue")
    assert cli(*arguments, "tasks=[shape]", "task.seed=3", f"out={tmp_path / 'other'}")[0] == 0
    assert cli.plan["work"].startswith("90 forward passes on cpu, about ")


def test_what_is_announced_of_a_fusion(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    members = f"members=[{host_checkpoint('default')},{host_checkpoint('ventral', 1)}]"
    out = tmp_path / "fused.ckpt"
    assert cli("fuse", members, f"out={out}", "device=cpu")[0] == 0
    assert set(cli.plan) == {"fuse", "out"}
    assert cli.plan["fuse"].startswith("2 members by concat: default (resnet10, 64 features, 32 px) from ")
    fitted = ["fuse", members, "mode=standardized", f"reference.path={photo_folder}", "reference.num_images=30"]
    for folder, work in (("a", "60 forward passes on cpu"), ("b", "all 60 features are in the cache")):
        assert cli(*fitted, f"out={tmp_path / folder / 'fused.ckpt'}", "device=cpu")[0] == 0
        assert cli.plan["work"] == work
        assert cli.plan["images"] == f"30 reference images in {photo_folder}"
    assert cli(*fitted, f"out={tmp_path / 'c' / 'fused.ckpt'}", "cache=false", "device=cpu")[0] == 0
    assert cli.plan["work"] == "60 forward passes on cpu"


def test_pretraining_says_what_is_ahead_and_what_came_of_it(cli, tmp_path: Path) -> None:
    pytest.importorskip("lightly")
    arguments = ["pretrain", "augmentations=invariance/ventral", "max_epochs=2", "data.num_images=64", "data.size=32"]
    arguments += ["optimizer.batch_size=32", "accelerator=cpu", f"checkpoint.dir={tmp_path}", "invariance.crop_size=32"]
    code, printed, err = cli(*arguments)
    assert code == 0, err
    directory = tmp_path / "mocov2plus" / "0"
    assert cli.plan["pretrain"] == "resnet10w025 (128 features) by mocov2plus"
    assert cli.plan["images"].startswith("64 of latent_scenes; 2 x ventral@32 crops of ")
    assert cli.plan["work"] == "2 epochs of 2 steps of 32 images on cpu"
    assert cli.plan["out"] == str(directory)
    log = (directory / "metrics.csv").read_text().splitlines()
    column = log[0].split(",").index("train_loss")
    losses = [float(line.split(",")[column]) for line in log[1:]]
    assert f"loss {sum(losses[-2:]) / 2:.3f} in the last" in printed  # the mean of the last epoch's two steps
    assert str(directory / "mocov2plus-latent_scenes-0-ep=1.ckpt") in printed
    _, printed, _ = cli(*arguments)
    assert "2 x ventral@32: all 2 epochs were done before" in printed
    assert cli.plan == {}


# Estimates


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes where a test says so."""
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def test_an_estimate_is_made_once_of_steady_work(clock: list[float]) -> None:
    estimate = Estimate()
    said = []
    for step in range(1, 41):  # ten views a second, of which there are 2000
        said.append(estimate.after("views", 10 * step, 2000))
        clock[0] += 1
    assert [line for line in said if line] == ["about 3 min for 1,960 more: views, 10 a second"]
    assert said.index("about 3 min for 1,960 more: views, 10 a second") == 3  # after three seconds


def test_work_that_begins_again_is_not_mixed_with_the_work_before(clock: list[float]) -> None:
    estimate = Estimate()
    assert estimate.after("digests", 64, 640) is None
    clock[0] += 1
    assert estimate.after("digests", 640, 640) is None
    clock[0] += 600  # something else
    assert estimate.after("digests", 64, 640) is None
    clock[0] += 4
    assert estimate.after("digests", 104, 640) == "about 54 s for 536 more: digests, 10 a second"


def test_what_takes_no_time_needs_no_estimate(clock: list[float]) -> None:
    estimate = Estimate()
    for done in (1, 50, 99):
        assert estimate.after("views", done, 100) is None
        clock[0] += 4


def test_a_bar_has_one_line_with_its_details_in_eighty_columns(monkeypatch, clock, capsys) -> None:
    log = terminal._Console(markup=False, emoji=False, stderr=True, force_terminal=True, width=80)
    monkeypatch.setattr(terminal, "log", log)
    with progress_bars() as report:
        for step in range(1, 4):
            detail = f"epoch 1, loss {4 / step:.2f}, 1234 img/s"
            report(Doing("pretrain mocov2plus-latent_scenes", detail), step, 10)
        log.print("end")
    shown = capsys.readouterr().err
    assert "pretrain mo...ent_scenes" in shown
    assert "3/10" in shown
    assert "epoch 1, loss 1.33, 1234 img/s" in shown


def test_the_library_announces_nothing_by_itself(tiny_backbone, capfd) -> None:
    measure(tiny_backbone, _photographs(20), ["hue"], MeasureSettings(k=3), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_json_on_the_way_is_not_disturbed_by_the_plan(cli, host_checkpoint, photo_folder, tmp_path: Path) -> None:
    arguments = ["measure", "--json", f"backbone.checkpoint={host_checkpoint()}", f"data.path={photo_folder / 'val'}"]
    code, printed, _ = cli(*arguments, "k=4", "transforms=[hue]", f"out={tmp_path / 'out'}", "device=cpu")
    assert code == 0
    assert json.loads(printed)["out"] == str(tmp_path / "out")
    assert "measure" in cli.plan
