import json
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest

from solo_invariance.errors import UserError
from solo_invariance.results.files import (
    IN_THE_MAKING,
    directories,
    fingerprint_of,
    read_arrays,
    read_json,
    require_finite,
    write_arrays,
    write_bytes,
    write_json,
)
from solo_invariance.results.invariance import InvarianceResult
from solo_invariance.results.run_directory import RunDirectory, locked, open_run


@pytest.fixture
def small_disk() -> object:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_fits_stands_on_one_line(tmp_path: Path) -> None:
    content = {
        "few": [1, 2],
        "none": {},
        "many": [{"seed": 0, "value": 0.125}, {"seed": 1, "value": None}],
        "t": "a" * 50,
    }
    write_json(tmp_path / "r.json", content, width=40)
    assert (tmp_path / "r.json").read_text().splitlines() == [
        "{",
        '  "few": [1, 2],',
        '  "none": {},',
        '  "many": [',
        '    {"seed": 0, "value": 0.125},',
        '    {"seed": 1, "value": null}',
        "  ],",
        f'  "t": "{"a" * 50}"',
        "}",
    ]
    assert read_json(tmp_path / "r.json") == content
    with pytest.raises(UserError, match="cannot be written as JSON"):
        write_json(tmp_path / "r.json", {"a": float("nan")}, width=40)


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path, small_disk: None) -> None:
    write_bytes(tmp_path / "file", b"before")
    with pytest.raises(UserError, match=r"file: cannot be written \(File too large\)"):
        write_bytes(tmp_path / "file", bytes(5000))
    with pytest.raises(UserError, match="cannot be written"):
        write_bytes(tmp_path / "a" / "b" / "file", bytes(5000))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_files_have_the_rights_that_the_user_gives(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_bytes(tmp_path / "private", b"")
        os.umask(0o002)
        write_bytes(tmp_path / "of-a-group", b"")
    finally:
        os.umask(before)
    rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert rights == {"private": 0o600, "of-a-group": 0o664}


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("é" * 127), b"x")
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\)"):
        write_bytes(tmp_path / "a" / ("x" * 256) / "file", b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_in_the_making_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Two processes that write the same file each have a whole one, of which the last stays."""
    names = {IN_THE_MAKING.beside(tmp_path / "file") for _ in range(8)}
    assert len(names) == 8
    assert {name.parent for name in names} == {tmp_path}


def test_numbers_that_json_does_not_have_are_not_written(tmp_path: Path) -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"r\.json: cannot be written as JSON"):
            write_json(tmp_path / "r.json", {"a": number})
        with pytest.raises(UserError, match=f"the score is {number}"):
            require_finite(number, "the score")
    assert list(tmp_path.iterdir()) == []
    assert require_finite(1e308, "the score") == 1e308


def test_the_order_of_keys_is_no_part_of_a_fingerprint() -> None:
    found = fingerprint_of({"a": 1, "b": {"c": Path("x"), "d": 2}})
    assert found == fingerprint_of({"b": {"d": 2, "c": Path("x")}, "a": 1})
    assert found != fingerprint_of({"a": 1, "b": {"c": Path("x"), "d": 3}})


def test_directories_that_stay_empty_go_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="oh"), directories(tmp_path / "a" / "b"):
        raise ValueError("oh")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with directories(tmp_path / "mine" / "b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}'.encode("utf-16"), r"is not valid JSON \(not UTF-8 text, from byte 0 on\)"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b'{"a": ' * 200 + b"1" + b"}" * 200, "nested too deeply"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "a number of 5001 digits"),
        (b'{"a": 1' + b"0" * 400 + b"}", "a number of 401 digits"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "key 'b' is there twice"),
        (b"{'a': 1}", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"[" * 200 + b"]" * 200, "nested too deeply"),
        (b"[1]", "the document must be a mapping, not a list"),
        (b"null", "the document must be a mapping, not a null"),
    ],
)
def test_what_is_no_result_is_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "r.json").write_bytes(text)
    with pytest.raises(UserError, match=rf"r\.json: .*{message}.*Write the result again or remove it\.$"):
        read_json(tmp_path / "r.json")


def test_a_mark_of_the_byte_order_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b'\xef\xbb\xbf{"a": 18446744073709551615}')
    assert read_json(tmp_path / "r.json") == {"a": 2**64 - 1}


def test_names_that_are_no_text_are_written_out(write_invariance, tmp_path: Path) -> None:
    file = write_invariance("run", "caf\udce9", reference={"num_images": 4, "unreadable": ["b\udce9.png"]})
    result = InvarianceResult.read(file)
    assert result.label == "caf\\udce9"
    assert result.reference is not None
    assert result.reference.unreadable == ("b\\udce9.png",)
    result.write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))["label"] == "caf\\udce9"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x76\x00{'descr': (", b"x" * 100])
def test_broken_arrays_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz: cannot be read, truncated or no file of arrays; hint$"):
        read_arrays(tmp_path / "a.npz", hint="; hint")


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "canary",)

    np.savez(tmp_path / "a.npz", a=np.array([Canary()]))
    with pytest.raises(UserError, match=r"a\.npz: cannot be read"):
        read_arrays(tmp_path / "a.npz")
    assert not (tmp_path / "canary").exists()


def test_arrays_that_want_more_memory_than_there_is_are_one_line(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n")
        archive.writestr("b", b"no array")
    with pytest.raises(UserError, match=r"a\.npz: cannot be read"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"a\.npz: 'b' in it is no array"):
        read_arrays(tmp_path / "a.npz", lambda name: name == "b")


def test_arrays_that_are_no_numbers_are_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", names=np.array(["x"]), when=np.array(["2026-01-01"], dtype="datetime64[D]"))
    with pytest.raises(UserError, match=r"a\.npz: 'when' in it holds neither numbers nor text"):
        read_arrays(tmp_path / "a.npz")


def test_text_in_bytes_and_numbers_of_other_machines_are_read_as_they_are_meant(tmp_path: Path) -> None:
    given = {
        "names": np.array([b"caf\xc3\xa9", b"b"]),
        "big": np.arange(3, dtype=">f4"),
        "small": np.arange(3, dtype="<i2"),
    }
    np.savez(tmp_path / "a.npz", **given)
    found = read_arrays(tmp_path / "a.npz")
    assert found["names"].tolist() == ["café", "b"]
    assert all(array.dtype.isnative for array in found.values())
    assert found["big"].tolist() == [0, 1, 2]
    np.savez(tmp_path / "a.npz", names=np.array([b"\xff"]))
    with pytest.raises(UserError, match=r"a\.npz: cannot be read"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"a": np.arange(4.0)}, "a"),
        ({"a": np.arange(3.0).reshape(3, 1)}, "a"),
        ({"a": np.arange(3)}, "a"),
        ({"a": None}, "a"),
        ({"more": np.zeros(1)}, "more"),
        ({"sums": None}, "a"),
        ({"sums": np.zeros((2, 2))}, "a"),
    ],
)
def test_arrays_with_sums_are_what_was_written(tmp_path: Path, change: dict[str, object], name: str) -> None:
    written = {"a": np.arange(3.0), "b": np.array(["x y"]), "c": np.asarray([], dtype=str), "d": np.asarray(3)}
    write_arrays(tmp_path / "a.npz", written, summed=True)
    found = read_arrays(tmp_path / "a.npz", summed=True)
    assert found.keys() == written.keys()
    assert all(np.array_equal(found[key], array) for key, array in written.items())
    assert read_arrays(tmp_path / "a.npz", "b".__eq__, summed=True).keys() == {"b"}
    with np.load(tmp_path / "a.npz") as arrays:
        changed = {key: array for key, array in {**arrays, **change}.items() if array is not None}
    np.savez(tmp_path / "a.npz", **changed)
    with pytest.raises(UserError, match=rf"a\.npz: '{name}' in it is not what was written; hint"):
        read_arrays(tmp_path / "a.npz", hint="; hint", summed=True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (read_json, read_arrays):
        with pytest.raises(UserError, match=r"pipe: is no file$"):
            read(tmp_path / "pipe")
        with pytest.raises(UserError, match=r": is a directory$"):
            read(tmp_path)


def test_a_directory_is_claimed_once(tmp_path: Path) -> None:
    run = open_run(str(tmp_path / "out"), {"a": 1})
    run.claim()
    (tmp_path / "out" / "run.json").chmod(0o640)
    run.claim()  # as a run does that is taken up again
    assert (tmp_path / "out" / "run.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["loop", "nowhere"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    directory = open_run(str(tmp_path / name), {})
    with pytest.raises(UserError, match=rf"{name}: cannot be written \(.*{name} is a link that leads nowhere\)"):
        directory.locked().__enter__()


@pytest.mark.parametrize("out", ["x" * 300, "a/" * 3000 + "a", "/dev/null"])
def test_an_out_that_cannot_be_is_one_line(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"too long|is a file, expected a directory"):
        open_run(out, {}).locked().__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_place_above_a_directory_that_is_not_there_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for out in (tmp_path / "a" / ".." / "photos", tmp_path / "a" / ".." / "new"):
        with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"):
            open_run(str(out), {}).locked().__enter__()
        with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"):
            write_bytes(out / "file", b"x")
    with open_run(str(tmp_path / "photos" / ".." / "new"), {}).locked():
        pass
    assert [*tmp_path.rglob("*")] == [tmp_path / "photos"]


@pytest.mark.parametrize("name", ["run.json", "transfer.npz", "report.html"])
def test_a_folder_where_a_file_goes_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name}: is a directory"):
        open_run(str(tmp_path), {}).locked().__enter__()
    assert [*tmp_path.iterdir()] == [tmp_path / name]


def test_a_directory_that_became_anothers_in_the_meantime_is_refused(tmp_path: Path) -> None:
    ours, theirs = open_run(str(tmp_path / "out"), {"k": 1}), open_run(str(tmp_path / "out"), {"k": 2})
    with theirs.locked():
        theirs.claim()
    with pytest.raises(UserError, match=r"holds results of another run \(k: 2 there, 1 now\)"), ours.locked():
        pass


@pytest.mark.parametrize("identity", [[], {"k": {"a": 1}}, None])
def test_a_manifest_may_say_anything(tmp_path: Path, identity: object) -> None:
    write_json(tmp_path / "run.json", {"fingerprint": "x", "identity": identity})
    with pytest.raises(UserError, match="holds results of another run"):
        open_run(str(tmp_path), {"k": 1})


def test_what_a_killed_run_left_in_the_making_is_removed(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / ".hue.json.0123abcd.part").touch()
    (tmp_path / ".git").touch()
    with RunDirectory(tmp_path, "", {}).locked():
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".git", "parts"]


def test_two_things_in_a_directory_do_not_keep_each_other_out(tmp_path: Path) -> None:
    expected = pytest.raises(UserError, match=r"out=.*a\.ckpt: another run is at work")
    with locked(tmp_path, "a.ckpt"), locked(tmp_path, "b.ckpt"), expected:
        locked(tmp_path, "a.ckpt").__enter__()
    with locked(tmp_path, "x" * 255):  # as long as names may be
        pass
    assert list(tmp_path.iterdir()) == []
