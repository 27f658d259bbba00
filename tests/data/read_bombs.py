"""Small files of huge pictures, read with little memory; prints the errors, and by how many megabytes the peak grew."""

import resource
import struct
import sys
import zlib
from pathlib import Path

_SIDE = 60_000


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png() -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


def _tiff(side: int, rows: int, tile: int | None = None) -> bytes:
    content = zlib.compress(bytes(1000)).ljust(24, b"\0")
    parts = [(322, tile), (323, tile), (324, 8), (325, 20)] if tile else [(273, 8), (278, rows), (279, 20)]
    tags = sorted([(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), *parts])
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(content))
    return head + content + struct.pack("<H", len(tags)) + entries + bytes(4)


BOMBS = {
    "a.png": _png(),
    "b.tif": _tiff(_SIDE, _SIDE),
    "c.gif.png": b"GIF89a" + b"\xff" * 4 + b"\0\0\0,\0\0\0\0" + b"\xff" * 4 + b"\0\2\0;",
    "d.bmp": b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, _SIDE, _SIDE, 1, 24, 0, 0, 0, 0, 0, 0),
    "e.ppm": b"P5 60000 60000 255 ",
    # Small pictures that say of their parts that these are huge.
    "f.tif": _tiff(10, 10, tile=_SIDE),
    "g.pgm": b"P5 " + b"9" * 5000 + b" 1 255 ",
}


def main(folder: Path) -> None:
    from solo_invariance.data.decoding import decode
    from solo_invariance.errors import UserError

    before = _peak()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    for name, content in BOMBS.items():
        (folder / name).write_bytes(content)
        try:
            decode(str(folder / name))
        except UserError as error:
            print(error)
    print(_peak() - before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


if __name__ == "__main__":
    main(Path(sys.argv[1]))
