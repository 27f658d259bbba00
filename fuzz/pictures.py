"""Pictures of every format that Pillow writes, damaged, as the data of commands; and pictures that are traps."""

import io
import struct
import zlib
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from fuzz.bytes_damage import DAMAGES
from fuzz.case import Case
from fuzz.world import FAMILIES, MEASURE, OWN, TRANSFER, VIEWS, picture

_MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "LA", "I;16", "I", "F", "YCbCr", "HSV", "LAB")
_DAMAGES = (
    "as it is",
    "truncate",
    "truncate near the end",
    "flip",
    "flip at the start",
    "insert",
    "cut out",
    "zeros",
    "empty",
)
_COMMANDS = (
    (MEASURE, "photos/train/circle/1.png"),
    (TRANSFER, "photos/train/circle/1.png"),
    (FAMILIES, "photos/test/circle/1.png"),
    (VIEWS, "views/g1/1.png"),
    (OWN, "photos/train/circle/1.png"),
)


def picture_cases() -> list[Case]:
    """Return a case for every format that can be written, mode and damage, with the commands in turn."""
    Image.init()
    kinds = [
        (extension, mode)
        for extension, writer in sorted(Image.EXTENSION.items())
        if writer in Image.SAVE
        for mode in _MODES
    ]
    pictures = [
        (f"{mode} as {extension}, {name}", partial(_damaged, extension, mode, name))
        for extension, mode in kinds
        for name in _DAMAGES
    ]
    traps = [(name, partial(_trap, content)) for name, content in sorted(_traps().items())]
    found = []
    for number, (title, put) in enumerate(pictures):
        found.append(_case(title, put, *_COMMANDS[number % len(_COMMANDS)]))
    for title, put in traps:
        found += [_case(title, put, command, path) for command, path in _COMMANDS]
    return found


def _case(title: str, put: Any, command: tuple[str, ...], path: str) -> Case:
    name = Path(path)
    return Case(
        "pictures",
        f"{title}, for {command[0]}",
        command,
        (name.name, name.stem, name.parent.name),
        partial(_prepare, put, path),
    )


def _prepare(put: Any, path: str, work: Path, random: Random) -> None:
    put(work / path, random)


def _damaged(extension: str, mode: str, damage: str, path: Path, random: Random) -> None:
    """Write a picture with the extension's writer, by the extension if it is one that commands read, and damage it."""
    content = io.BytesIO()
    image = picture(random.randrange(1000))
    try:
        converted = image.convert("L").convert(mode) if mode in ("I", "F", "I;16", "1", "LA") else image.convert(mode)
        converted.save(content, Image.EXTENSION[extension])
    except Exception:  # not every format has every mode
        content = io.BytesIO()
        image.save(content, "PNG")
    path.write_bytes(content.getvalue())
    named = path.with_suffix(extension)
    if damage != "as it is":
        DAMAGES[damage](path, random)
    if random.random() < 0.5:
        path.rename(named)


def _trap(content: bytes, path: Path, random: Random) -> None:
    path.write_bytes(content)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, pixels: bytes = b"", *further: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), *further, _chunk(b"IDAT", zlib.compress(pixels)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _traps() -> dict[str, bytes]:
    text = zlib.compress(bytes(50_000_000))
    return {
        "a bomb of 400 megapixels": _png(20_000, 20_000, bytes(1000)),
        "a bomb of 10^18 pixels": _png(2**30, 2**30),
        "150 megapixels, which are there": _png(15_000, 10_000, bytes(15_000 * 3 + 1) * 200),
        "no width": _png(0, 10),
        "one pixel": _png(1, 1, bytes(4)),
        "one row": _png(3000, 1, bytes(9001)),
        "a chunk of text that is a bomb": _png(4, 4, bytes(52), _chunk(b"zTXt", b"Comment\x00\x00" + text)),
        "a colour profile that is none": _png(4, 4, bytes(52), _chunk(b"iCCP", b"x\x00\x00" + zlib.compress(b"nope"))),
        "an Exif block that is none": _png(4, 4, bytes(52), _chunk(b"eXIf", b"MM\x00\x2a\xff\xff\xff\xff")),
        "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(canary)(w)file\nshowpage\n",
        "a page": b"<!doctype html><title>not found</title>",
    }
