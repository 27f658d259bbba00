"""Damage to a file's bytes, and other things that may be where a file should be."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

Damage = Callable[[Path, Random], None]


def _truncate(path: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content) + 1)])


def _truncate_near_the_end(path: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - random.randint(1, 64))])


def _flip(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _flip_at_the_start(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 2, 4))):
        content[random.randrange(min(128, len(content)))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _insert(path: Path, random: Random) -> None:
    content = path.read_bytes()
    at = random.randrange(len(content) + 1)
    path.write_bytes(content[:at] + random.randbytes(random.choice((1, 2, 16, 1000))) + content[at:])


def _cut_out(path: Path, random: Random) -> None:
    content = path.read_bytes()
    at = random.randrange(len(content))
    path.write_bytes(content[:at] + content[at + random.choice((1, 2, 16, 1000)) :])


def _zeros(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    at = random.randrange(len(content))
    size = min(random.choice((1, 16, 512)), len(content) - at)
    content[at : at + size] = bytes(size)
    path.write_bytes(content)


def _empty(path: Path, random: Random) -> None:
    path.write_bytes(b"")


def _only_zeros(path: Path, random: Random) -> None:
    path.write_bytes(bytes(4096))


def _noise(path: Path, random: Random) -> None:
    path.write_bytes(random.randbytes(4096))


def _twice(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _utf16(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes().decode(errors="replace").encode("utf-16"))


def _latin(path: Path, random: Random) -> None:
    path.write_bytes(b"\xe9\xff" + path.read_bytes())


def _bom(path: Path, random: Random) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def _carriage_returns(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))


def _html(path: Path, random: Random) -> None:
    path.write_text("<!doctype html><title>404 Not Found</title>", encoding="utf-8")


def _pointer(path: Path, random: Random) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n", encoding="utf-8")


def _another(path: Path, random: Random) -> None:
    """Put a file of another kind there."""
    others = (
        "host/run.ckpt",
        "host/args.json",
        "photos/train/circle/1.png",
        "table.csv",
        "table.npz",
        "scored/transfer.npz",
    )
    top = next(parent for parent in path.parents if (parent / "photos").is_dir() and (parent / "host").is_dir())
    path.write_bytes((top / random.choice(others)).read_bytes())


def _gone(path: Path, random: Random) -> None:
    path.unlink()


def _folder(path: Path, random: Random) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _to_itself(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _pipe(path: Path, random: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to(random.choice(("/dev/null", "/dev/zero", "/dev/full")))


def _parent_to_itself(path: Path, random: Random) -> None:
    """Make a link that leads up out of the folder of the file."""
    shutil.rmtree(path.parent / "loop", ignore_errors=True)
    (path.parent / "loop").symlink_to("..")


DAMAGES: Mapping[str, Damage] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        *(_truncate, _truncate, _truncate_near_the_end, _flip, _flip_at_the_start, _insert, _cut_out, _zeros),
        *(_empty, _only_zeros, _noise, _twice, _utf16, _latin, _bom, _carriage_returns, _html, _pointer, _another),
        *(_gone, _folder, _dangling, _to_itself, _pipe, _device, _parent_to_itself),
    )
}
RANDOM = ("truncate", "flip", "flip at the start", "insert", "cut out", "zeros")
"""Those that differ from time to time."""
