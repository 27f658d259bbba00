import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache
from solo_invariance.features import cache as module

UNIT_BYTES = 128 + 4 * 2 * 3


class _Canary:
    """Makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def _key(number: int) -> str:
    return f"{number:032x}"


def _unit(number: int) -> Tensor:
    return torch.full((2, 3), float(number))


def _keep(cache: FeatureCache, number: int, in_use: tuple[int, ...] = ()) -> bool:
    assert cache.claim(_key(number))
    kept = cache.keep(_key(number), _unit(number), [_key(one) for one in in_use])
    cache.release(_key(number))
    return kept


def _held(cache: FeatureCache) -> list[int]:
    return [number for number in range(10) if cache.find(_key(number), (2, 3)) is not None]


def _file(cache: FeatureCache, number: int) -> Path:
    (path,) = cache.root.rglob(f"{_key(number)}.npy")
    return path


def _age(cache: FeatureCache, *numbers: int) -> None:
    """Make units old, the first of them the oldest."""
    for seconds, number in enumerate(numbers):
        os.utime(_file(cache, number), (seconds, seconds))


def test_what_is_kept_is_found_and_nothing_else(cache: FeatureCache) -> None:
    assert cache.size() == 0
    assert _keep(cache, 1)
    found = cache.find(_key(1), (2, 3))
    assert found is not None
    assert torch.equal(found, _unit(1))
    assert cache.find(_key(2), (2, 3)) is None
    assert cache.size() == UNIT_BYTES
    assert [path.name for path in cache.root.rglob("*") if path.is_file()] == [f"{_key(1)}.npy"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", None, "huge"])
def test_a_broken_file_is_not_found_and_is_replaced(cache: FeatureCache, content: bytes | str | None) -> None:
    _keep(cache, 1)
    path = _file(cache, 1)
    whole = path.read_bytes()
    huge = whole.replace(b"(2, 3), }" + b" " * 15, b"(2, 3000000000000000), }")
    path.write_bytes(whole[:-1] if content is None else huge if isinstance(content, str) else content)
    assert path.read_bytes() != whole
    assert cache.find(_key(1), (2, 3)) is None
    assert _keep(cache, 1)
    assert path.read_bytes() == whole


def test_a_file_of_another_shape_or_type_is_not_found(cache: FeatureCache) -> None:
    _keep(cache, 1)
    assert cache.find(_key(1), (3, 2)) is None
    cache.keep(_key(2), _unit(2).double())
    assert cache.find(_key(2), (2, 3)) is None
    assert cache.find(_key(2), (2, 3), np.float64) is not None


def test_those_not_used_for_longest_make_room(cache: FeatureCache) -> None:
    cache.max_bytes = 3 * UNIT_BYTES
    for number in (1, 2, 3):
        _keep(cache, number)
    _age(cache, 1, 2, 3)
    assert cache.find(_key(1), (2, 3)) is not None  # used just now
    assert _keep(cache, 4)
    assert _held(cache) == [1, 3, 4]
    assert cache.size() == cache.max_bytes


def test_units_in_use_do_not_make_room_and_the_limit_holds(cache: FeatureCache) -> None:
    cache.max_bytes = 2 * UNIT_BYTES
    _keep(cache, 1)
    _keep(cache, 2)
    _age(cache, 1, 2)
    assert _keep(cache, 3, in_use=(1, 3))
    assert _held(cache) == [1, 3]
    assert not _keep(cache, 4, in_use=(1, 3, 4))
    assert _held(cache) == [1, 3]
    assert cache.size() <= cache.max_bytes


def test_the_limit_holds_over_many_units(cache: FeatureCache) -> None:
    cache.max_bytes = 40 * UNIT_BYTES
    for number in range(200):
        assert _keep(cache, number)
        assert cache.size() <= cache.max_bytes
    assert cache.size() > 0.9 * cache.max_bytes
    assert cache.find(_key(199), (2, 3)) is not None


def test_what_another_process_writes_counts(cache: FeatureCache) -> None:
    cache.max_bytes = 64 * UNIT_BYTES
    other = FeatureCache(cache.root, cache.max_bytes)
    for number in range(0, 200, 2):
        _keep(cache, number)
        _keep(other, number + 1)
        assert cache.size() <= cache.max_bytes * 17 / 16


def test_what_is_too_large_drives_nothing_out(cache: FeatureCache) -> None:
    cache.max_bytes = 2 * UNIT_BYTES
    _keep(cache, 1)
    assert not cache.keep(_key(2), torch.zeros(100, 3))
    assert _held(cache) == [1]


def test_other_files_in_the_folder_are_not_the_caches(cache: FeatureCache) -> None:
    other = cache.root / "00" / "thesis.npy"
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(1000))
    left_over = cache.root / "00" / f".{_key(1)}.npy.abcd"  # of a process that was killed
    left_over.write_bytes(bytes(1000))
    os.utime(left_over, (0, 0))
    assert cache.size() == 1000
    cache.max_bytes = 1000
    assert _keep(cache, 2)
    assert other.exists()
    assert not left_over.exists()


def test_a_claim_is_one_processs_until_it_is_released(cache: FeatureCache) -> None:
    other = FeatureCache(cache.root, cache.max_bytes)
    assert cache.claim(_key(1))
    assert not other.claim(_key(1))
    assert other.claim(_key(2))
    cache.release(_key(1))
    cache.release(_key(7))  # never claimed
    assert other.claim(_key(1))
    other.release(_key(1))
    other.release(_key(2))


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"SOLO_INVARIANCE_CACHE: the folder .*file/cache cannot be written \(Not a dir"
    ):
        FeatureCache(tmp_path / "file" / "cache", 10**6).claim(_key(1))


def test_a_full_disk_is_no_error(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise UserError(f"{path}: cannot be written (No space left on device)")

    def no_locks(self: object, **options: object) -> None:
        raise OSError(module.errno.ENOSPC, "No space left on device")

    assert cache.claim(_key(1))
    monkeypatch.setattr(module, "write_bytes", full)
    assert not cache.keep(_key(1), _unit(1))
    monkeypatch.setattr(module.FileLock, "acquire", no_locks)
    assert cache.claim(_key(2))
    cache.release(_key(1))
    cache.release(_key(2))  # held without a lock


@pytest.mark.parametrize(
    ("environment", "root", "max_bytes"),
    [
        ({"SOLO_INVARIANCE_CACHE": "/somewhere"}, "/somewhere", 10**10),
        ({"SOLO_INVARIANCE_CACHE": "~/mine", "SOLO_INVARIANCE_CACHE_GB": "0.5"}, "/home/ada/mine", 5 * 10**8),
        ({"XDG_CACHE_HOME": "/scratch"}, "/scratch/solo-invariance/features", 10**10),
        ({}, "/home/ada/.cache/solo-invariance/features", 10**10),
    ],
)
def test_the_environment_says_where(
    environment: dict[str, str], root: str, max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SOLO_INVARIANCE_CACHE", "SOLO_INVARIANCE_CACHE_GB", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **environment}.items():
        monkeypatch.setenv(name, value)
    cache = FeatureCache.default()
    assert cache is not None
    assert (str(cache.root), cache.max_bytes) == (root, max_bytes)


def test_an_empty_variable_turns_the_cache_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE", "")
    assert FeatureCache.default() is None


@pytest.mark.parametrize("given", ["ten", "0", "-1", "nan", "inf", ""])
def test_a_bad_limit_is_a_clear_error(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE_GB", given)
    with pytest.raises(UserError, match=rf"^SOLO_INVARIANCE_CACHE_GB={given}: expected a positive number"):
        FeatureCache.default()


def test_tests_have_a_cache_of_their_own(feature_cache: Path) -> None:
    cache = FeatureCache.default()
    assert cache is not None
    assert cache.root == feature_cache


def test_entries_of_others_are_looked_at_before_they_are_read(cache: FeatureCache, tmp_path: Path) -> None:
    """In a folder that users share, an entry may be anything: what is not a unit's file is computed again."""
    assert cache.claim(_key(1))
    assert cache.keep(_key(1), _unit(1))
    path = next(cache.root.rglob("*.npy"))
    whole = path.read_bytes()
    shape = tuple(_unit(1).shape)

    def found() -> bool:
        return cache.find(_key(1), shape) is not None  # type: ignore[arg-type]

    assert found()
    path.unlink()
    os.mkfifo(path)  # which to open would be to wait for ever
    assert not found()
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(whole)
    path.symlink_to(tmp_path / "elsewhere")
    assert not found()
    path.unlink()
    path.write_bytes(whole + bytes(5000))
    assert not found()
    for wrong in (np.nan, np.inf, -np.inf):
        values = _unit(1).numpy()
        values[1, 2] = wrong  # one number of it
        np.save(path, values)
        assert not found()
    np.save(path, np.array([_Canary(tmp_path / "canary")]), allow_pickle=True)
    assert path.stat().st_size < len(whole) + 500
    assert not found()
    assert not (tmp_path / "canary").exists()
    path.write_bytes(whole)
    assert found()
    cache.release(_key(1))


def test_others_folder_is_of_use(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one may read but not write, features are found, and not kept."""
    assert cache.claim(_key(1))
    cache.keep(_key(1), _unit(1))
    cache.release(_key(1))

    def denied(self: object, **options: object) -> None:
        raise PermissionError(module.errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.FileLock, "acquire", denied)
    monkeypatch.setattr(module.Path, "mkdir", denied)
    assert cache.find(_key(1), tuple(_unit(1).shape)) is not None  # type: ignore[arg-type]
    assert cache.claim(_key(2))
    cache.release(_key(2))
    with pytest.raises(UserError, match=r"SOLO_INVARIANCE_CACHE: the folder .* cannot be written"):
        FeatureCache(Path("/nowhere/at/all"), 10**6).claim(_key(1))


def test_no_home_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SOLO_INVARIANCE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(module.Path, "expanduser", homeless)
    with pytest.raises(UserError, match=r"SOLO_INVARIANCE_CACHE: .*there is no home directory"):
        FeatureCache.default()
