"""Words that cannot be meant are one line, with what was meant."""

from pathlib import Path

import pytest

from solo_invariance.config.kinds import schema_of
from solo_invariance.config.typed import is_known, override_of, require_meant, require_no_dashes, unknown_key
from solo_invariance.errors import UserError


def _refusal(command: str, *overrides: str) -> str:
    with pytest.raises(UserError) as refused:
        require_meant(command, overrides)
    return str(refused.value)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "words", "meant"),
    [
        ("measure", "ck/v.ckpt photos", "backbone.checkpoint=ck/v.ckpt data.path=photos"),
        ("measure", "timm:resnet50 photos/", "backbone.name=timm:resnet50 data.path=photos/"),
        ("measure", "v.safetensors", "backbone.checkpoint=v.safetensors"),
        ("measure", "rotation", "'transforms=[rotation]'"),
        ("measure", "paper", "protocol=paper"),
        ("measure", "k", "k=VALUE"),
        ("measure", "k 4", "k=4"),
        ("measure", "k = 4", "k=4"),
        ("measure", "k= 4", "k=4"),
        ("measure", "k =4", "k=4"),
        ("measure", "k:4", "k=4"),
        ("measure", "transforms hue", "'transforms=[hue]'"),
        ("measure", "transforms all", "transforms=all"),
        ("measure", "k=4 help", "--help"),
        ("transfer", "v.ckpt shape", "backbone.checkpoint=v.ckpt task.name=shape"),
        ("fuse", "a.ckpt b.pth", "'members=[a.ckpt,b.pth]'"),
        ("fuse", "weighted", "mode=weighted"),
        ("pretrain", "ventral", "augmentations=invariance/ventral"),
        ("pretrain", "photos", "data.train_path=photos"),
        ("families", "ventral", "show=ventral"),
        ("report", "results", "'runs=[results]'"),
    ],
)
def test_words_without_a_key(command: str, words: str, meant: str) -> None:
    said = _refusal(command, *words.split())
    assert said.endswith(f": expected key=value; did you mean {meant}?")


def test_a_word_that_is_a_key_and_a_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert _refusal("report", "runs").endswith("did you mean 'runs=[runs]'?")
    (tmp_path / "ventral").mkdir()
    assert _refusal("families", "ventral").endswith("did you mean data.path=ventral?")


def test_words_of_which_nothing_is_known() -> None:
    assert _refusal("doctor", "3") == "'3': expected key=value"
    assert _refusal("doctor", "photos") == "'photos': expected key=value"


@pytest.mark.parametrize(
    ("command", "override", "said"),
    [
        ("measure", "members=[a]", "unknown key 'members' for measure; members is a key of fuse"),
        ("measure", "+members=[a]", "unknown key 'members' for measure; members is a key of fuse"),
        ("measure", "++members=[a]", "unknown key 'members' for measure; members is a key of fuse"),
        ("measure", "checkpoint=X", "unknown key 'checkpoint' for measure; did you mean 'backbone.checkpoint'?"),
        ("measure", "path=X", "did you mean 'data.path' or 'reference.path'?"),
        ("measure", "chekpoint=X", "did you mean 'backbone.checkpoint'?"),
        ("measure", "tranforms=[hue]", "did you mean 'transforms'?"),
        ("measure", "backbon.name=x", "did you mean 'backbone.name' or 'data.name' or 'reference.name'?"),
        ("measure", "augmentations=invariance/ventral", "augmentations is a key of pretrain"),
        ("measure", "+recipe=mocov2", "recipe is a key of pretrain"),
        ("measure", "invariance.family=ventral", "invariance.family is a key of pretrain"),
        ("transfer", "data.path=x", "data.path is a key of families, measure and shape; did you mean 'task.path'?"),
        ("transfer", "transforms=[hue]", "transforms is a key of measure"),
        (
            "fuse",
            "backbone.checkpoint=x",
            "backbone.checkpoint is a key of measure, shape, transfer, advise and export",
        ),
        ("doctor", "k=3", "k is a key of measure"),
        ("pretrain", "+recip=mocov2", "unknown key 'recip' for pretrain; did you mean"),
        ("pretrain", "recipe=mocov2", "recipe=mocov2: needs a plus, +recipe=mocov2"),
        ("pretrain", "invariance=monitor", "invariance=monitor: needs a plus, +invariance=monitor"),
        (
            "pretrain",
            "+recipe=mocov3",
            "no configuration recipe/mocov3; did you mean 'mocov2'? known: mocov2,",
        ),
        ("pretrain", "+invariance=moniter", "did you mean 'monitor'?"),
        ("pretrain", "+invariance=[monitor,tranfer]", "did you mean 'transfer'? known: monitor, transfer"),
        ("pretrain", "invariance.monitor.every=1", "is set with +invariance=monitor, which brings it"),
        ("pretrain", "invariance.transfer.every=1", "is set with +invariance=transfer, which brings it"),
        ("pretrain", "augmentations=invariance/ventrl", "did you mean 'invariance/ventral'? known: invariance/byol,"),
        ("pretrain", "augmentations=ventral", "did you mean 'invariance/ventral'? known: "),
        ("measure", "data=photos", "data=photos: is a section, set its keys, such as data.path=..., "),
        ("measure", "data=photos", "; did you mean data.path=photos?"),
        ("measure", "data=coil100", "; did you mean data.name=coil100?"),
        ("study", "seed=[0]", "; did you mean 'seeds' or "),
        ("fuse", "member=a.ckpt", "; did you mean 'members'?"),
        ("measure", "backbone=x.ckpt", "; did you mean backbone.checkpoint=x.ckpt?"),
        ("measure", "backbone=timm:resnet50", "; did you mean backbone.name=timm:resnet50?"),
        ("measure", "backbone=resnet18", "; did you mean backbone.name=resnet18?"),
        ("measure", "backbone.views=ventral", "; did you mean backbone.views.family=ventral?"),
        ("transfer", "task=shape", "; did you mean task.name=shape?"),
    ],
)
def test_keys_that_are_none(command: str, override: str, said: str) -> None:
    assert said in _refusal(command, override)


@pytest.mark.parametrize(
    ("overrides", "meant"),
    [
        (["task.name=shape", "tasks=[hue]"], "'tasks=[shape,hue]'"),
        (["tasks=[hue,shape]", "task.name=shape"], "'tasks=[hue,shape]'"),
        (["tasks=hue", "task.name=shape"], "'tasks=[shape,hue]'"),
    ],
)
def test_a_task_beside_tasks_is_refused(overrides: list[str], meant: str) -> None:
    assert _refusal("transfer", *overrides).endswith(f"one or the other names the tasks; take {meant}")


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("measure", ["backbone.kwargs.width=0.5", "data.path=photos", "~reference.path", "hydra/launcher=x"]),
        ("measure", ["hydra.sweep.dir=x", "+hydra.sweeper.params.x=1", "data={path: photos}", "data=${task}", "k="]),
        ("transfer", ["probe=knn", "tasks=[hue]", "task.size=32", "task.options.targets=a.csv"]),
        ("transfer", ["task.name=hue", "tasks=null"]),
        ("pretrain", ["+recipe=mocov2", "+invariance=monitor", "invariance.monitor.every=1"]),
        ("pretrain", ["+invariance=[monitor, transfer]", "invariance.monitor.k=1", "invariance.transfer.knn.k=1"]),
        ("pretrain", ["augmentations=invariance/views", "augmentations.1.operations.solarize.p=0.2", "invariance={}"]),
        ("pretrain", ["augmentations=invariance/ventral,invariance/dorsal", "method_kwargs.temperature=0.2"]),
        ("fuse", ["members=[a.ckpt,b.ckpt]", "options.x=3"]),
    ],
)
def test_what_can_be_meant_is_left_to_hydra(command: str, overrides: list[str]) -> None:
    require_meant(command, overrides)


def test_files_of_ones_own_may_bring_groups() -> None:
    require_meant("measure", ["+group=mine", "model=large"], only_ours=False)
    require_meant("pretrain", ["augmentations=mine"], only_ours=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--k", "16"], "--k: there is no such flag; keys are set without dashes, as in k=16"),
        (["--k=16"], "--k=16: there is no such flag; keys are set without dashes, as in k=16"),
        (["--num-images", "5"], "as in num_images=5"),
        (["--transforms", "hue"], "as in 'transforms=[hue]'"),
        (["--data.path=x"], "as in data.path=x"),
        (["--twin"], "as in twin=VALUE"),
    ],
)
def test_keys_that_are_typed_as_flags(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        require_no_dashes("measure", arguments)
    assert str(refused.value).endswith(said)
    require_no_dashes("measure", ["--multirun", "--cfg", "job", "k=3"])


def test_places_that_hold_anything_are_known() -> None:
    measure, pretrain = schema_of("measure"), schema_of("pretrain")
    assert is_known(measure, "backbone.kwargs.a.b")
    assert is_known(pretrain, "augmentations.0.family")
    assert is_known(pretrain, "invariance.monitor.every")
    assert is_known(pretrain, "invariance.transfer.knn.k")
    assert not is_known(pretrain, "invariance.transfer.evry")
    assert not is_known(measure, "backbone.nothing")
    assert not is_known(measure, "k.x")


def test_what_nothing_is_close_to_is_only_unknown() -> None:
    assert unknown_key("measure", "zzz") == "unknown key 'zzz' for measure"
    assert override_of("doctor", "photos") is None


def test_a_watch_that_is_chosen_does_not_bring_the_other_ones_keys() -> None:
    said = _refusal("pretrain", "+invariance=monitor", "invariance.transfer.every=1")
    assert said == "invariance.transfer.every: is set with +invariance=transfer, which brings it; add that"


def test_two_watches_are_one_list() -> None:
    said = _refusal("pretrain", "+invariance=monitor", "+invariance=transfer")
    assert said == "+invariance: is there 2 times; take '+invariance=[monitor,transfer]'"
