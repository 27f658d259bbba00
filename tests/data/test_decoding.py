"""Kinds of pixels and of metadata: a picture is drawn like its 8-bit one, or refused in one line."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from solo_invariance.data.decoding import decode, decode_scaled, image_size
from solo_invariance.data.images import ImageFiles
from solo_invariance.data.sources import DatasetImages
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas

_RAMP = np.tile(np.linspace(0, 1, 64), (32, 1))
_BYTES = (_RAMP * 255).astype(np.uint8)
_WORDS = (_RAMP * 65535).astype(np.uint16)


def _is_the_ramp(path: Path) -> bool:
    found = np.asarray(decode(str(path))).astype(int)
    return found.shape == (32, 64, 3) and bool((abs(found - _BYTES[..., None]) <= 1).all())


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (_BYTES, {}),
        (_WORDS, {"byteorder": "<"}),
        (_WORDS, {"byteorder": ">"}),
        (_WORDS, {"compression": "zlib", "predictor": True}),
        (_WORDS, {"tile": (16, 16)}),
        (_WORDS, {"bigtiff": True}),
        (65535 - _WORDS, {"photometric": "miniswhite"}),
        (255 - _BYTES, {"photometric": "miniswhite"}),
        (_RAMP.astype(np.float32), {}),
        (1 - _RAMP.astype(np.float32), {"photometric": "miniswhite"}),
        (np.stack([_WORDS] * 3, -1), {"photometric": "rgb"}),
        (np.stack([_BYTES] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.stack([_WORDS] * 3 + [_WORDS * 0 + 65535], -1), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (np.stack([_BYTES, 255 - _BYTES, _BYTES * 0]), {"photometric": "minisblack"}),  # pages: it is the first
    ],
)
def test_a_tiff_of_a_type_with_a_white_is_drawn_like_its_bytes(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    tifffile.imwrite(tmp_path / "ramp.tif", pixels, **options)
    assert _is_the_ramp(tmp_path / "ramp.tif")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ((_RAMP * 65535).astype(np.int32), "signed whole numbers"),
        ((_RAMP * 255).astype(np.int32), "signed whole numbers"),
        ((_RAMP * 32767).astype(np.int16), "signed whole numbers"),
        ((_RAMP * 127).astype(np.int8), "signed whole numbers"),
        ((_RAMP * (2**32 - 1)).astype(np.uint32), "32-bit whole numbers"),
        ((_RAMP * 255).astype(np.float32), r"floating point from 0 to 255, expected \[0, 1\]"),
        ((_RAMP * 65535).astype(np.float32), "floating point from 0 to 65535"),
        ((_RAMP - 0.5).astype(np.float32), r"floating point from -0\.5 to 0\.5"),
        (np.where(_RAMP > 0.5, np.nan, _RAMP).astype(np.float32), "floating point with NaN or infinity"),
        (np.where(_RAMP > 0.5, np.inf, _RAMP).astype(np.float32), "floating point with NaN or infinity"),
        (_RAMP.astype(np.float64), "a broken TIFF, or one of other numbers than 8 or 16 bits"),
        (_RAMP.astype(np.complex64), "a broken TIFF, or one of other numbers than 8 or 16 bits"),
    ],
)
def test_a_tiff_of_which_nothing_says_what_is_white_is_refused(
    tmp_path: Path, pixels: np.ndarray, message: str
) -> None:
    tifffile.imwrite(tmp_path / "ramp.tif", pixels)
    with pytest.raises(UserError, match=rf"^{tmp_path}/ramp\.tif: not a readable image \({message}") as error:
        decode(str(tmp_path / "ramp.tif"))
    assert "\n" not in str(error.value)


def test_sixteen_bits_plane_by_plane_are_refused_as_pillow_reads_half_of_them(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([_WORDS] * 3), photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match="16-bit colours one after the other"):
        decode(str(tmp_path / "a.tif"))


def test_twelve_bits_are_scaled_by_twelve(tmp_path: Path) -> None:
    values = (_RAMP * 4095).astype(np.uint16)
    packed = np.stack(  # two numbers in three bytes
        [values[:, ::2] >> 4, (values[:, ::2] & 15) << 4 | values[:, 1::2] >> 8, values[:, 1::2] & 255], -1
    ).astype(np.uint8)
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    entries = [struct.pack("<HHII", tag, 4 if tag in (273, 278) else 3, 1, value) for tag, value in tags]
    entries.append(struct.pack("<HHII", 279, 4, 1, packed.size))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + packed.size) + packed.tobytes() + directory)
    assert _is_the_ramp(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "header", "pixels"),
    [
        ("a.pgm", b"P5 64 32 65535\n", _WORDS.astype(">u2")),
        ("b.pgm", b"P5 64 32 4095\n", (_RAMP * 4095).astype(">u2")),
        ("c.ppm", b"P6 64 32 65535\n", np.stack([_WORDS] * 3, -1).astype(">u2")),
        ("d.pgm", b"Pf\n64 32\n-1.0\n", _RAMP.astype("<f4")),
    ],
)
def test_wide_portable_maps_are_drawn_like_their_bytes(
    tmp_path: Path, name: str, header: bytes, pixels: np.ndarray
) -> None:
    (tmp_path / name).write_bytes(header + pixels.tobytes())
    assert _is_the_ramp(tmp_path / name)


def test_sixteen_bit_colours_of_a_png_are_drawn_like_their_bytes(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = np.stack([_WORDS] * 3, -1).astype(">u2").reshape(32, -1).view(np.uint8)
    content = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 32, 16, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b""))
    assert _is_the_ramp(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "LAB", "RGBX", "La", "RGBa"])
def test_every_mode_shows_the_same_ramp(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(_BYTES).convert("RGB")
    if mode == "LAB":
        from PIL import ImageCms

        profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        converted = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
        assert converted is not None
        picture = converted
    elif mode in ("La", "RGBa"):  # whose alpha is multiplied in
        tifffile.imwrite(
            tmp_path / "ramp.tif",
            np.stack([_BYTES] * (1 if mode == "La" else 3) + [_BYTES * 0 + 255], -1),
            photometric="minisblack" if mode == "La" else "rgb",
            planarconfig="contig",
            extrasamples=["assocalpha"],
        )
        assert _is_the_ramp(tmp_path / "ramp.tif")
        return
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "ramp.tif")
    assert _is_the_ramp(tmp_path / "ramp.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_shows_white_paper(tmp_path: Path, mode: str) -> None:
    grey = np.full((4, 6), 100, dtype=np.uint8)
    picture: Image.Image = Image.fromarray(grey)
    options = {}
    if mode == "L":
        grey[:, :3] = 7
        picture, options = Image.fromarray(grey), {"transparency": 7}
    elif mode == "P":
        grey[:, :3] = 7
        picture, options = Image.fromarray(grey).convert("P"), {"transparency": 7}
    else:
        picture = picture.convert(mode)
        alpha = np.full((4, 6), 255, dtype=np.uint8)
        alpha[:, :3] = 0
        picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "a.png", **options)
    assert np.asarray(decode(str(tmp_path / "a.png")))[0, :, 0].tolist() == [255] * 3 + [100] * 3


def test_of_an_animation_it_is_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (value, value, value)) for value in (250, 10, 120)]
    for kind in ("GIF", "PNG", "WEBP"):
        content = io.BytesIO()
        frames[0].save(content, kind, save_all=True, append_images=frames[1:])
        (tmp_path / "a.png").write_bytes(content.getvalue())
        assert np.asarray(decode(str(tmp_path / "a.png"))).min() >= 245, kind


def _turned(folder: Path, kind: str, orientation: int) -> tuple[Path, Image.Image]:
    """A picture with an orientation, and what it shows when it is turned, by Pillow's own function."""
    pixels = np.zeros((200, 320, 3), dtype=np.uint8)
    pixels[:80, :160], pixels[120:, 240:] = (255, 60, 60), (60, 60, 255)
    exif = Image.Exif()
    exif[274] = orientation
    path = folder / f"{orientation}.{kind}"
    Image.fromarray(pixels).save(path, kind.upper().replace("JPG", "JPEG"), exif=exif)
    with Image.open(path) as file:
        return path, ImageOps.exif_transpose(file).convert("RGB")


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_on_every_path(tmp_path: Path, kind: str, orientation: int) -> None:
    path, expected = _turned(tmp_path, kind, orientation)
    tensor = torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1)
    assert (expected.width < expected.height) == (orientation >= 5)
    assert image_size(path) == expected.size
    assert np.array_equal(np.asarray(decode(str(path))), np.asarray(expected))
    found = ImageFiles(tmp_path)[0]
    assert torch.equal(found, tensor)  # type: ignore[arg-type]
    canvas = Canvas(64)
    upright = canvas(expected)
    with Image.open(path) as file, Image.open(path) as again:
        assert torch.equal(DatasetImages([file])[0], tensor)  # type: ignore[arg-type]
        # As solo-learn opens the files of a folder without classes.
        by_the_host = canvas(again.convert("RGB"))
    for one in (by_the_host, canvas.load(str(path))):
        assert one.extent == upright.extent
        assert (one.pixels.int() - upright.pixels.int()).abs().float().mean() < 2
    drafted, size = decode_scaled(str(path), 20)
    assert size == expected.size
    assert (drafted.width < drafted.height) == (orientation >= 5)


def test_a_picture_is_turned_once(tmp_path: Path) -> None:
    path, expected = _turned(tmp_path, "jpg", 6)
    assert torch.equal(DatasetImages([decode(str(path))])[0], DatasetImages([expected])[0])  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_a_broken_orientation_is_none(tmp_path: Path) -> None:
    for number, block in enumerate(
        (b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1")
    ):
        Image.fromarray(_BYTES).save(tmp_path / f"{number}.jpg", exif=block)
        assert decode(str(tmp_path / f"{number}.jpg")).size == (64, 32)


def test_bombs_end_in_one_line_and_little_memory(tmp_path: Path) -> None:
    script = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("read_bombs.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (script.returncode, script.stderr) == (0, "")
    names = ("a.png", "b.tif", "c.gif.png", "d.bmp", "e.ppm", "f.tif", "g.pgm")
    *lines, megabytes = script.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [str(tmp_path / name) for name in names]
    assert all(len(line) < len(str(tmp_path)) + 300 for line in lines)
    assert sum("make the picture smaller first" in line for line in lines) == 5
    assert int(megabytes) < 500


def test_what_libtiff_complains_of_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for compression in ("tiff_lzw", "tiff_deflate"):
        path = tmp_path / f"{compression}.tif"
        Image.fromarray(_BYTES).save(path, compression=compression)
        content = path.read_bytes()
        path.write_bytes(content[:10] + b"\xff" * 60 + content[70:])
        with pytest.raises(UserError, match=rf"{compression}\.tif: not a readable image"):
            decode(str(path))
    assert capfd.readouterr() == ("", "")  # not by libtiff itself, on the standard error of the process


def test_an_empty_file_and_one_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.png", b"", r"not a readable image \(it is empty\)"),
        ("b.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"of none of the kinds .*JPEG"),
        ("c.png", b"DDS " + bytes(120), "of none of the kinds"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: .*{message}"):
            decode(str(tmp_path / name))
    with pytest.raises(UserError, match=r"gone\.png: cannot be read \(No such file or directory\)"):
        decode(str(tmp_path / "gone.png"))
