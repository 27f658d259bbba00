"""Folders of very many small files: how long it takes to list and to hash them, and how much memory."""

import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from benchmarks.rows import Row, judged
from benchmarks.running import Step
from solo_invariance.data.latent_scenes import LatentScenes

_IN_A_FOLDER = 1000
_SCRIPT = """
import json, sys, time
from pathlib import Path
from solo_invariance.data.images import ImageFiles
from solo_invariance.features import digests_of

def megabytes():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1000

before, begun = megabytes(), time.perf_counter()
files = ImageFiles(sys.argv[1])
listed = time.perf_counter()
digests = digests_of(files)
hashed = time.perf_counter()
print(json.dumps([len(set(digests)), listed - begun, hashed - listed, megabytes() - before]))
"""
_PEER = """
import json, sys, time
from torchvision.datasets import ImageFolder
begun = time.perf_counter()
print(json.dumps([len(ImageFolder(sys.argv[1])), time.perf_counter() - begun]))
"""


@dataclass(frozen=True)
class ManyFiles(Row):
    """Small images in folders of a thousand, listed and hashed in a process of its own.

    Args:
        images: JPEGs of about a kilobyte, all different.
        listing: Seconds until their paths are known.
        hashing: Seconds until their digests are, with four threads.
        megabytes: Of memory that this took, beyond the imports.
        peer_listing: Seconds that torchvision's ``ImageFolder`` takes to list them.
        target: The most seconds aimed for, listing and hashing together.
        memory_target: The most bytes an image aimed for.
    """

    title: ClassVar[str] = "Folders of many small files"
    images: int
    listing: float
    hashing: float
    megabytes: float
    peer_listing: float
    target: float
    memory_target: float = 1000

    def met(self) -> bool:
        """Return whether it takes no longer, and no more memory, than is aimed for."""
        return self.listing + self.hashing <= self.target and self._bytes_an_image <= self.memory_target

    @property
    def _bytes_an_image(self) -> float:
        return 1e6 * self.megabytes / self.images

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "images": str(self.images),
            "list": f"{self.listing:.1f} s",
            "torchvision lists": f"{self.peer_listing:.1f} s",
            "hash": f"{self.hashing:.1f} s",
            "both, target": judged(f"{self.target:.0f} s", self.met()),
            "MB": f"{self.megabytes:.0f}",
            "bytes an image": f"{self._bytes_an_image:.0f}",
        }


def steps(quick: bool) -> list[Step]:
    return [Step("folders of many small files", 15 if quick else 90, lambda: _many_files(quick))]


def _many_files(quick: bool) -> Iterator[ManyFiles]:
    for count in (2_000,) if quick else (200_000,):
        root = Path(tempfile.mkdtemp())
        try:
            write_small_files(root, count)
            distinct, listing, hashing, megabytes = _run(_SCRIPT, root)
            listed, peer_listing = _run(_PEER, root)
            if not distinct == listed == count:
                raise RuntimeError(f"{count} images, of which {distinct} are known and torchvision lists {listed}")
            yield ManyFiles(count, listing, hashing, megabytes, peer_listing, target=count / 10_000)
        finally:
            shutil.rmtree(root)


def _small_jpegs() -> list[bytes]:
    found = []
    for pixels in LatentScenes(64, size=32).images.permute(0, 2, 3, 1).numpy():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG")
        found.append(content.getvalue())
    return found


def write_small_files(root: Path, count: int) -> None:
    """Write so many JPEGs of 32 pixels, no two alike, to folders of a thousand each in ``root``."""
    content = _small_jpegs()
    for index in range(count):
        folder = root / f"class{index // _IN_A_FOLDER:04}"
        if index % _IN_A_FOLDER == 0:
            folder.mkdir(parents=True)
        # What follows a JPEG's end is no part of the picture, and makes the file another one.
        (folder / f"{index:06}.jpg").write_bytes(content[index % len(content)] + index.to_bytes(8, "little"))


def _run(script: str, root: Path) -> list[float]:
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found
