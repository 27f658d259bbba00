import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_invariance.backbones import Backbone
from solo_invariance.data.images import TensorImages
from solo_invariance.transfer.tasks import Split, scenes


def _arguments(checkpoint: Path, out: Path, task: str, *more: str) -> list[str]:
    named = [] if any(one.startswith("tasks=") for one in more) else [f"task.name={task}"]
    return [
        "transfer",
        f"backbone.checkpoint={checkpoint}",
        *named,
        "task.num_train=80",
        "task.num_test=40",
        "task.size=32",
        "device=cpu",
        f"out={out}",
        *more,
    ]


@pytest.mark.parametrize(
    ("task", "metric", "probe"),
    [
        ("shape", "accuracy", "logistic"),
        ("hue", "r2", "ridge"),
        ("position", "r2", "ridge"),
        ("rotation", "r2", "ridge"),
    ],
)
def test_the_result_has_what_the_contract_says(cli, host_checkpoint, tmp_path: Path, task, metric, probe) -> None:
    code, printed, err = cli(*_arguments(host_checkpoint("ventral"), tmp_path / "out", task))
    assert code == 0, err
    result = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [result[key] for key in ("schema", "task", "metric", "probe", "folds")] == [1, task, metric, probe, 5]
    low, high = result["ci95"]
    assert low <= result["score"] <= high
    assert result["penalty"] > 0
    assert f"{result['score']:.3f}" in printed
    arrays = np.load(tmp_path / "out" / "transfer.npz")
    assert len(arrays["predictions"]) == 40
    if metric == "accuracy":
        assert (arrays["predictions"] == arrays["targets"]).mean() == pytest.approx(result["score"])


def test_a_finished_result_is_kept_and_another_configuration_refused(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint, out = host_checkpoint(), tmp_path / "out"
    cli(*_arguments(checkpoint, out, "hue"))
    before = (out / "transfer.json").read_bytes()
    code, _, _ = cli(*_arguments(checkpoint, out, "hue", "batch_size=13"))
    assert code == 0
    assert (out / "transfer.json").read_bytes() == before
    code, _, err = cli(*_arguments(checkpoint, out, "shape"))
    assert code == 2
    assert "task.name: hue there, shape now" in err


def test_colour_is_read_off_the_pixels_better_than_chance(cli, tmp_path: Path) -> None:
    """A random backbone's features keep the hue of the background: the whole path from images to score works."""
    arguments = [
        "transfer",
        "backbone.name=random:resnet10",
        "+backbone.kwargs.width=0.125",
        "backbone.crop_size=32",
        "task.name=hue",
        "task.num_train=300",
        "task.num_test=100",
        "task.size=32",
        "device=cpu",
        f"out={tmp_path / 'out'}",
    ]
    assert cli(*arguments)[0] == 0
    assert json.loads((tmp_path / "out" / "transfer.json").read_text())["ci95"][0] > 0


def _result(out: Path) -> dict:
    return json.loads((out / "transfer.json").read_text())


def test_several_tasks_on_one_pass_of_features(cli, host_checkpoint, tmp_path: Path, monkeypatch) -> None:
    passes = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, images: passes.append(len(images)) or forward(self, images))
    checkpoint = host_checkpoint()
    for cache in ("true", "false"):
        passes.clear()
        arguments = _arguments(checkpoint, tmp_path / cache, "hue", "tasks=[shape,hue,{name: position}]")
        code, printed, err = cli(*arguments, f"cache={cache}")
        assert code == 0, err
        assert sum(passes) == 120
        assert [f"\n{word} " in printed for word in ("shape", "hue", "position")] == [True] * 3
    for name in ("shape", "hue", "position"):
        kept, computed = (_result(tmp_path / cache / name) for cache in ("true", "false"))
        assert (kept["task"], kept["score"], kept["ci95"]) == (name, computed["score"], computed["ci95"])
    assert not (tmp_path / "false" / ".features").exists()


def test_a_task_of_several_is_the_same_run_as_by_itself(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint = host_checkpoint()
    cli(*_arguments(checkpoint, tmp_path / "out", "shape", "tasks=[shape,hue]"))
    before = (tmp_path / "out" / "hue" / "transfer.json").read_bytes()
    code, _, err = cli(*_arguments(checkpoint, tmp_path / "out" / "hue", "hue"))
    assert code == 0, err
    assert (tmp_path / "out" / "hue" / "transfer.json").read_bytes() == before


def test_features_are_kept_between_runs(cli, host_checkpoint, tmp_path: Path, monkeypatch) -> None:
    checkpoint = host_checkpoint()
    cli(*_arguments(checkpoint, tmp_path / "first", "hue"))
    passes = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, images: passes.append(len(images)) or forward(self, images))
    code, _, err = cli(*_arguments(checkpoint, tmp_path / "second", "position", "probe=ridge", "seed=3"))
    assert code == 0, err
    assert sum(passes) == 0


@pytest.mark.parametrize(
    ("probe", "more", "metric"),
    [
        ("knn", ["metric=mean_per_class_accuracy"], "mean_per_class_accuracy"),
        ("knn", ["knn.k=5"], "accuracy"),
        ("few_shot", ["few_shot={ways: 2, shots: 1, queries: 1, episodes: 50}"], "2_way_1_shot_accuracy"),
    ],
)
def test_other_probes_of_classes(cli, host_checkpoint, tmp_path: Path, probe, more, metric) -> None:
    arguments = _arguments(host_checkpoint(), tmp_path / "out", "shape", f"probe={probe}", *more)
    code, printed, err = cli(*arguments)
    assert code == 0, err
    result = _result(tmp_path / "out")
    assert (result["metric"], result["probe"], result["penalty"]) == (metric, probe, None)
    low, high = result["ci95"]
    assert 0 <= low <= result["score"] <= high <= 1
    assert f" {probe.replace('_', ' ')}" in printed


def test_kernel_ridge_of_numbers(cli, host_checkpoint, tmp_path: Path) -> None:
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "out", "position", "probe=kernel_ridge"))
    assert code == 0, err
    assert len(_result(tmp_path / "out")["details"]["gamma"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task.name=shape", "probe=ridge"], "probe=ridge: task.name=shape is classification, take logistic or knn"),
        (["task.name=hue", "probe=knn"], "probe=knn: task.name=hue is regression, take ridge or kernel_ridge"),
        (["task.name=hue", "metric=accuracy"], "metric=accuracy: task.name=hue is regression, take r2"),
        (["tasks=[hue,shapes]"], "did you mean 'shape'?"),
        (["tasks=[hue,hue]"], "tasks: hue is there twice"),
        (["tasks=hue"], "tasks=hue: expected a list, 'tasks=[hue]'"),
        (["tasks=[{path: x}]"], "is neither a task's name nor a mapping with a name"),
        (["tasks=[{name: hue, pth: x}]"], "tasks: hue: there is no key 'pth'; did you mean 'path'? known: name, path"),
        (["task.name=cifar10", "task.path=nowhere"], "nowhere"),
        (["task.name=shape", "folds=100"], "folds=100 for 80 images"),
        (["task.name=shape", "knn.k=5"], "knn: is read by probe=knn alone"),
        (["task.name=shape", "few_shot.ways=1"], "few_shot.ways=1: expected at least 2"),
        (["task.name=shape", "knn.temperature=0"], "knn.temperature=0.0: expected a positive number"),
    ],
)
def test_what_does_not_fit_is_one_line(cli, host_checkpoint, tmp_path: Path, arguments, message) -> None:
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "out", "shape", *arguments))
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_two_backbones_are_compared_on_the_same_test_images(cli, host_checkpoint, tmp_path: Path) -> None:
    first, second = host_checkpoint("ventral"), host_checkpoint("dorsal", 1)
    assert cli(*_arguments(first, tmp_path / "a", "hue"))[0] == 0
    code, printed, err = cli(*_arguments(second, tmp_path / "b", "hue", f"against={tmp_path / 'a'}"))
    assert code == 0, err
    compared = json.loads((tmp_path / "b" / "comparison.json").read_text())
    ours, theirs = (_result(tmp_path / name) for name in ("b", "a"))
    assert compared["difference"] == pytest.approx(ours["score"] - theirs["score"])
    low, high = compared["ci95"]
    assert low <= compared["difference"] <= high
    assert high - low < (ours["ci95"][1] - ours["ci95"][0]) + (theirs["ci95"][1] - theirs["ci95"][0])
    assert "dorsal minus ventral on hue: r2" in printed
    code, _, err = cli(*_arguments(second, tmp_path / "c", "hue", "task.seed=5", f"against={tmp_path / 'a'}"))
    assert not (tmp_path / "c").exists()  # refused before anything is scored
    content = json.loads((tmp_path / "a" / "transfer.json").read_text())
    (tmp_path / "a" / "transfer.json").write_text(json.dumps({**content, "config": {"<b>": 1}}))
    _, _, other = cli(*_arguments(second, tmp_path / "d", "hue", f"against={tmp_path / 'a'}"))
    assert "other targets are predicted there" in other
    assert not (tmp_path / "d").exists()
    assert code == 2
    assert "its test_images is" in err


def test_two_processes_give_the_numbers_of_one(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint = host_checkpoint()
    for devices, cache in ((1, "false"), (2, "false")):
        arguments = _arguments(checkpoint, tmp_path / f"{devices}", "hue", f"devices={devices}", f"cache={cache}")
        code, _, err = cli(*arguments)
        assert code == 0, err
    one, two = (_result(tmp_path / name) for name in ("1", "2"))
    assert one["score"] == pytest.approx(two["score"], abs=1e-6)
    assert one["penalty"] == two["penalty"]


def test_images_that_the_fusion_was_fitted_to_cannot_be_its_test(cli, host_checkpoint, photo_folder, tmp_path) -> None:
    fused = tmp_path / "fused.ckpt"
    members = f"members=[{host_checkpoint('ventral')},{host_checkpoint('dorsal', 1)}]"
    assert cli("fuse", members, "mode=standardized", f"reference.path={photo_folder / 'val'}", f"out={fused}")[0] == 0
    arguments = ["transfer", f"backbone.checkpoint={fused}", "task.name=folder", "folds=2", "device=cpu"]
    code, _, err = cli(*arguments, f"task.path={photo_folder}", f"out={tmp_path / 'out'}")
    assert code == 2
    assert "24 of 24 test images are among those that the fusion was fitted to" in err
    assert cli("fuse", members, "mode=standardized", f"reference.path={photo_folder / 'train'}", f"out={fused}")[0] == 0
    code, _, err = cli(*arguments, f"task.path={photo_folder}", f"out={tmp_path / 'out'}")
    assert code == 0, err


def test_an_image_in_both_splits_is_refused_in_a_folder_of_ones_own(cli, host_checkpoint, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for index in range(6):
                pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / label / f"{index}.png")
    shutil.copy(tmp_path / "data" / "train" / "a" / "3.png", tmp_path / "data" / "test" / "a" / "renamed.png")
    arguments = ["transfer", f"backbone.checkpoint={host_checkpoint()}", "task.name=folder", "folds=2", "device=cpu"]
    code, _, err = cli(*arguments, f"task.path={tmp_path / 'data'}", f"out={tmp_path / 'out'}")
    assert code == 2
    assert "1 of 13 test images are among those that the probe is trained on" in err
    assert "renamed.png" in err


def test_a_weighted_fusion_chooses_its_weights_for_each_task(cli, host_checkpoint, tmp_path: Path) -> None:
    fused = tmp_path / "fused.ckpt"
    members = f"members=[{host_checkpoint('ventral')},{host_checkpoint('dorsal', 1)}]"
    reference = ("reference.name=latent_scenes", "reference.num_images=50")
    assert cli("fuse", members, "mode=weighted", *reference, f"out={fused}")[0] == 0
    code, _, err = cli(*_arguments(fused, tmp_path / "out", "hue", "tasks=[hue,shape]"))
    assert code == 0, err
    for name in ("hue", "shape"):
        weights = _result(tmp_path / "out" / name)["details"]["member_weights"]
        assert len(weights) == 2
        assert min(weights) >= 0


def _misleading(folder: Path) -> list[str]:
    """Pairs of images that differ in a pixel and have opposite numbers, and the arguments that name this task.

    What is learnt of an image is wrong for its double, so that the probe that learns least is the best.
    """
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = ["image,split,number"]
    for pair in range(24):
        pixels, number = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8), generator.normal()
        for name, sign in (("one", 1), ("other", -1)):
            Image.fromarray(pixels).save(folder / "images" / f"{pair}-{name}.png")
            rows.append(f"{pair}-{name}.png,{'test' if pair % 4 == 0 else 'train'},{sign * number:.6f}")
            pixels[16, 16] += 1
    (folder / "numbers.csv").write_text("\n".join(rows) + "\n")
    options = f"task.options={{targets: {folder / 'numbers.csv'}, kind: regression, columns: [number]}}"
    return ["task.name=table", f"task.path={folder / 'images'}", options, "folds=3", "device=cpu"]


@pytest.mark.parametrize(
    ("mode", "members", "largest"),
    [(None, 1, 1e5), ("concat", 2, 1e7), ("concat", 3, 1e9), ("standardized", 2, 1e7)],
)
def test_the_penalties_rise_by_two_decades_for_each_further_member(
    cli, host_checkpoint, tmp_path: Path, mode: str | None, members: int, largest: float
) -> None:
    """Seen by the largest there is, which is chosen where it is best to learn nothing."""
    task = _misleading(tmp_path / "task")
    checkpoints = [host_checkpoint(f"member{index}", index) for index in range(members)]
    checkpoint = checkpoints[0]
    if mode is not None:
        checkpoint = tmp_path / "fused.ckpt"
        names = f"members=[{','.join(map(str, checkpoints))}]"
        reference = [] if mode == "concat" else ["reference.name=latent_scenes", "reference.num_images=50"]
        assert cli("fuse", names, f"mode={mode}", *reference, f"out={checkpoint}")[0] == 0
    code, _, err = cli("transfer", f"backbone.checkpoint={checkpoint}", *task, f"out={tmp_path / 'out'}")
    assert code == 0, err
    assert _result(tmp_path / "out")["penalty"] == pytest.approx(largest)


@pytest.mark.parametrize(("width", "largest"), [(0.25, 1e5), (1, 1e5), (3, 1e9)])
def test_the_penalties_of_a_wide_network_are_those_of_a_fusion_of_its_width(
    cli, tmp_path: Path, width: float, largest: float
) -> None:
    backbone = ["backbone.name=random:resnet10", f"+backbone.kwargs.width={width}", "backbone.crop_size=32"]
    code, _, err = cli("transfer", *backbone, *_misleading(tmp_path / "task"), f"out={tmp_path / 'out'}")
    assert code == 0, err
    assert _result(tmp_path / "out")["penalty"] == pytest.approx(largest)


def _points(folder: Path) -> list[str]:
    """A table of points on images of different shapes, and the arguments that name it."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = ["image,split,x,y"]
    for index in range(60):
        height, width = generator.integers(40, 80, 2)
        x, y = generator.integers(5, 35, 2)
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        rows.append(f"{index}.png,{'test' if index % 3 == 0 else 'train'},{x},{y}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    options = f"task.options={{targets: {folder / 'points.csv'}, points: true}}"
    return ["task.name=table", f"task.path={folder / 'images'}", options, "device=cpu"]


def test_backbones_of_other_sizes_are_compared_on_points_in_their_own_pixels(cli, host_checkpoint, tmp_path) -> None:
    task = _points(tmp_path / "data")
    checkpoint = host_checkpoint()
    for size in (32, 64):
        arguments = ["transfer", f"backbone.checkpoint={checkpoint}", f"backbone.crop_size={size}", *task]
        against = [f"against={tmp_path / '32'}"] if size == 64 else []
        code, _, err = cli(*arguments, f"out={tmp_path / str(size)}", *against)
        assert code == 0, err
    compared = json.loads((tmp_path / "64" / "comparison.json").read_text())
    low, high = compared["ci95"]
    assert low <= compared["difference"] <= high
    first, second = (np.load(tmp_path / name / "transfer.npz")["targets"] for name in ("32", "64"))
    assert np.abs(second).max() > 1.5 * np.abs(first).max()
    only = ["task.options.points=false", "task.options.kind=regression", "task.options.columns=[y]"]
    assert cli(*arguments, *only, f"out={tmp_path / 'y'}")[0] == 0
    code, _, err = cli(
        *arguments, *only[:2], "task.options.columns=[x]", f"out={tmp_path / 'x'}", f"against={tmp_path / 'y'}"
    )
    assert code == 2
    assert "other targets are predicted there" in err
    assert not (tmp_path / "x").exists()


def test_episodes_are_compared_with_the_same_episodes_only(cli, host_checkpoint, tmp_path: Path) -> None:
    few = ["probe=few_shot", "few_shot={ways: 2, shots: 1, queries: 1, episodes: 50}"]
    first, second = host_checkpoint("ventral"), host_checkpoint("dorsal", 1)
    against = f"against={tmp_path / 'a'}"
    assert cli(*_arguments(first, tmp_path / "a", "shape", *few))[0] == 0
    code, printed, err = cli(*_arguments(second, tmp_path / "b", "shape", *few, against))
    assert code == 0, err
    assert "dorsal minus ventral on shape: 2_way_1_shot_accuracy" in printed
    code, _, err = cli(*_arguments(second, tmp_path / "c", "shape", *few, "seed=1", against))
    assert code == 2
    assert "its seed is 0, here it is 1" in err
    code, _, err = cli(*_arguments(second, tmp_path / "d", "shape", *few, "few_shot.episodes=40", against))
    assert code == 2
    assert "its details is" in err
    code, _, err = cli(*_arguments(second, tmp_path / "e", "shape", "probe=knn", against))
    assert code == 2
    assert "its metric is 2_way_1_shot_accuracy, here it is accuracy" in err
    assert not any((tmp_path / name).exists() for name in "cde")  # refused before anything is scored


def test_what_is_compared_with_is_looked_for_first(cli, host_checkpoint, tmp_path: Path) -> None:
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "a", "hue", f"against={tmp_path / 'nowhere'}"))
    assert code == 2
    assert "no result of transfer there" in err
    assert not (tmp_path / "a").exists()


def test_two_tables_have_labels_of_their_own(cli, host_checkpoint, tmp_path: Path) -> None:
    _points(tmp_path / "data")
    table = f"name: table, path: {tmp_path / 'data' / 'images'}"
    options = f"targets: {tmp_path / 'data' / 'points.csv'}, kind: regression"
    tasks = ", ".join(
        f"{{{table}, label: {column}, options: {{{options}, columns: [{column}]}}}}" for column in ("x", "y")
    )
    arguments = ["transfer", f"backbone.checkpoint={host_checkpoint()}", "device=cpu", f"out={tmp_path / 'out'}"]
    code, printed, err = cli(*arguments, f"tasks=[{tasks}]")
    assert code == 0, err
    assert _result(tmp_path / "out" / "x")["task"] == "x"
    assert "\ny " in printed


def test_a_published_task_that_repeats_images_can_be_what_a_fusion_is_chosen_for(
    cli, host_checkpoint, tmp_path: Path, monkeypatch
) -> None:
    load = scenes.SceneLatents.load

    def repeating(self, settings):
        train, test = load(self, settings)
        images = torch.cat([train.images.images[:1], test.images.images[1:]])
        return train, Split(TensorImages(images), test.targets)

    monkeypatch.setattr(scenes.SceneLatents, "load", repeating)
    fused, members = tmp_path / "fused.ckpt", [host_checkpoint("ventral"), host_checkpoint("dorsal", 1)]
    task = ["task.name=hue", "task.num_train=80", "task.num_test=40", "task.size=32", "device=cpu"]
    fusing = ["fuse", f"members=[{members[0]},{members[1]}]", "mode=weighted", *task, f"out={fused}"]
    monkeypatch.setattr(scenes.SceneLatents, "may_overlap", True)
    assert cli(*fusing)[0] == 0
    code, printed, err = cli(*_arguments(fused, tmp_path / "out", "hue"))
    assert code == 0, err
    assert "1 of the 40 test images are among the training images" in printed
    monkeypatch.setattr(scenes.SceneLatents, "may_overlap", False)
    code, _, err = cli(*_arguments(fused, tmp_path / "other", "hue"))
    assert code == 2
    assert "1 of 40 test images are among those that the fusion was fitted to, or chosen by" in err


def test_processes_share_their_work_without_a_cache_that_is_kept(cli, host_checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE", "")
    passes = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, images: passes.append(len(images)) or forward(self, images))
    code, _, err = cli(*_arguments(host_checkpoint(), tmp_path / "out", "hue", "tasks=[hue,shape]"))
    assert code == 0, err
    assert sum(passes) == 120


def test_a_result_says_what_its_splits_are_and_is_not_mixed_with_otherwise_decoded_ones(
    cli, host_checkpoint, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "transfer",
        f"backbone.checkpoint={host_checkpoint()}",
        "task.name=folder",
        f"task.path={photo_folder}",
        "folds=2",
        f"out={tmp_path / 'out'}",
    ]
    code, printed, err = cli(*arguments)
    assert code == 0, err
    assert "folder: trained on train; tested on val" in printed
    result = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert result["split"] == {"train": "train", "test": "val"}
    monkeypatch.setattr("solo_invariance.transfer.record.DECODING", 1)
    code, _, err = cli(*arguments)
    assert code == 2
    assert "holds results of another run (decoding: 2 there, 1 now)" in err
