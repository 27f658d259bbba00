from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from solo_invariance import plugins
from solo_invariance.families import build_family
from solo_invariance.plugins import load_plugin

BUILT_IN = (
    "default",
    "ventral",
    "dorsal",
    "geometric",
    "photometric",
    "occlusion",
    "corruption",
    "strong_dorsal",
    "identity",
)


def test_every_family_is_listed_with_what_it_makes_invariant_and_its_operations(cli) -> None:
    code, out, _ = cli("families")
    assert code == 0
    for word in (*BUILT_IN, "place, size and mirror image", "solo-invariance "):
        assert word in out
    assert "- color_jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, p: 0.8}" in out


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_printed_can_be_pasted_into_a_configuration(name: str, cli) -> None:
    _, out, _ = cli("families", f"show={name}")
    lines = [line for line in out.splitlines() if line.startswith("  - ")]
    family = load_plugin("families", name)
    again = build_family(name, yaml.safe_load("\n".join(lines)) or [], family.invariant_to)
    assert again == family
    assert again.fingerprint() == family.fingerprint()


def test_what_is_no_family_is_listed_as_such(cli, monkeypatch) -> None:
    from solo_invariance.commands import families

    wrong = plugins.Plugin("families", "odd", "odd 1.0", plugins.EntryPoint("odd", "json:dumps", "g"))
    original = plugins.discover
    monkeypatch.setattr(families, "discover", lambda kind: (wrong, *original(kind)))
    code, out, _ = cli("families")
    assert code == 0
    assert "of odd 1.0 is no Family" in out
    assert "ventral" in out


def test_a_family_that_fails_to_load_hides_no_other(cli, monkeypatch) -> None:
    from solo_invariance.commands import families

    broken = plugins.Plugin("families", "sunrise", "sun 1.0", plugins.EntryPoint("sunrise", "no_such_module:x", "g"))
    original = plugins.discover
    monkeypatch.setattr(families, "discover", lambda kind: (broken, *original(kind)))
    code, out, _ = cli("families")
    assert code == 0
    assert "'sunrise' of sun 1.0" in out
    assert "ventral" in out


def test_a_contact_sheet_has_a_row_an_image_and_a_column_a_draw(cli, tmp_path: Path, photo_folder: Path) -> None:
    out = tmp_path / "deep" / "sheet.png"
    arguments = [f"data.path={photo_folder / 'val'}", f"out={out}", "num_images=3", "draws=2", "crop_size=32"]
    code, _, err = cli("families", "show=[ventral,[dorsal,occlusion]]", *arguments)
    assert code == 0, err
    sheet = np.asarray(Image.open(out))
    assert sheet.shape[0] == 26 + 3 * 35 + 12
    assert np.unique(sheet.reshape(-1, 3), axis=0).shape[0] > 500
    again = tmp_path / "again.png"
    cli("families", "show=[ventral,[dorsal,occlusion]]", *arguments[:1], f"out={again}", *arguments[2:])
    assert np.array_equal(np.asarray(Image.open(again)), sheet)


def test_a_contact_sheet_shows_what_the_canvas_keeps(cli, tmp_path: Path) -> None:
    """Black on both sides of a wide white image: its centre square has none of that."""
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:60] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "wide.png")
    arguments = [f"data.path={tmp_path / 'images'}", "show=[identity]", "num_images=1", "draws=1", "crop_size=32"]
    dark = {}
    for canvas in ("whole", "centre"):
        out = tmp_path / f"{canvas}.png"
        code, _, err = cli("families", *arguments, f"canvas={canvas}", f"out={out}")
        assert code == 0, err
        dark[canvas] = (np.asarray(Image.open(out))[26:58, 12:44].max(axis=2) < 20).any()
    assert dark == {"whole": True, "centre": False}


def test_numbers_are_changed_where_the_operation_is(cli) -> None:
    code, out, _ = cli("families", "show=[ventral,dorsal]", "operations.color_jitter.hue=0.3")
    assert code == 0
    assert "hue: 0.3" in out
    code, out, _ = cli("families", "show=[dorsal]", "operations.gaussian_blur.sigma=1.5")
    assert "sigma: [1.5, 1.5]" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out=x.png"], "out: needs show="),
        (["operations.grayscale.p=1"], "operations: needs show="),
        (["show=venral"], "did you mean 'ventral'"),
        (["show=[dorsal]", "out=x.txt"], "out=x.txt: expected a picture"),
        (["show=[dorsal]", "out=x.png", "data.path=nowhere"], "nowhere: no such folder"),
        (
            ["show=[dorsal]", "out=x.png", "canvas=middle"],
            "canvas: Invalid value 'middle', expected one of [whole, centre]",
        ),
        (["show=[dorsal]", "out=x.png", "canvas_size=64"], "canvas_size=64: at least crop_size=128"),
        (["show=[dorsal]", "operations.rotation.p=1"], "operations.rotation: none of the families"),
        (["show=[dorsal]", "operations.color_jitter.p=1.5"], "operations.color_jitter.p=1.5: expected a probability"),
        (["show=[dorsal]", "operations.gaussian_blur.sigma=[2,1]"], "sigma=[2, 1]: the range is upside down"),
        (["show=[dorsal]", "operations.grayscale=0.3"], "operations.grayscale=0.3: expected numbers by name"),
        (["show=[dorsal]", "draws=0"], "draws=0"),
        (["show=[{operations:[rotate]}]"], "show: family.operations[0]: there is no operation 'rotate'"),
    ],
)
def test_bad_input_is_one_line(cli, arguments: list[str], message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("families", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_broken_image_is_named(cli, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    code, _, err = cli("families", "show=[dorsal]", f"data.path={tmp_path}", f"out={tmp_path / 'x.png'}")
    assert code == 2
    assert "broken.jpg: not a readable image" in err
