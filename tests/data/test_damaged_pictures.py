"""Damaged files of every kind that Pillow writes: each is a picture, or one line that names it."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from solo_invariance.data.decoding import decode_scaled, image_size, load_image
from solo_invariance.errors import UserError

_READ = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "AVIF", "JPEG2000", "DIB")
_MODES = ("RGB", "L", "P", "RGBA", "LA", "1", "I;16", "F", "CMYK", "YCbCr")
_OPTIONS = {
    "TIFF": [{"compression": name} for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4")],
    "JPEG": [{}, {"progressive": True}, {"quality": 20, "subsampling": 2}],
    "PNG": [{}, {"interlace": 1}],
    "WEBP": [{}, {"lossless": True}],
    "DDS": [{}, {"pixel_format": "DXT1"}, {"pixel_format": "DXT5"}, {"pixel_format": "BC5"}],
    "ICNS": [],  # is large and slow, and only wraps a PNG
    "PDF": [],  # is no picture
}


def _pictures(kind: str) -> Iterator[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    for mode in _MODES:
        grey = Image.fromarray(pixels[..., 0].astype(np.float32) / 255)
        picture = grey if mode == "F" else Image.fromarray(pixels).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        for options in _OPTIONS.get(kind, [{}]):
            for more in ({}, {"exif": exif}):
                content = io.BytesIO()
                try:
                    picture.save(content, kind, **options, **more)
                except Exception:  # not every kind takes every mode, and Pillow says so in many ways
                    continue
                yield content.getvalue()


def _damaged(whole: bytes, trial: int, generator: np.random.Generator) -> bytes:
    content = bytearray(whole)
    if trial % 3 == 0:
        return bytes(content[: generator.integers(0, len(whole))])
    reach = len(whole) if trial % 3 == 1 else min(len(whole), 120)
    for place in generator.integers(0, reach, generator.integers(1, 6)):
        content[place] ^= 1 << generator.integers(0, 8)
    return bytes(content)


def _refusal(path: Path) -> str | None:
    try:
        picture, size = decode_scaled(str(path), None)
        assert (picture.mode, picture.size) == ("RGB", size)
        decode_scaled(str(path), 8)
        assert image_size(path) == size
        load_image(str(path))
    except UserError as error:
        return str(error)
    return None


def try_damaged(kind: str, path: Path, trials: int, seed: int = 0) -> tuple[int, int]:
    """Read damaged pictures of a kind in every way; return how many were tried and how many of them were refused."""
    generator = np.random.default_rng(seed)
    wholes, refused = [*_pictures(kind)], 0
    for trial in range(trials if wholes else 0):
        path.write_bytes(_damaged(wholes[trial % len(wholes)], trial, generator))
        refusal = _refusal(path)
        if refusal is not None:
            refused += 1
            assert refusal.startswith(f"{path}: ")
            assert "\n" not in refusal
            assert len(refusal) < len(str(path)) + 300
    return len(wholes) and trials, refused


def _kinds() -> list[str]:
    Image.init()
    return sorted(Image.SAVE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", _kinds())
def test_a_damaged_file_is_a_picture_or_one_line(tmp_path: Path, kind: str) -> None:
    tried, refused = try_damaged(kind, tmp_path / "image.png", 24)
    assert refused >= tried / 10
    if kind not in _READ:  # of a kind that no image's extension stands for: some would start other programs
        assert refused == tried


def test_what_pillow_writes_is_read(tmp_path: Path) -> None:
    for kind in set(_READ) & set(Image.SAVE):
        for place, content in enumerate(_pictures(kind)):
            (tmp_path / f"{place}.png").write_bytes(content)
            assert load_image(str(tmp_path / f"{place}.png")).mode == "RGB", (kind, place)
        assert place >= 3, kind
