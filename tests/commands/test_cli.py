import subprocess
import sys

import pytest

from solo_invariance.cli import COMMANDS


def test_usage_lists_every_command_and_is_quick(cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    for command in COMMANDS:
        assert f"  {command} " in out
    script = "import sys; from solo_invariance.cli import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mesure"], "unknown command 'mesure'; did you mean 'measure'?"),
        (["measure", "tranforms=[hue]"], "unknown key 'tranforms' for measure; did you mean 'transforms'?"),
        (["measure", "data.pth=x"], "unknown key 'data.pth' for measure; did you mean 'data.path'?"),
        (["measure", "k=many"], "k: Value 'many' of type 'str' could not be converted to Integer"),
        (["measure", "k=0"], "k=0: expected at least 1"),
        (["measure", "protocol=exact"], "protocol: Invalid value 'exact', expected one of [paper, clean]"),
        (["measure", "budget=adaptiv"], "budget: Invalid value 'adaptiv'"),
        (["measure"], "no backbone: set backbone.checkpoint=FILE or backbone.name="),
        (["measure", "transforms=[hue,rotatoin]"], "transforms: there is no 'rotatoin'; did you mean 'rotation'?"),
        (["measure", "transforms=3"], "transforms=3: expected all, or a list"),
        (["measure", "device=abacus"], "device=abacus: not available here"),
        (["fuse"], "members: name the checkpoints to fuse"),
        (["fuse", "members=[a-ep=1.ckpt]"], "checkpoint a-ep=1.ckpt: no such file"),
        (["fuse", "members=[a.ckpt]", "mode=cat"], "fusions: there is no 'cat'; did you mean 'concat'?"),
        (["fuse", "members=[a.ckpt]", "out=fused.npz"], "solo-learn reads checkpoints called .ckpt, .pth or .pt"),
        (["transfer", "task.name=shapes"], "tasks: there is no 'shapes'; did you mean 'shape'?"),
        (
            ["transfer", "task.name=hue", "probe=logistic"],
            "probe=logistic: task.name=hue is regression, take ridge or kernel_ridge",
        ),
        (["transfer", "folds=1"], "folds=1: cross-validation needs at least 2"),
        (["report", "runs=[nowhere]"], "nowhere"),
        (["pretrain", "augmentations=invariance/vental"], "augmentations/invariance/vental"),
        (["pretrain", "augmentations=null"], "augmentations: choose a configuration"),
        (["pretrain", "augmentations=[{family: ventral}]"], "augmentations: choose a configuration"),
        (["pretrain", "augmentations=invariance/views"], "augmentations[0].family"),
        (
            ["pretrain", "invariance.canvas_size=2024_06_01"],
            "invariance.canvas_size=20240601: expected at most 4096 pix",
        ),
        (
            ["pretrain", "invariance.small_crop_size=9000"],
            "invariance.small_crop_size=9000: expected at most 4096 pixels",
        ),
        (["pretrain", "data.size=5000"], "data.size=5000: expected at most 4096 pixels"),
        (["pretrain", "data.num_workers=1025"], "data.num_workers=1025: expected at most 1024"),
        (["measure", "num_workers=2024_06_01"], "num_workers=20240601: expected at most 1024"),
        (["transfer", "num_workers=-1"], "num_workers=-1: expected at least 0"),
        (["pretrain", "backbone.kwargs.width=1e-320"], "width=1e-320: leaves no planes"),
        (["measure", "resize=5000"], "resize=5000: expected at most 4096 pixels"),
        (["measure", "crop_size=5000"], "crop_size=5000: expected at most 4096 pixels"),
        (["measure", "backbone.crop_size=5000"], "backbone.crop_size=5000: expected at most 4096 pixels"),
        (["transfer", "task.size=5000"], "task.size=5000: expected at most 4096 pixels"),
        (["families", "show=[ventral]", "crop_size=5000"], "crop_size=5000: expected at most 4096 pixels"),
        (
            ["measure", "backbone.views=${seed}"],
            "backbone.views=0: is a section, set its keys, such as backbone.views.fam",
        ),
        (["pretrain", "optimizer=${seed}"], "optimizer=5: is a section, set its keys, such as optimizer.name"),
        (["report", "runs=${out}"], "runs=report.html: expected a list, 'runs=[report.html]'"),
        (["demo", "study.tasks=${out}"], "study.tasks=runs/demo: expected a list, 'study.tasks=[runs/demo]'"),
        (["study", "study.arms.a.family=ventrl"], "study.arms.a.family: there is no 'ventrl'; did you mean 'ventral'?"),
        (
            ["families", "show=[ventral]", "draws=100000", "crop_size=32", "num_images=1", "out=a.png"],
            "draws=100000: a pict",
        ),
        (
            ["families", "show=[ventral]", "draws=1", "num_images=100000", "out=a.png"],
            "num_images=100000: a picture of",
        ),
        (
            ["families", "show=[ventral]", "draws=600", "crop_size=32", "num_images=1", "out=a.webp"],
            "out=a.webp: a picture of",
        ),
        (
            ["families", "show=[ventral]", "hydra/launcher=null"],
            "hydra/launcher=null: Hydra cannot use this",
        ),
        (["families", "show=[ventrl]"], "show: family: there is no 'ventrl'; did you mean 'ventral'?"),
        (["measure", "backbone.name=timm:", "data.name=latent_scenes"], "backbone 'timm:': timm has no such model"),
        (["pretrain", "method=bjol"], "method=bjol: the embedded host has"),
        (["measure", "k=["], ""),
        (["measure", "=4"], "'=4': expected key=value"),
        (["measure", ""], "'': expected key=value"),
        (["transfer", "backbone.name=random:resnet10", "task.path=photos"], "task.path=photos: the embedded tasks"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("solo-invariance: error: ")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_hydras_flags_work(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("measure", "k=7", "--cfg", "job")
    assert code == 0
    assert "k: 7" in out
    assert "protocol: clean" in out
    code, out, _ = cli("measure", "--help")
    assert code == 0
    assert "target_se" in out
