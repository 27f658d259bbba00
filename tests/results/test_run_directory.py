import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.errors import UserError
from solo_invariance.results.run_directory import RunDirectory, open_run

_HOLD = """
import sys
from pathlib import Path
from solo_invariance.results.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1]), "", {}).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_two_runs_never_write_at_once(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "out", "", {})
    with directory.locked():
        assert (tmp_path / "out" / ".lock").exists()
        with pytest.raises(UserError, match="another run is at work there; wait for it, or choose another"):
            RunDirectory(tmp_path / "out", "", {}).locked().__enter__()
    assert not (tmp_path / "out").exists()  # nothing was written
    with directory.locked():
        pass


def test_another_process_is_kept_out_until_it_ends_however_that_is(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "out", "", {})
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another run is at work there"), directory.locked():
            pass
        other.kill()
    with directory.locked():
        pass


def test_a_failure_lets_go(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, "", {})
    with pytest.raises(ValueError, match="oh"), directory.locked():
        raise ValueError("oh")
    with directory.locked():
        pass


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), RunDirectory(tmp_path / "file" / "x", "", {}).locked():
        pass


@pytest.mark.parametrize("out", ["", " "])
def test_an_out_that_is_empty_is_not_the_directory_one_is_in(out: str) -> None:
    with pytest.raises(UserError, match=r"^out is empty"):
        open_run(out, {})


def test_a_directory_belongs_to_one_identity(tmp_path: Path) -> None:
    identity = {"k": 4, "reference": {"path": "here"}}
    open_run(str(tmp_path / "out"), identity).claim()
    assert open_run(str(tmp_path / "out"), identity).identity == identity
    with pytest.raises(UserError, match=r"holds results of another run \(reference\.path: .*here.*there.*\)"):
        open_run(str(tmp_path / "out"), {"k": 4, "reference": {"path": "there"}})


def test_a_checkpoint_is_known_by_its_hash_wherever_it_lies(tmp_path: Path) -> None:
    def identity(checkpoint: str, sha256: str | None, k: int = 4) -> dict[str, Any]:
        return {"k": k, "backbones": [{"checkpoint": checkpoint, "sha256": sha256}]}

    open_run(str(tmp_path / "out"), identity("here/a.ckpt", "1f")).claim()
    open_run(str(tmp_path / "out"), identity("/there/a.ckpt", "1f"))
    for checkpoint, sha256, k, differs in (
        ("there/a.ckpt", "2e", 4, r"backbones\.0\.checkpoint: .*; backbones\.0\.sha256: 1f there, 2e now"),
        ("here/a.ckpt", "2e", 4, r"backbones\.0\.sha256"),
        ("there/a.ckpt", None, 4, r"backbones\.0\.checkpoint"),
        ("there/a.ckpt", "1f", 3, r"k: 4 there, 3 now"),
    ):
        with pytest.raises(UserError, match=differs):
            open_run(str(tmp_path / "out"), identity(checkpoint, sha256, k))
    open_run(str(tmp_path / "hub"), identity("here/a.ckpt", None)).claim()
    with pytest.raises(UserError, match="checkpoint"):
        open_run(str(tmp_path / "hub"), identity("there/a.ckpt", None))
