"""The library's verb: what the command gives, from Python."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from solo_invariance.backbones import Backbone, BackboneConfig, load_backbone
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.errors import UserError
from solo_invariance.results.transfer import TransferResult
from solo_invariance.transfer.own_images import OwnTask
from solo_invariance.transfer.run import transfer
from solo_invariance.transfer.settings import TransferSettings

SIZES: dict[str, Any] = {"num_train": 80, "num_test": 40, "size": 32}
_TASK = ["task.num_train=80", "task.num_test=40", "task.size=32", "device=cpu"]
_NUMBERS = ("score", "ci95", "penalty", "details", "metric", "probe", "num_train", "num_test", "overlap", "test_images")


def _numbers(result: TransferResult) -> dict[str, Any]:
    content = result.as_content()
    return {key: content[key] for key in _NUMBERS}


def _command(cli, checkpoint: Path, out: Path, *more: str) -> None:
    code, _, err = cli("transfer", f"backbone.checkpoint={checkpoint}", *_TASK, f"out={out}", *more)
    assert code == 0, err


def _read(out: Path) -> TransferResult:
    return TransferResult.read(out / "transfer.json")


@pytest.fixture(scope="module")
def own() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Squares whose brightness is to be read off them."""
    generator = torch.Generator().manual_seed(0)
    brightness = torch.rand(60, generator=generator)
    images = (255 * brightness[:, None, None, None] * torch.rand(60, 3, 16, 16, generator=generator)).to(torch.uint8)
    return images[:40], brightness[:40], images[40:], brightness[40:]


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())


@pytest.fixture
def fused(cli, host_checkpoint, tmp_path: Path) -> Callable[[str], Path]:
    def fuse(mode: str) -> Path:
        path = tmp_path / f"{mode}.ckpt"
        members = f"members=[{host_checkpoint('ventral')},{host_checkpoint('dorsal', 1)}]"
        reference = ("reference.name=latent_scenes", "reference.num_images=50")
        assert cli("fuse", members, f"mode={mode}", *reference, f"out={path}")[0] == 0
        return path

    return fuse


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize("mode", ["plain", "standardized", "weighted"])
def test_python_gives_the_numbers_of_the_command(cli, host_checkpoint, fused, tmp_path, mode, protocol) -> None:
    checkpoint = host_checkpoint() if mode == "plain" else fused(mode)
    # The official solver cannot go on where a fold lacks a class, as those of so few images do.
    _command(cli, checkpoint, tmp_path / "cli", "tasks=[shape,hue]", f"protocol={protocol}", "probe.solver=converged")
    tasks = [TaskConfig(name=name, **SIZES) for name in ("shape", "hue")]
    results = transfer(checkpoint, tasks, TransferSettings(protocol=protocol, solver="converged"), device="cpu")
    assert list(results) == ["shape", "hue"]
    for name, result in results.items():
        assert _numbers(result) == _numbers(_read(tmp_path / "cli" / name))
    assert ("member_weights" in results["hue"].details) == (mode == "weighted")


def test_a_fused_backbone_in_memory_is_probed_as_its_checkpoint_is(cli, fused, tmp_path: Path) -> None:
    checkpoint = fused("standardized")
    _command(cli, checkpoint, tmp_path / "cli", "task.name=position")
    result = transfer(load_backbone(checkpoint), TaskConfig("position", **SIZES), device="cpu", cache=False).only
    assert _numbers(result) == _numbers(_read(tmp_path / "cli"))


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (TransferSettings(probe="knn", knn=KNNConfig(k=5)), ["probe=knn", "knn.k=5"]),
        (TransferSettings(protocol="paper"), ["protocol=paper", "probe=logistic", "task.num_train=150"]),
        (
            TransferSettings(probe="few_shot", few_shot=FewShotConfig(2, 1, 1, 50)),
            ["probe=few_shot", "few_shot={ways: 2, shots: 1, queries: 1, episodes: 50}"],
        ),
    ],
)
def test_other_probes_give_the_numbers_of_the_command(cli, host_checkpoint, tmp_path, settings, arguments) -> None:
    _command(cli, host_checkpoint(), tmp_path / "cli", *arguments)
    task = TaskConfig(**{**SIZES, **({"num_train": 150} if settings.protocol == "paper" else {})})
    result = transfer(host_checkpoint(), task, settings, device="cpu").only
    assert _numbers(result) == _numbers(_read(tmp_path / "cli"))
    if settings.protocol == "paper":
        assert result.details["solver"] == "official"


def test_python_goes_on_where_the_command_stopped_and_the_other_way_round(cli, host_checkpoint, tmp_path) -> None:
    checkpoint, task = host_checkpoint(), TaskConfig("hue", **SIZES)
    _command(cli, checkpoint, tmp_path / "cli", "task.name=hue")
    before = (tmp_path / "cli" / "transfer.json").read_bytes()
    result = transfer(checkpoint, task, out=tmp_path / "cli", device="cpu").only
    assert result.as_content() == json.loads(before)
    assert (tmp_path / "cli" / "transfer.json").read_bytes() == before
    transfer(checkpoint, task, out=tmp_path / "python", device="cpu")
    before = (tmp_path / "python" / "transfer.json").read_bytes()
    _command(cli, checkpoint, tmp_path / "python", "task.name=hue")
    assert (tmp_path / "python" / "transfer.json").read_bytes() == before
    ours, theirs = (_read(tmp_path / name).config for name in ("python", "cli"))
    assert {**ours, "out": None} == {**theirs, "out": None}
    with pytest.raises(UserError, match="seed: 0 there, 1 now"):
        transfer(checkpoint, task, TransferSettings(seed=1), out=tmp_path / "cli", device="cpu")


def test_a_module_and_tensors_of_ones_own(net, own) -> None:
    result = transfer(Backbone.of(net, crop_size=16), own, device="cpu", cache=False).only
    assert (result.metric, result.probe, result.task) == ("r2", "ridge", "own")
    assert result.score.low > 0.8
    train_images, train_targets, test_images, test_targets = own
    floats = (train_images.float() / 255, train_targets.numpy(), test_images.float() / 255, test_targets.tolist())
    again = transfer(Backbone.of(net, crop_size=16), floats, device="cpu", cache=False).only
    assert _numbers(again) == _numbers(result)


def test_the_module_that_was_given_stays_as_it_is(own) -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.Dropout())
    transfer(module, own, device="cpu", cache=False)
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_weights_that_changed_are_another_run(own, tmp_path: Path) -> None:
    backbone = Backbone.of(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)), crop_size=16)
    first = transfer(backbone, own, out=tmp_path / "out", device="cpu").only
    assert transfer(backbone, own, out=tmp_path / "out", device="cpu").only == first
    with torch.no_grad():
        backbone.network[2].weight.add_(1)
    with pytest.raises(UserError, match="holds results of another run"):
        transfer(backbone, own, out=tmp_path / "out", device="cpu")


def test_classes_and_labels_of_ones_own_and_a_known_task_in_one_call(net, own) -> None:
    train, brightness, test, unseen = own
    bright, dark = OwnTask.of(train, brightness > 0.5, test, unseen > 0.5, "bright"), (brightness < 0.3, unseen < 0.3)
    labels = [torch.stack(pair, 1) for pair in ((brightness > 0.5, dark[0]), (unseen > 0.5, dark[1]))]
    both = OwnTask.of(train, labels[0], test, labels[1], "both")
    results = transfer(
        Backbone.of(net, crop_size=16), [bright, both, TaskConfig("hue", **SIZES)], device="cpu", cache=False
    )
    assert {name: result.metric for name, result in results.items()} == {
        "bright": "accuracy",
        "both": "mean_average_precision",
        "hue": "r2",
    }
    with pytest.raises(ValueError, match="expected the result of one task, there are 3: bright, both, hue"):
        results.only  # noqa: B018


def test_a_test_image_among_the_training_images_is_refused(net, own) -> None:
    train, targets, test, unseen = own
    leaking = torch.cat([train[:2], test[2:]])
    with pytest.raises(UserError, match="2 of 20 test images are among those that the probe is trained on"):
        transfer(Backbone.of(net, crop_size=16), (train, targets, leaking, unseen), device="cpu")


def test_an_image_that_the_fusion_was_fitted_to_cannot_be_its_test(
    cli, host_checkpoint, photo_folder, tmp_path
) -> None:
    path = tmp_path / "fused.ckpt"
    members = f"members=[{host_checkpoint('ventral')},{host_checkpoint('dorsal', 1)}]"
    fitted_to = f"reference.path={photo_folder / 'val'}"
    assert cli("fuse", members, "mode=standardized", fitted_to, f"out={path}")[0] == 0
    for source in (path, load_backbone(path)):
        with pytest.raises(UserError, match="24 of 24 test images are among those that the fusion was fitted to"):
            transfer(source, TaskConfig("folder", path=photo_folder), TransferSettings(folds=2), device="cpu")


def test_paired_differences_are_those_of_the_command(cli, host_checkpoint, tmp_path: Path) -> None:
    first, second, task = host_checkpoint("ventral"), host_checkpoint("dorsal", 1), TaskConfig("hue", **SIZES)
    transfer(first, [task], out=tmp_path / "a", device="cpu")
    results = transfer(second, [task], out=tmp_path / "b", against=tmp_path / "a", device="cpu")
    _command(cli, second, tmp_path / "c", "tasks=[hue]", f"against={tmp_path / 'a'}")
    compared = json.loads((tmp_path / "c" / "hue" / "comparison.json").read_text())
    assert results.comparisons["hue"].as_content() == compared
    assert (tmp_path / "b" / "hue" / "comparison.json").is_file()
    with pytest.raises(UserError, match="so out is needed"):
        transfer(second, [task], against=tmp_path / "a", device="cpu")
    with pytest.raises(UserError, match="no result of transfer there"):
        transfer(second, task, out=tmp_path / "d", against=tmp_path / "a", device="cpu")


def test_nothing_is_written_unless_it_is_asked_for(net, own, tmp_path: Path, monkeypatch, feature_cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    train, targets, test, unseen = own
    tasks = [OwnTask.of(train, targets, test, unseen, "a"), OwnTask.of(train, -targets, test, -unseen, "b")]
    transfer(Backbone.of(net, crop_size=16), tasks, device="cpu", cache=False)
    assert not list(tmp_path.iterdir())
    assert not list(feature_cache.iterdir())


def test_predictions_are_beside_the_result(net, own, tmp_path: Path) -> None:
    result = transfer(Backbone.of(net, crop_size=16), own, out=tmp_path, device="cpu").only
    arrays = np.load(tmp_path / "transfer.npz")
    assert np.allclose(arrays["targets"][:, 0], own[3])
    residual = ((arrays["predictions"] - arrays["targets"]) ** 2).sum()
    power = ((arrays["targets"] - arrays["targets"].mean()) ** 2).sum()
    assert result.score.mean == pytest.approx(1 - residual / power)


def test_processes_share_the_features_and_the_first_has_the_results(in_threads, net, own) -> None:
    backbone, alone = Backbone.of(net, crop_size=16), transfer(Backbone.of(net, crop_size=16), own, device="cpu").only
    first, second = in_threads(2, lambda processes: transfer(backbone, own, device="cpu", processes=processes))
    assert _numbers(first.only) == _numbers(alone)
    assert second == {}


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("shapes", TransferSettings(), "did you mean 'shape'?"),
        (["hue", "hue"], TransferSettings(), "tasks: hue is there twice; give one of them another label"),
        ([], TransferSettings(), "expected a list, such as"),
        ("hue", TransferSettings(probe="knn"), "probe=knn: task.name=hue is regression, take ridge or kernel_ridge"),
        ("hue", TransferSettings(metric="accuracy"), "metric=accuracy: task.name=hue is regression, take r2"),
        ("shape", TransferSettings(knn=KNNConfig(k=3)), "knn: is read by probe=knn alone"),
        (
            "shape",
            TransferSettings(solver="official"),
            "probe.solver=official: is the paper's; set protocol=paper, too",
        ),
        ("shape", TransferSettings(probe="knn", solver="converged"), "probe.solver: is read by probe=logistic alone"),
        (3, TransferSettings(), "task: a int, expected a task's name"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_computed(net, task, settings, message) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        transfer(Backbone.of(net, crop_size=16), task, settings, device="cpu")


def test_what_is_no_backbone_is_said() -> None:
    with pytest.raises(UserError, match="backbone: a int, expected a Backbone, a module, a path or a name"):
        transfer(3, "shape", device="cpu")  # type: ignore[arg-type]


def test_a_configuration_names_a_backbone(own) -> None:
    config = BackboneConfig(name="random:resnet10", kwargs={"width": 0.125}, crop_size=16)
    result = transfer(config, own, device="cpu", cache=False).only
    assert result.config["backbone"]["kwargs"] == {"width": 0.125}
    assert result.label == "random:resnet10"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "folds=1: cross-validation needs at least 2"),
        ({"seed": -1}, "seed=-1: expected at least 0"),
        ({"protocol": "dirty"}, "protocol='dirty', expected one of clean, paper"),
    ],
)
def test_settings_check_themselves(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TransferSettings(**settings)
