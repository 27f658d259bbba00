from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import Split, TaskSettings
from solo_invariance.transfer.tasks.table import table

TEN = [f"{index}.png" for index in range(10)]


@pytest.fixture
def root(tmp_path: Path, grey: Callable[[Path, int], None]) -> Path:
    """Ten images, each of one grey value: twenty times its number."""
    for index, name in enumerate(TEN):
        grey(tmp_path / name, 20 * index)
    return tmp_path


def _csv(root: Path, header: str, rows: list[str]) -> None:
    (root / "targets.csv").write_text("\n".join([header, *rows]) + "\n")


def _settings(root: Path | None, targets: Any = "targets.csv", seed: int = 2, **options: Any) -> TaskSettings:
    return TaskSettings(path=root and str(root), seed=seed, options={"targets": targets, **options})


def _numbers(split: Split) -> list[int]:
    return [int(split.images[row][0, 0, 0]) // 20 for row in range(len(split.images))]  # type: ignore[index]


def _refused(settings: TaskSettings, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        table.load(settings)
    assert "\n" not in str(error.value)


def test_one_column_of_whole_numbers_is_classes(root: Path) -> None:
    _csv(root, "image,kind", [f"{name},{7 if index % 2 else -3}" for index, name in enumerate(TEN)])
    train, test = table.load(_settings(root))
    assert sorted(_numbers(train) + _numbers(test)) == list(range(10))
    assert test.targets.bincount().tolist() == [2, 2]
    for split in (train, test):
        assert split.targets.tolist() == [number % 2 for number in _numbers(split)]
        assert split.targets.dtype == torch.int64
    resolved = table.resolve(_settings(root))
    assert (resolved.kind, resolved.metric) == ("classification", "accuracy")


def test_words_are_classes_and_the_splits_column_is_kept(root: Path) -> None:
    splits = ["train"] * 5 + ["val"] + ["test"] * 4
    _csv(root, "split,animal,file", [f"{splits[i]},{('cat', 'dog')[i % 2]},{TEN[i]}" for i in range(10)])
    train, test = table.load(_settings(root, image="file"))
    assert (_numbers(train), _numbers(test)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])
    assert test.targets.tolist() == [0, 1, 0, 1]


def test_several_columns_of_0_and_1_are_labels(root: Path) -> None:
    _csv(root, "image,red,round", [f"{TEN[i]},{i % 2},{i < 5}" for i in range(10)])
    train, _ = table.load(_settings(root))
    assert train.targets.dtype == torch.bool
    assert train.targets.tolist() == [[bool(number % 2), number < 5] for number in _numbers(train)]
    assert table.resolve(_settings(root)).metric == "mean_average_precision"
    chosen = _settings(root, columns="red")
    assert (table.resolve(chosen).kind, table.load(chosen)[0].targets.shape) == ("classification", (6,))
    chosen = _settings(root, columns=["red"], kind="multilabel")
    assert (table.resolve(chosen).kind, table.load(chosen)[0].targets.shape) == ("multilabel", (7, 1))


def test_other_numbers_are_regressed(root: Path) -> None:
    # The first column is that of the images where none has the name; the table has a byte-order mark and blank lines.
    lines = [f'"{TEN[i]}", {i}, {i / 4}, {1e3 * i:.1e}' for i in range(10)]
    (root / "targets.csv").write_text("\ufeffname,a,b,c\n\n" + "\n\n".join(lines), encoding="utf-8")
    train, test = table.load(_settings(root))
    assert (len(train.images), len(test.images)) == (7, 3)
    for split in (train, test):
        assert split.targets.tolist() == [[n, n / 4, 1e3 * n] for n in _numbers(split)]
    assert table.resolve(_settings(root)).kind == "regression"
    assert table.load(_settings(root, columns=["c", "a"]))[0].targets.tolist() == [
        [1e3 * n, n] for n in _numbers(train)
    ]
    assert table.load(_settings(root, columns=["a"], kind="regression"))[0].targets.shape == (7, 1)
    assert _numbers(table.load(_settings(root, seed=3))[1]) != _numbers(test)


def test_the_kind_may_be_chosen(root: Path) -> None:
    _csv(root, "image,size", [f"{name},{('0.5', '2_1', 'nan')[index % 3]}" for index, name in enumerate(TEN)])
    train, _ = table.load(_settings(root, kind="classification"))
    assert train.targets.tolist() == [number % 3 for number in _numbers(train)]
    assert table.resolve(_settings(root, kind="classification")).kind == "classification"


@pytest.mark.parametrize("pixels", [False, True])
def test_landmarks_follow_their_images(root: Path, pixels: bool, mark, find) -> None:  # type: ignore[no-untyped-def]
    points = [(90.0, 40.0), (51.25, 63.5), (75.0, 75.0), (60.0, 30.0)]
    sizes = [(151, 97)] * 4 if pixels else [(151, 97), (97, 151), (149, 150), (131, 71)]
    for index, (size, point) in enumerate(zip(sizes, points, strict=True)):
        mark(root / "marked" / f"{index}.png", size, point)
    if pixels:
        from PIL import Image

        images = np.stack([np.asarray(Image.open(root / "marked" / f"{index}.png")) for index in range(4)])
        np.savez(root / "targets.npz", images=images, targets=np.array(points)[:, None])
        settings = _settings(None, str(root / "targets.npz"), points=True)
    else:
        _csv(root, "image,x,y", [f"{index}.png,{x},{y}" for index, (x, y) in enumerate(points)])
        settings = _settings(root / "marked", str(root / "targets.csv"), points=True)
    for split in table.load(settings):
        for row in range(len(split.images)):
            assert find(split, row, 224) == pytest.approx(split.targets[row].tolist(), abs=0.1)
    assert table.resolve(settings).kind == "regression"


def test_points_of_whole_numbers_0_and_1_are_no_labels(root: Path) -> None:
    _csv(root, "image,x,y", [f"{name},0,1" for name in TEN])
    assert table.resolve(_settings(root, points=True)).kind == "regression"
    train, _ = table.load(TaskSettings(str(root), crop_size=12, options={"targets": "targets.csv", "points": True}))
    assert train.targets.tolist() == [[0.5 - 2, 2.5]] * 7  # twice as large, less two columns on the left


def test_an_archive_of_arrays_has_names_or_pixels(root: Path) -> None:
    values = np.random.default_rng(0).random((10, 2, 2))
    np.savez(root / "targets.npz", images=np.array(TEN), targets=values, split=np.arange(10) % 2)
    train, test = table.load(_settings(root, "targets.npz"))
    assert (_numbers(train), _numbers(test)) == ([0, 2, 4, 6, 8], [1, 3, 5, 7, 9])
    assert test.targets.numpy() == pytest.approx(values[1::2].reshape(5, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 5, 7, 3), dtype=np.uint8)
    splits = np.array(["train"] * 6 + ["test"] * 4)
    np.savez(root / "pixels.npz", images=pixels, age=np.arange(10.0), breed=np.array([*"abababaaab"]), split=splits)
    settings = _settings(None, str(root / "pixels.npz"), columns=["breed"])
    train, test = table.load(settings)
    assert test.targets.tolist() == [0, 0, 0, 1]
    assert torch.equal(test.images[1], torch.from_numpy(pixels[7]).permute(2, 0, 1))  # type: ignore[arg-type]
    assert table.resolve(settings).kind == "classification"
    train, _ = table.load(_settings(None, str(root / "pixels.npz"), columns=["age"]))
    assert train.targets.tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]


def test_labels_in_an_archive(root: Path) -> None:
    np.savez(root / "targets.npz", images=np.array(TEN), targets=np.eye(10, 3, dtype=bool))
    assert table.resolve(_settings(root, "targets.npz")).kind == "multilabel"
    train, _ = table.load(_settings(root, "targets.npz"))
    assert train.targets.tolist() == np.eye(10, 3, dtype=bool)[_numbers(train)].tolist()


def test_images_are_drawn_from_the_splits(root: Path) -> None:
    _csv(root, "image,kind", [f"{name},{index % 2}" for index, name in enumerate(TEN)])
    settings = TaskSettings(str(root), num_train=4, num_test=2, options={"targets": "targets.csv"})
    train, test = table.load(settings)
    assert (train.targets.bincount().tolist(), test.targets.bincount().tolist()) == ([2, 2], [1, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": None}, r"task\.options\.targets=None: expected the name of a CSV or NPZ file"),
        ({"targets": "other.csv"}, r"task\.options\.targets: no such file, neither other\.csv nor .*other\.csv"),
        ({"column": ["a"]}, r"task\.options\.column: this task reads the options targets, columns,"),
        ({"columns": []}, r"task\.options\.columns=\[\]: expected a list"),
        ({"columns": 3.5}, r"task\.options\.columns=3\.5: expected a list"),
        ({"columns": ["b"]}, r"targets\.csv: no column 'b', there are image, a"),
        ({"columns": ["a", "a"]}, r"targets\.csv: column 'a' is asked for twice"),
        ({"columns": ["image"]}, r"targets\.csv: column 'image' is asked for twice"),
        ({"image": "b"}, r"targets\.csv: no column 'b'"),
        ({"image": 1.5}, r"task\.options\.image=1\.5: expected the name of a column"),
        ({"split": "b"}, r"targets\.csv: no column 'b'"),
        ({"kind": "words"}, r"task\.options\.kind='words': expected classification, multilabel, regression"),
        ({"points": "yes"}, r"task\.options\.points='yes': expected true or false"),
        ({"points": True, "kind": "multilabel"}, r"task\.options\.points=True: .* true only for a regression"),
        ({"points": True}, r"targets\.csv: 1 columns, expected x and y of each point"),
        ({"kind": "multilabel"}, r"targets\.csv: line 4, column 'a': 2, expected 0 or 1 for a label"),
    ],
)
def test_options_that_do_not_fit_are_named(root: Path, options: dict[str, Any], message: str) -> None:
    _csv(root, "image,a", [f"{name},{index % 3}" for index, name in enumerate(TEN[:9])])
    _refused(_settings(root, **options), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty, expected a header"),
        ("image,a\n", "no rows, expected one for each image"),
        ("image\n0.png\n", "no columns of targets"),
        ("image,a,a\n0.png,1,2\n", "two columns are called 'a'"),
        ("image,a\n0.png,1\n1.png\n", "line 3 has 1 cells, expected 2"),
        ('image,a\n0.png,"1\n', "not a readable CSV file"),
        ("image,a\n0.png,1\n1.png,\n", "line 3, column 'a': empty"),
        ("image,a\n0.png,1\n,1\n", "line 3, column 'image': empty"),
        ("image,a\n0.png,1\n1.png,2\n2.png,x\n", "line 4, column 'a': 'x' is not a number, as others"),
        ("image,a\n0.png,x\n1.png,y\n2.png,1.5\n", "line 4, column 'a': '1.5' is a number, but others"),
        ("image,a\n0.png,0.5\n1.png,nan\n", r"line 3, column 'a': not finite \(NaN or inf\)"),
        ("image,a\n0.png,0.5\n1.png,1e999\n", r"line 3, column 'a': not finite \(NaN or inf\)"),
        ("image,a,b\n0.png,1,x\n1.png,0,y\n", "line 2, column 'b': 'x' is not a number"),
        ("image,a\n0.png,1\n10.png,1\n", r"line 3: no such image, .*10\.png"),
        ("image,a\n0.png,1\n1.png,1\n./0.png,1\n", r"image \./0\.png is there twice, in line 2 and line 4"),
        ("image,split,a\n0.png,train,1\n0.png,test,1\n", r"image 0\.png is in both splits, in line 2 and line 3"),
        ("image,split,a\n0.png,train,1\n1.png,holdout,1\n", "line 3: split 'holdout', expected one of train, val"),
        ("image,split,a\n0.png,train,1\n1.png,Training,1\n", "all 2 rows are of one split, none is for test"),
        ("image,split,a\n0.png,train,1\n1.png,test,2\n", "line 3, column 'a': class '2' is only in the test split"),
        (
            "image,a\n0.png,1\n1.png,1\n2.png,2\n",
            "line 4, column 'a': the only image of class '2', expected",
        ),
        ("image,a\n0.png,0.5\n", "one row, expected at least two"),
    ],
)
def test_tables_that_do_not_fit_are_named_with_row_and_column(root: Path, content: str, message: str) -> None:
    (root / "targets.csv").write_text(content)
    _refused(_settings(root), rf"^{root}/targets\.csv: {message}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"targets": np.arange(10)}, "no column 'images', there are targets"),
        ({"images": np.array(TEN), "targets": np.arange(9)}, r"'targets' is int64 of shape \(9,\), expected"),
        ({"images": np.array(TEN), "targets": np.array(5)}, r"'targets' is int64 of shape \(\), expected"),
        ({"images": np.zeros((10, 4, 4)), "targets": np.arange(10)}, r"'images' is float64 of shape \(10, 4, 4\)"),
        (
            {"images": np.array(TEN, dtype=object), "targets": np.arange(10)},
            "cannot be read, truncated or no file of arrays",
        ),
        ({"images": np.array(TEN), "targets": np.full((10, 2), np.inf)}, r"row 0, column 'targets\[0\]': not finite"),
        ({"images": np.array(TEN), "targets": np.arange(10), "split": np.eye(10)}, r"'split' is float64 of shape"),
        (
            {"images": np.array(TEN), "targets": np.arange(10), "split": np.full(10, 3)},
            "row 0: split '3'",
        ),
        ({"images": np.array([]).astype(str), "targets": np.array([])}, "no rows"),
    ],
)
def test_archives_that_do_not_fit_are_named(root: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(root / "targets.npz", **arrays)  # type: ignore[arg-type]
    _refused(_settings(root, "targets.npz"), rf"^{root}/targets\.npz: {message}")


@pytest.mark.parametrize("content", [b"", b"PK no archive", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00"])
def test_a_broken_archive_is_named(root: Path, content: bytes) -> None:
    (root / "targets.npz").write_bytes(content)
    _refused(_settings(root, "targets.npz"), r"targets\.npz: cannot be read, truncated or no file of arrays")


def test_one_array_is_no_archive(root: Path) -> None:
    np.save(root / "targets.npy", np.arange(10))
    (root / "targets.npy").rename(root / "targets.npz")
    _refused(_settings(root, "targets.npz"), r"targets\.npz: cannot be read, truncated or no file of arrays")


def test_names_of_images_need_their_folder(root: Path) -> None:
    _csv(root, "image,a", [f"{name},1" for name in TEN])
    _refused(_settings(None, str(root / "targets.csv")), r"task\.path is not set, expected the folder of the images")


def test_several_columns_cannot_be_classes(root: Path) -> None:
    _csv(root, "image,a,b", [f"{name},1,2" for name in TEN])
    _refused(_settings(root, kind="classification"), r"columns a, b, expected one column of classes")


_ROWS = [f"{name},{'abc'[index % 3]}" for index, name in enumerate(TEN[:9])]


def _resolved(settings: TaskSettings) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    task = table.resolve(settings)
    return task.kind, tuple(task.columns), tuple(task.remarks)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("", range(9)),
        ("", [3, 17, 4, 99, 5, 8, 0, 41, 12]),
        ("Unnamed: 0", range(9)),
        ("Unnamed: 0", range(100, 109)),
        ("index", range(9)),
        ("Index", range(1, 10)),
        ("id", range(9)),
    ],
)
def test_a_column_that_numbers_the_rows_is_no_target_and_is_spoken_of(root: Path, name: str, numbers) -> None:  # type: ignore[no-untyped-def]
    _csv(root, f"{name},image,label", [f"{n},{row}" for n, row in zip(numbers, _ROWS, strict=True)])
    kind, columns, remarks = _resolved(_settings(root))
    assert (kind, columns) == ("classification", ("label",))
    assert remarks == (f"column {name!r} numbers the rows and is no target",)
    train, test = table.load(_settings(root))
    assert sorted(_numbers(train) + _numbers(test)) == list(range(9))
    if name:
        asked = _settings(root, columns=[name], kind="regression")
        assert _resolved(asked) == ("regression", (name,), ())


def test_a_target_that_numbers_the_rows_by_another_name_stays_one_and_is_spoken_of(root: Path) -> None:
    _csv(root, "image,frame,height", [f"{name},{i},{i / 2}" for i, name in enumerate(TEN)])
    kind, columns, remarks = _resolved(_settings(root))
    assert (kind, columns) == ("regression", ("frame", "height"))
    assert remarks == ("column 'frame' is a target, though it numbers the rows",)
    _csv(root, "image,index", [f"{name},{i % 4}" for i, name in enumerate(TEN)])
    assert _resolved(_settings(root)) == ("classification", ("index",), ())


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            "image,index",
            "{i}.png,{i}",
            "column 'index' numbers the rows, and there is no other of targets; .*='index'|",
        ),
        (",image", "{i},{i}.png", "column '' numbers the rows, and there is no other"),
        ("image,label,", "{i}.png,{i},x", "column '' has no name, and is no row number: name it"),
        ("Unnamed: 0,image,label", "7,{i}.png,{i}", "column 'Unnamed: 0' has no name, and is no row number"),
        (",image,", "{i},{i}.png,{i}", "two columns have no name"),
    ],
)
def test_columns_that_say_too_little_are_refused(root: Path, header: str, row: str, message: str) -> None:
    _csv(root, header, [row.format(i=i) for i in range(10)])
    _refused(_settings(root), rf"targets\.csv: {message}")


@pytest.mark.parametrize("place", [0, 1])
def test_a_table_without_a_header_keeps_its_first_row(root: Path, place: int) -> None:
    rows = [row if place == 0 else ",".join(reversed(row.split(","))) for row in _ROWS]
    _csv(root, rows[0], rows[1:])
    train, test = table.load(_settings(root))
    assert sorted(_numbers(train) + _numbers(test)) == list(range(9))
    kind, columns, remarks = _resolved(_settings(root))
    assert (kind, columns) == ("classification", (f"column {2 - place}",))
    assert remarks == ("the first line names an image: there is no header",)
    assert _resolved(_settings(root, columns=[f"column {2 - place}"]))[0] == "classification"


@pytest.mark.parametrize(
    "names",
    [
        ("7", "007", "+7"),
        ("1", "1.0", "01"),
        ("NA", "None", "nan"),
        ("inf", "-inf", "cat"),
        ("12345678901234567890", "12345678901234567891", "12345678901234567892"),
        ("1e5", "100000", "100000.0"),
    ],
)
def test_classes_are_told_apart_as_they_are_written(root: Path, names: tuple[str, ...]) -> None:
    _csv(root, "image,label", [f"{name},{names[index % 3]}" for index, name in enumerate(TEN[:9])])
    chosen = {} if "." not in "".join(names) else {"kind": "classification"}
    train, test = table.load(_settings(root, **chosen))
    classes = {number % 3: target for split in (train, test) for number, target in _pairs(split)}
    assert sorted(classes.values()) == [0, 1, 2]
    assert all(classes[number % 3] == target for split in (train, test) for number, target in _pairs(split))


def _pairs(split: Split) -> list[tuple[int, int]]:
    return list(zip(_numbers(split), split.targets.tolist(), strict=True))


def test_classes_that_are_numbers_are_in_their_order(root: Path) -> None:
    _csv(root, "image,label", [f"{name},{(10, 9, -3)[index % 3]}" for index, name in enumerate(TEN[:9])])
    for split in table.load(_settings(root)):
        assert all(target == (2, 1, 0)[number % 3] for number, target in _pairs(split))


@pytest.mark.parametrize(
    "content",
    [
        "{0};{1}",
        "{0}\t{1}",
        "{0}|{1}",
        "{0} {1}",
        "{0}, {1}",
        '"{0}", "{1}"',
        "{0},{1},",
        "{0},{1},,,",
        "{0},{1}\r",
        "{0},{1}\n",
        "{0},{1}\n,,",
        '{0},"{1}\n"',
    ],
)
@pytest.mark.parametrize("start", ["", "\ufeff", "# a comment; with, signs\n", "sep={sep}\n", "\n\n"])
def test_tables_are_read_however_they_are_written(root: Path, content: str, start: str) -> None:
    cells = [("image", "label"), *(tuple(row.split(",")) for row in _ROWS)]
    delimiter = next((sign for sign in ";\t| " if sign in content and "," not in content), ",")
    text = start.format(sep=delimiter) + "\n".join(content.format(*row) for row in cells) + "\n"
    (root / "targets.csv").write_bytes(text.encode())
    train, test = table.load(_settings(root))
    assert sorted(_numbers(train) + _numbers(test)) == list(range(9))
    assert all(target == number % 3 for split in (train, test) for number, target in _pairs(split))
    assert _resolved(_settings(root)) == ("classification", ("label",), ())


def test_utf_16_is_read_by_its_byte_order_mark_and_other_bytes_are_refused(root: Path) -> None:
    text = "größe;image\n" + "\n".join(f"{index / 2};{name}" for index, name in enumerate(TEN))
    for encoding in ("utf-16", "utf-8", "utf-8-sig"):
        (root / "targets.csv").write_bytes(text.encode(encoding))
        assert _resolved(_settings(root))[:2] == ("regression", ("größe",))
    (root / "targets.csv").write_bytes(text.encode("latin-1"))
    _refused(_settings(root), r"targets\.csv: line 1 is no UTF-8 text: save the table as CSV in UTF-8")
    (root / "targets.csv").write_bytes(text.encode("utf-16-le"))
    _refused(_settings(root), r"targets\.csv: .*no UTF-8 text|no text in UTF-8")


def test_a_delimiter_that_cannot_be_told_is_asked_for(root: Path) -> None:
    (root / "targets.csv").write_text("image;a,b\n" + "".join(f"{name};1,{i % 2}\n" for i, name in enumerate(TEN)))
    _refused(_settings(root), r"targets\.csv: ',' and ';' delimit cells alike; say which by task\.options\.delimiter")
    assert _resolved(_settings(root, delimiter=";", kind="classification"))[:2] == ("classification", ("a,b",))
    _refused(_settings(root, delimiter="::"), r"task\.options\.delimiter='::': expected one of ',', ';', 'tab'")
    (root / "targets.csv").write_text("image\ta\n" + "".join(f"{name}\t{i % 2}\n" for i, name in enumerate(TEN)))
    assert _resolved(_settings(root, delimiter="tab"))[:2] == ("classification", ("a",))


def test_decimal_commas_are_refused(root: Path) -> None:
    for cells in (("0,5", "1,5"), ("0,5", "1"), ("0.5", "1,5")):
        rows = [f"{name};{cells[i % 2]}" for i, name in enumerate(TEN)]
        _csv(root, "image;size", rows)
        _refused(_settings(root), r"column 'size': '\d,5': numbers are written with a point, 0\.5")
    assert _resolved(_settings(root, kind="classification"))[0] == "classification"


@pytest.mark.parametrize("ending", [".json", ".xlsx", ".npy", ".parquet"])
def test_other_formats_are_refused_by_name(root: Path, ending: str) -> None:
    (root / f"targets{ending}").write_text("{}")
    _refused(_settings(root, f"targets{ending}"), rf"expected a CSV file or an NPZ file, not {ending}")


def test_images_are_found_by_what_their_column_has(root: Path) -> None:
    (root / "sub").mkdir()
    for name in TEN:
        (root / name).rename(root / "sub" / name)
    for written in ("sub/{i}.png", "sub\\{i}.png", "sub/{i}", f"{root}/sub/{{i}}.png"):
        rows = [f"{i % 2},{written.format(i=i)}" for i in range(10)]
        for header in ("label,Image", "label,FileName"):
            _csv(root, header, rows)
            train, test = table.load(_settings(root))
            assert sorted(_numbers(train) + _numbers(test)) == list(range(10))
            assert _resolved(_settings(root))[:2] == ("classification", ("label",))
    mixed = [f"{root if i % 2 else '.'}/sub/{i}.png,{i % 2}" for i in range(10)]
    _csv(root, "where,label", mixed)
    assert sum(len(split.images) for split in table.load(_settings(root))) == 10


def test_an_id_without_an_ending_is_an_image(root: Path) -> None:
    _csv(root, "label,id", [f"{i % 2},{i}" for i in range(10)])
    train, test = table.load(_settings(root))
    assert sorted(_numbers(train) + _numbers(test)) == list(range(10))
    assert _resolved(_settings(root))[:2] == ("classification", ("label",))


def test_an_image_that_is_there_by_two_names_is_there_twice(root: Path) -> None:
    _csv(root, "image,label", [*(f"{name},1" for name in TEN), "3,1"])
    _refused(_settings(root), r"image 3 is there twice, in line 5 and line 12")


def test_numbers_keep_all_their_digits(root: Path) -> None:
    _csv(root, "image,t", [f"{name},{10**9 + i / 1024}" for i, name in enumerate(TEN)])
    for split in table.load(_settings(root)):
        assert split.targets[:, 0].tolist() == [10**9 + number / 1024 for number in _numbers(split)]
    _csv(root, "image,t", [f"{name},{2**60 + i // 2}" for i, name in enumerate(TEN)])
    assert table.load(_settings(root))[0].targets.unique().tolist() == [0, 1, 2, 3, 4]
    _refused(_settings(root, kind="regression"), "column 't': whole numbers that 64-bit floating point merges")
    np.savez(root / "targets.npz", images=np.array(TEN), targets=2**60 + np.arange(10) // 2)
    _refused(_settings(root, "targets.npz", kind="regression"), "whole numbers that 64-bit floating point merges")


def test_words_among_several_columns_are_said_how_to_take(root: Path) -> None:
    _csv(root, "image,breed,age", [f"{name},{'ab'[i % 2]},{i}.5" for i, name in enumerate(TEN)])
    _refused(_settings(root), r"column 'breed': 'a' is not a number; task\.options\.columns=\['breed'\] takes it alone")


def test_splits_are_words_in_any_capitals(root: Path) -> None:
    _csv(root, "image,Split,label", [f"{name},{('TRAIN', 'Test')[i > 5]},{i % 2}" for i, name in enumerate(TEN)])
    train, test = table.load(_settings(root))
    assert (_numbers(train), _numbers(test)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


@pytest.mark.parametrize(
    ("names", "trained"),
    [
        ({"Train": 5, "TEST": 5}, 5),
        ({"training": 4, "Validation": 2, "testing": 4}, 6),
        ({"train": 6, "valid": 4}, 6),
        ({"training_set": 6, "dev": 4}, 6),
        ({"0": 6, "1": 4}, 6),
    ],
)
def test_splits_are_known_by_the_names_that_people_give_them(root: Path, names: dict[str, int], trained: int) -> None:
    splits = [name for name, count in names.items() for _ in range(count)]
    _csv(root, "image,kind,split", [f"{TEN[i]},{('cat', 'dog')[i % 2]},{splits[i]}" for i in range(10)])
    train, test = table.load(_settings(root))
    assert (_numbers(train), _numbers(test)) == ([*range(trained)], [*range(trained, 10)])
    assert train.origin.startswith("rows of split ")
    assert test.origin == f"rows of split {splits[-1]}"


def _parts(root: Path, grey: Callable[[Path, int], None]) -> None:
    """Pictures of the same names in two folders, and a table of each as pandas writes it, with names for its index."""
    for part, first in (("training", 0), ("test", 5)):
        for index in range(4):
            grey(root / part / f"{index}.png", 20 * (first + index))
        lines = [",0,1", *(f"{index}.png,{first + index}.0,{index}.5" for index in range(4 - (part == "test")))]
        (root / f"{part}_frames.csv").write_text("\n".join(lines) + "\n")


def test_a_table_for_each_part_names_images_of_the_parts_folder(
    tmp_path: Path, grey: Callable[[Path, int], None]
) -> None:
    _parts(tmp_path, grey)
    files = {"train": "training_frames.csv", "test": "test_frames.csv"}
    train, test = table.load(_settings(tmp_path, files))
    assert (_numbers(train), _numbers(test)) == ([0, 1, 2, 3], [5, 6, 7])
    for split in (train, test):
        assert split.targets[:, 0].tolist() == _numbers(split)
    assert table.resolve(_settings(tmp_path, files)).columns == ("0", "1")
    chosen = table.load(_settings(tmp_path, files, columns=[1]))
    assert chosen[1].targets.flatten().tolist() == [0.5, 1.5, 2.5]
    # The same where pictures lie beside the tables' folder, or one table is taken alone.
    alone = table.load(_settings(tmp_path, "test_frames.csv"))
    assert sorted(_numbers(alone[0]) + _numbers(alone[1])) == [5, 6, 7]


def test_parts_that_are_not_of_one_dataset_are_refused(tmp_path: Path, grey: Callable[[Path, int], None]) -> None:
    _parts(tmp_path, grey)
    for given in ({"train": "training_frames.csv"}, {"one": "a.csv", "two": "b.csv"}, {}, 3):
        _refused(_settings(tmp_path, given), r"task\.options\.targets=.*one for each part, \{train: FILE, test: FILE\}")
    both = {"train": "training_frames.csv", "test": "test_frames.csv"}
    (tmp_path / "test_frames.csv").write_text(",0,2\n0.png,1.5,1\n")
    _refused(_settings(tmp_path, both), r"test_frames\.csv: targets 0, 2, but .*training_frames\.csv has 0, 1")
    (tmp_path / "test_frames.csv").write_text(",0,1\n0.png,1.5,cat\n")
    _refused(_settings(tmp_path, both), r"test_frames\.csv: column '1' has words, but numbers in .*training_frames")
    (tmp_path / "test_frames.csv").write_text(",0,1\n0.png,1.5,1\n0.png,1.5,1\n")
    _refused(_settings(tmp_path, both), r"is there twice, in test_frames\.csv line 2 and test_frames\.csv line 3")
    (tmp_path / "test_frames.csv").write_text(",0,1\n7.png,1.5,1\n")
    _refused(_settings(tmp_path, both), r"test_frames\.csv line 2: no such image, .*7\.png")


def test_a_column_of_files_that_are_elsewhere_is_that_of_the_images(root: Path) -> None:
    """Not one without a name that is no row number."""
    (root / "targets.csv").write_text(",0,1\nRita_01.jpg,1.5,2.0\nRita_02.jpg,2.5,1.0\n")
    _refused(_settings(root), r"targets\.csv: line 2: no such image, .*Rita_01\.jpg")


def test_landmarks_of_parts_follow_their_images(tmp_path: Path, mark, find) -> None:  # type: ignore[no-untyped-def]
    """As faces come: a table for each part without a name for its first column, pictures of any size."""
    sizes = [(121, 148), (217, 240), (320, 240)]
    for part, shift in (("training", 0), ("test", 9)):
        lines = [",0,1"]
        for index, (width, height) in enumerate(sizes):
            point = (width / 2 + shift, height / 2 - 5 * index)
            mark(tmp_path / part / f"Rita_{index:02}.jpg", (width, height), point)
            lines.append(f"Rita_{index:02}.jpg,{point[0]},{point[1]}")
        (tmp_path / f"{part}_frames_keypoints.csv").write_text("\n".join(lines) + "\n")
    files = {"train": "training_frames_keypoints.csv", "test": "test_frames_keypoints.csv"}
    options = {"targets": files, "points": True}
    for split in table.load(TaskSettings(path=str(tmp_path), crop_size=64, options=options)):
        for row in range(3):
            assert find(split, row, 64) == pytest.approx(split.targets[row].tolist(), abs=0.2)
