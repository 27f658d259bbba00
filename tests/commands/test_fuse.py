import json
from pathlib import Path

import pytest
import torch

from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.data.latent_scenes.dataset import LatentScenes
from solo_invariance.errors import UserError
from solo_invariance.features import extract_features
from solo_invariance.transfer.tasks import Split, TaskSettings, scenes


def test_a_fusion_is_written_and_its_use_explained(cli, host_checkpoint, tmp_path: Path) -> None:
    members = [host_checkpoint("default"), host_checkpoint("ventral", 1)]
    out = tmp_path / "fused.ckpt"
    code, printed, err = cli("fuse", f"members=[{members[0]},{members[1]}]", f"out={out}")
    assert code == 0, err
    assert "default+ventral: 2 members, concat, 128 features" in printed
    assert f"+backbone.kwargs.checkpoint={out}" in printed
    assert load_backbone(BackboneConfig(checkpoint=str(out))).num_features == 128
    assert cli("fuse", f"members=[{members[0]},{members[1]}]", f"out={out}")[0] == 0
    code, _, err = cli("fuse", f"members=[{members[0]},{members[1]}]", "mode=sum", f"out={out}")
    assert code == 2
    assert "holds another fusion (concat of default+ventral, 128 features; now sum of default+ventral, 64" in err
    added = tmp_path / "added.ckpt"
    assert cli("fuse", f"members=[{members[0]},{members[1]}]", "mode=sum", f"out={added}")[0] == 0
    assert load_backbone(BackboneConfig(checkpoint=str(added))).num_features == 64


def test_a_link_to_itself_is_no_member(cli, host_checkpoint, tmp_path: Path) -> None:
    loop = tmp_path / "loop.ckpt"
    loop.symlink_to(loop)
    code, _, err = cli("fuse", f"members=[{loop},{host_checkpoint()}]", f"out={tmp_path / 'fused.ckpt'}")
    assert code == 2
    assert err == f"solo-invariance: error: checkpoint {loop}: no such file\n"


def test_nothing_but_a_fusion_is_ever_overwritten(cli, host_checkpoint, tmp_path: Path) -> None:
    members = [host_checkpoint("default"), host_checkpoint("ventral", 1)]
    before = [path.read_bytes() for path in members]
    code, _, err = cli("fuse", f"members=[{members[0]},{members[1]}]", f"out={members[1]}")
    assert code == 2
    assert "is what it is made of, and would be overwritten" in err
    code, _, err = cli("fuse", f"members=[{members[0]}]", f"out={members[1]}")
    assert code == 2
    assert "is no fused checkpoint" in err
    assert [path.read_bytes() for path in members] == before


def test_unequal_widths_cannot_be_summed(cli, host_checkpoint, tmp_path: Path) -> None:
    members = [host_checkpoint("default"), host_checkpoint("ventral", 1, width=0.25)]
    code, _, err = cli("fuse", f"members=[{members[0]},{members[1]}]", "mode=sum", f"out={tmp_path / 'fused.ckpt'}")
    assert code == 2
    assert "mode=sum does not fit its members (default: 64, ventral: 128)" in err
    assert not (tmp_path / "fused.ckpt").exists()


def test_the_file_holds_plain_tensors_and_data_only(cli, host_checkpoint, tmp_path: Path) -> None:
    cli("fuse", f"members=[{host_checkpoint()}]", f"out={tmp_path / 'fused.ckpt'}")
    content = torch.load(tmp_path / "fused.ckpt", weights_only=True)
    assert set(content) == {"state_dict", "fusion", "pytorch-lightning_version"}
    assert content["fusion"]["members"][0]["architecture"]["name"] == "resnet10"


def _features(checkpoint: Path, count: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    return load_backbone(BackboneConfig(checkpoint=str(checkpoint)))(torch.rand(count, 3, 32, 32))


@pytest.fixture
def members(host_checkpoint) -> str:
    paths = [host_checkpoint("default"), host_checkpoint("ventral", 1, width=0.25)]
    return f"members=[{','.join(map(str, paths))}]"


_REFERENCE = ("reference.name=latent_scenes", "reference.num_images=40", "device=cpu")
_TASK = ("task.name=hue", "task.num_train=60", "task.num_test=30", "task.size=32", "device=cpu")


def test_standardised_members_say_equally_much_on_the_reference_images(cli, members, tmp_path: Path) -> None:
    out = tmp_path / "fused.ckpt"
    code, printed, err = cli("fuse", members, "mode=standardized", *_REFERENCE, f"out={out}")
    assert code == 0, err
    assert "2 members, standardized, 192 features" in printed
    scenes = TensorImages(LatentScenes(40, seed=1_000_001).images)
    fused = extract_features(load_backbone(BackboneConfig(checkpoint=str(out))), scenes)
    first, second = (part.var(dim=0).sum().item() for part in fused.split([64, 128], dim=1))
    assert first == pytest.approx(second, rel=1e-3)


def test_a_folder_of_reference_images(cli, members, photo_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "fused.ckpt"
    arguments = ["fuse", members, "mode=projected", "width=10", f"reference.path={photo_folder}", f"out={out}"]
    code, printed, err = cli(*arguments)
    assert code == 0, err
    assert "2 members, projected, 10 features" in printed
    photos = extract_features(load_backbone(BackboneConfig(checkpoint=str(out))), ImageFiles(photo_folder))
    torch.testing.assert_close(photos.T.cov(), torch.eye(10), atol=1e-3, rtol=0)
    code, _, err = cli(*arguments, "width=70", "reference.num_images=20")
    assert code == 2
    assert "width=70: 20 reference images span 19 dimensions" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mode=standardized"], "mode=standardized is fitted to images: name them, reference.path=FOLDER or task.name"),
        (["mode=standardized", "reference.name=imagenet"], "latent_scenes is the only one"),
        (["mode=projected", "reference.name=latent_scenes"], "width is missing"),
        (["mode=concat", "reference.name=latent_scenes"], "reference.name: mode=concat is not fitted to images"),
        (["mode=concat", "task.name=hue"], "task.name: mode=concat is chosen without a task"),
        (["mode=concat", "width=10"], "mode=concat takes no options, got width"),
        (["mode=auto"], "mode=auto: name the task that the members are chosen for, task.name=..."),
        (["mode=auto", "task.name=hues"], "did you mean 'hue'?"),
        (["export=fused.onnx"], "export=fused.onnx: expected a name that ends in .pt2"),
        (["mode=auto", "task.name=hue", "options.nonsense=3"], "options.nonsense: mode=auto reads none"),
        (["mode=concat", "max_members=2"], "max_members: mode=concat takes all members"),
        (["mode=standardized", "width=3", "reference.name=latent_scenes"], "does not take these options: width"),
        (["mode=weighted", "options.weights=[1]", "reference.name=latent_scenes"], "expected 2 finite numbers"),
        (
            ["mode=weighted", "options.weights=[1,2]", "task.name=hue", "task.num_train=20"],
            "options.weights and task.name are both set",
        ),
        (["mode=weightd"], "did you mean 'weighted'?"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(cli, members, tmp_path, arguments, message) -> None:
    out = tmp_path / "fused.ckpt"
    code, _, err = cli("fuse", members, *arguments, "device=cpu", f"out={out}")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out.exists()


def test_weights_are_chosen_by_the_task_and_written_down(cli, members, tmp_path: Path) -> None:
    out = tmp_path / "fused.ckpt"
    code, printed, err = cli("fuse", members, "mode=weighted", *_TASK, f"out={out}")
    assert code == 0, err
    record = json.loads((tmp_path / "fused.json").read_text())
    assert record["labels"] == ["default", "ventral"]
    assert record["task"] == "hue"
    content = torch.load(out, weights_only=True)
    assert content["fusion"]["options"]["weights"] == record["weights"]
    assert len(content["fusion"]["fitted_on"]) == 60
    assert "weights chosen on hue" in printed


def test_weights_stay_open_without_a_task(cli, members, tmp_path: Path) -> None:
    out = tmp_path / "fused.ckpt"
    assert cli("fuse", members, "mode=weighted", *_REFERENCE, f"out={out}")[0] == 0
    loaded = load_backbone(BackboneConfig(checkpoint=str(out)))
    assert loaded.network.open_widths == [64, 128]


def test_members_are_chosen_one_by_one(cli, host_checkpoint, tmp_path: Path) -> None:
    paths = [host_checkpoint(name, seed) for seed, name in enumerate(("default", "ventral", "dorsal"))]
    out = tmp_path / "fused.ckpt"
    arguments = ["fuse", f"members=[{','.join(map(str, paths))}]", "mode=auto", *_TASK, f"out={out}"]
    code, printed, err = cli(*arguments, "width=20")
    assert code == 0, err
    assert "forward selection on hue, 5-fold cross-validation" in printed
    record = json.loads((tmp_path / "fused.json").read_text())
    assert record["steps"][0]["accepted"]
    chosen = [record["labels"][index] for index in record["chosen"]]
    loaded = load_backbone(BackboneConfig(checkpoint=str(out)))
    assert loaded.provenance.label == "+".join(chosen)
    assert loaded.num_features == 20
    assert loaded.network.mode == "projected"
    out.unlink()
    assert cli(*arguments, "max_members=1")[0] == 0
    assert load_backbone(BackboneConfig(checkpoint=str(out))).num_features == 64


def test_nothing_of_the_test_images_decides(cli, members, tmp_path: Path, monkeypatch) -> None:
    """A leak is planted: other test images and targets would change what is chosen, if anything looked at them."""
    chosen = []
    for shift in (0.0, 1e6):
        load = scenes.SceneLatents.load

        def planted(self, settings, load=load, shift=shift):
            train, test = load(self, settings)
            images = TensorImages(255 - test.images.images) if shift else test.images
            return train, Split(images, test.targets + shift)

        with monkeypatch.context() as patch:
            patch.setattr(scenes.SceneLatents, "load", planted)
            for mode in ("weighted", "auto"):
                out = tmp_path / f"{mode}.ckpt"
                assert cli("fuse", members, f"mode={mode}", *_TASK, f"out={out}")[0] == 0
                chosen.append((mode, _features(out).tolist(), json.loads(out.with_suffix(".json").read_text())))
    assert chosen[:2] == chosen[2:]


def test_a_reference_among_the_test_images_is_refused(cli, members, photo_folder: Path, tmp_path: Path) -> None:
    task = ["task.name=folder", f"task.path={photo_folder}", "device=cpu", f"out={tmp_path / 'fused.ckpt'}"]
    code, _, err = cli("fuse", members, "mode=standardized", f"reference.path={photo_folder / 'val'}", *task)
    assert code == 2
    assert "24 of 24 test images are among those that the fusion is fitted to" in err


def test_what_measured_backbones_see_that_others_ignore(cli, host_checkpoint, tmp_path: Path) -> None:
    runs = []
    for seed, family in enumerate(("ventral", "dorsal")):
        runs.append(tmp_path / "measured" / family)
        arguments = ["transforms=[hue,rotation]", "k=4", "num_images=12", "device=cpu", f"out={runs[-1]}"]
        arguments += ["data.name=latent_scenes", "data.num_images=40", "data.size=32", "views=[]"]
        code, _, err = cli("measure", f"backbone.checkpoint={host_checkpoint(family, seed)}", *arguments)
        assert code == 0, err
    code, printed, err = cli("fuse", f"measured=[{tmp_path / 'measured'}]")
    assert code == 0, err
    assert "what each column sees and the row ignores (2 transforms)" in printed
    assert "ventral" in printed
    code, _, err = cli("fuse", f"measured=[{runs[0]}]")
    assert code == 2
    assert "complementarity needs at least two backbones, got ventral" in err


def test_what_main_knn_reads_is_written_where_it_can_be(cli, host_checkpoint, tmp_path: Path) -> None:
    member = host_checkpoint("default")
    out = tmp_path / "alone" / "fused.ckpt"
    assert cli("fuse", f"members=[{member}]", f"out={out}")[0] == 0
    arguments = json.loads((out.parent / "args.json").read_text())
    assert arguments["backbone"] == {"name": "fusion", "kwargs": {"checkpoint": str(out)}}
    before = (member.parent / "args.json").read_bytes()
    assert cli("fuse", f"members=[{member}]", f"out={member.parent / 'fused.ckpt'}")[0] == 0
    assert (member.parent / "args.json").read_bytes() == before
    assert cli("fuse", f"members=[{member}]", f"out={tmp_path / 'beside.ckpt'}")[0] == 0
    assert not (tmp_path / "args.json").exists()


def test_a_member_may_be_named_by_several_keys(cli, host_checkpoint, tmp_path: Path) -> None:
    """A checkpoint beside which nothing says what it holds."""
    bare = host_checkpoint("default", args=False)
    keys = f"{{checkpoint: '{bare}', name: resnet10, kwargs: {{width: 0.125}}, crop_size: 32, label: bare}}"
    out = tmp_path / "fused.ckpt"
    code, printed, err = cli("fuse", f"members=[{keys}]", f"out={out}")
    assert code == 0, err
    assert "bare: 1 members, concat, 64 features" in printed
    code, _, err = cli("fuse", "members=[{chekpoint: x}]", f"out={out}")
    assert code == 2
    assert "Key 'chekpoint' not in 'BackboneConfig'" in err


def test_a_fused_member_is_refused_before_anything_is_computed(cli, members, tmp_path: Path) -> None:
    fused = tmp_path / "fused.ckpt"
    assert cli("fuse", members, f"out={fused}")[0] == 0
    code, printed, err = cli("fuse", f"members=[{fused}]", "mode=auto", *_TASK, f"out={tmp_path / 'more.ckpt'}")
    assert code == 2
    assert "a fused backbone cannot be a member" in err
    assert "forward selection" not in printed


def test_a_checkpoint_beside_a_fused_one_is_not_taken_for_it(cli, host_checkpoint, tmp_path: Path) -> None:
    bare = host_checkpoint("default", args=False)
    alone = tmp_path / "alone"
    assert cli("fuse", f"members=[{host_checkpoint('ventral', 1)}]", f"out={alone / 'fused.ckpt'}")[0] == 0
    bare = bare.rename(alone / "bare.ckpt")
    with pytest.raises(UserError, match=r"no args\.json beside it says which backbone it holds"):
        load_backbone(BackboneConfig(checkpoint=str(bare)))


def test_chosen_members_are_fitted_in_the_size_that_they_are_used_in(cli, host_checkpoint, tmp_path: Path) -> None:
    """Of the candidates, one that is left out has a larger input."""
    paths = [host_checkpoint(name, seed) for seed, name in enumerate(("default", "ventral"))]
    args = json.loads((paths[1].parent / "args.json").read_text())
    args["augmentations"][0]["crop_size"] = 64
    (paths[1].parent / "args.json").write_text(json.dumps(args))
    out = tmp_path / "fused.ckpt"
    members = f"members=[{paths[0]},{paths[1]}]"
    assert cli("fuse", members, "mode=auto", "max_members=1", *_TASK, f"out={out}")[0] == 0
    backbone = load_backbone(BackboneConfig(checkpoint=str(out)))
    train, _ = scenes.hue.load(TaskSettings(num_train=60, num_test=30, size=32))
    deviations = extract_features(backbone, train.images).std(dim=0)
    spread = deviations[deviations > 0].square().mean()
    torch.testing.assert_close(spread, torch.tensor(1.0), atol=1e-3, rtol=0)


def test_reference_images_are_drawn_from_all_of_a_folder(cli, members, photo_folder: Path, tmp_path: Path) -> None:
    fitted = []
    for seed in (0, 0, 1):
        out = tmp_path / f"{len(fitted)}.ckpt"
        arguments = [f"reference.path={photo_folder}", "reference.num_images=12", f"seed={seed}", f"out={out}"]
        assert cli("fuse", members, "mode=standardized", *arguments, "device=cpu")[0] == 0
        fitted.append(torch.load(out, weights_only=True)["fusion"]["fitted_on"])
    assert fitted[0] == fitted[1] != fitted[2]
    assert len(fitted[0]) == 12
