"""What cannot be done is refused by the configuration alone, before anything heavy is imported."""

from pathlib import Path

import pytest

from solo_invariance.config.composed import compose_command
from solo_invariance.config.possible import require_possible
from solo_invariance.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transforms=[]"], "nothing to measure"),
        (["transforms=[]", "metrics=[similarity]"], "nothing to measure"),
        (["transforms=[]", "views=[]", "data.path=null", "data.name=latent_scenes"], "nothing to measure"),
        (["backbone.name=hf:empty"], "hf:empty: there is no config.json in empty"),
        (["backbone.name=timm:local-dir:empty"], "there is no config.json in"),
        (["backbone.checkpoint=text.ckpt"], "checkpoint text.ckpt: cannot be read"),
        (["data.num_images=4"], "data.num_images=4: is read with data.name=latent_scenes alone"),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "empty"):
        Path(folder).mkdir()
    Path("text.ckpt").write_text("these are no weights")
    usual = ["backbone.name=random:resnet10", "data.path=photos"]
    with pytest.raises(UserError, match=f"{said}"):
        require_possible("measure", compose_command("measure", [*usual, *arguments]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["transforms=[]", "metrics=[rankme]"],
        ["transforms=[hue]"],
        ["transforms=[]", "data.path=null", "data.name=latent_scenes"],
    ],
)
def test_what_can(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    usual = ["backbone.name=random:resnet10", "data.path=photos"]
    require_possible("measure", compose_command("measure", [*usual, *arguments]))
