"""Files in a directory: the contract of every storage, then full disks, crashes and their remains."""

from __future__ import annotations

import errno
import os
import resource
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes

import pytest
from flask import Flask

from app.attachments.storage import MissingObjectError, Storage, current_storage, open_storage
from app.attachments.storage.local import LocalStorage
from app.attachments.storage.testing import KEY, OTHER_KEY, StorageContract, read
from app.config import Settings
from app.errors import ConfigurationError, StorageError
from tests.support.forks import Program, run


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "attachments")


def files_of(storage: LocalStorage) -> list[Path]:
    return sorted(each for each in storage.root.rglob("*") if each.is_file())


class Fault:
    """Stands in for a function of `os`, and fails at the calls counted from 1."""

    def __init__(self, real: object, error: BaseException, *calls: int) -> None:
        self.real, self.error, self.calls, self.count = real, error, calls, 0

    def __call__(self, *args: object, **named: object) -> object:
        self.count += 1
        if not self.calls or self.count in self.calls:
            raise self.error
        return self.real(*args, **named)  # type: ignore[operator]


def refusal(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class TestLocalStorageKeepsTheContract(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "not" / "there" / "yet")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_put_that_cannot_be_synced_leaves_nothing(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    storage.put(OTHER_KEY, b"makes the directories durable, but not that of the key")
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, refusal(code)))
    with pytest.raises(StorageError, match=f"{KEY} could not be stored: {os.strerror(code)}"):
        storage.put(KEY, b"photo")
    monkeypatch.undo()
    assert [each.name for each in files_of(storage)] == [Path(OTHER_KEY).name]
    storage.put(KEY, b"photo")
    assert read(storage, KEY) == b"photo"


@pytest.mark.parametrize("call", [1, 2])
def test_neither_the_file_nor_its_name_counts_before_it_is_synced(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    storage.put(f"{KEY}.thumb", b"")
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, refusal(errno.EIO), call))
    with pytest.raises(StorageError):
        storage.put(KEY, b"photo")
    assert [each.key for each in storage.list()] == [f"{KEY}.thumb"]


def test_a_put_that_fails_while_writing_keeps_what_was_there(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put(KEY, b"first")
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, refusal(errno.ENOSPC), 1))
    with pytest.raises(StorageError):
        storage.put(KEY, b"second")
    assert read(storage, KEY) == b"first"
    assert len(files_of(storage)) == 1


def test_a_file_that_the_kernel_cuts_short_is_refused_and_removed(storage: LocalStorage) -> None:
    # A real refusal in the middle of a write: the limit on the size of files, as a disk that runs full.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="could not be stored: File too large"):
            storage.put(KEY, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert files_of(storage) == []


def test_an_interrupted_put_leaves_nothing(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.put(f"{KEY}.thumb", b"")
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, KeyboardInterrupt(), 1))
    with pytest.raises(KeyboardInterrupt):
        storage.put(KEY, b"photo")
    assert [each.key for each in storage.list()] == [f"{KEY}.thumb"]


def test_a_root_that_cannot_be_a_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "attachments").write_text("a file")
    storage = LocalStorage(tmp_path / "attachments")
    with pytest.raises(StorageError, match="could not be stored"):
        storage.put(KEY, b"photo")
    with pytest.raises(StorageError, match="cannot be written"):
        storage.check()
    with pytest.raises(StorageError, match="could not be read"):
        storage.open(KEY)
    with pytest.raises(StorageError, match="could not be listed"):
        list(storage.list())


def test_a_put_syncs_the_file_then_its_directory_and_first_the_ones_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    root = tmp_path / "new" / "attachments"
    storage = LocalStorage(root)
    storage.put("6b/one", b"photo")
    *above, draft, directory = synced
    assert set(above) == {tmp_path, tmp_path / "new", root}
    assert draft.parent == directory == root / "6b"
    assert draft.name.startswith("one.")

    synced.clear()
    storage.put("6b/two", b"photo")
    assert len(synced) == 2

    # Another process has made these directories, and may not have synced them yet.
    synced.clear()
    LocalStorage(root).put("6b/three", b"photo")
    assert {root, root.parent} <= set(synced)


def test_a_directory_removed_meanwhile_is_made_again(storage: LocalStorage) -> None:
    storage.put(KEY, b"photo")
    storage.delete(KEY)
    (storage.root / KEY).parent.rmdir()
    storage.put(KEY, b"photo")
    assert read(storage, KEY) == b"photo"


CRASH = """
import os, signal, sys
from pathlib import Path
from app.attachments.storage.local import LocalStorage
os.fsync, real, calls = (lambda descriptor: die(descriptor)), os.fsync, []
def die(descriptor):
    calls.append(descriptor)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
LocalStorage(Path(sys.argv[1])).put(sys.argv[2], bytes(500_000))
"""


@pytest.mark.parametrize("call", range(1, 5))
def test_a_process_killed_in_a_put_leaves_a_whole_object_or_none_and_a_draft_that_can_be_collected(
    storage: LocalStorage, call: int
) -> None:
    storage.put(OTHER_KEY, b"so that the root is there")
    result = run(Program(["-c", CRASH, str(storage.root), KEY, str(call)], dict(os.environ)))
    assert result.returncode == -signal.SIGKILL
    found = {each.key: each for each in storage.list()}
    del found[OTHER_KEY]
    assert len(found) == (call > 2)
    for key, each in found.items():
        assert key.startswith(KEY)
        assert each.byte_size == 500_000
        storage.delete(key)
    assert [each.name for each in files_of(storage)] == [Path(OTHER_KEY).name]


def test_a_draft_of_a_killed_process_is_listed_and_can_be_deleted(storage: LocalStorage) -> None:
    process = os.fork()
    if not process:
        with storage.draft(KEY) as draft:
            draft.write(bytes(500_000))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)
    (left,) = storage.list()
    assert left.key.startswith(KEY)
    assert left.key.endswith(".tmp")
    storage.delete(left.key)
    assert files_of(storage) == []


def test_a_probe_left_by_a_crash_is_listed_and_can_be_deleted(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", Fault(Path.unlink, refusal(errno.EIO)))
    with pytest.raises(StorageError, match="cannot be written"):
        storage.check()
    monkeypatch.undo()
    (left,) = storage.list()
    storage.delete(left.key)
    assert files_of(storage) == []


def test_a_check_tells_that_nothing_can_be_written(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.check()
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, refusal(errno.ENOSPC)))
    with pytest.raises(StorageError, match="cannot be written: No space left on device"):
        storage.check()
    assert files_of(storage) == []


def test_a_disk_that_fails_while_reading_is_a_storage_error(storage: LocalStorage) -> None:
    # /proc/self/mem opens, and refuses to be read at its start.
    (storage.root / KEY).parent.mkdir(parents=True)
    (storage.root / KEY).symlink_to("/proc/self/mem")
    pieces = storage.open(KEY)
    with pytest.raises(StorageError, match=f"{KEY} could not be read"):
        next(pieces)
    pieces.close()


def test_a_missing_object_is_told_apart_from_a_storage_that_fails(storage: LocalStorage) -> None:
    (storage.root / KEY).mkdir(parents=True)
    with pytest.raises(StorageError) as caught:
        storage.open(KEY)
    assert not isinstance(caught.value, MissingObjectError)


def test_files_and_directories_that_are_not_ours_are_not_listed(storage: LocalStorage) -> None:
    storage.put(KEY, b"photo")
    (storage.root / "README").write_text("by hand")
    (storage.root / "6b" / "By Hand.jpg").write_text("by hand")
    (storage.root / "6b" / "a-directory").mkdir()
    (storage.root / "lost+found").mkdir()
    (storage.root / "lost+found" / "abc").write_text("by fsck")
    assert [each.key for each in storage.list()] == [KEY]


def test_the_list_has_the_time_of_the_file(storage: LocalStorage) -> None:
    storage.put(KEY, b"photo")
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    os.utime(storage.root / KEY, (moment.timestamp(), moment.timestamp()))
    (found,) = storage.list()
    assert found.modified_at == moment


def test_reading_closes_the_file_at_its_end_and_at_close(storage: LocalStorage) -> None:
    storage.put(KEY, token_bytes(600_000))
    before = len(os.listdir("/proc/self/fd"))
    read(storage, KEY)
    pieces = storage.open(KEY)
    next(pieces)
    pieces.close()
    assert list(pieces) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_setting_files_are_in_the_data_directory(tmp_path: Path) -> None:
    opened = open_storage(Settings(data_dir=tmp_path))
    assert isinstance(opened, LocalStorage)
    opened.put(KEY, b"photo")
    assert (tmp_path / "attachments" / KEY).read_bytes() == b"photo"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("/srv/photos", "names no storage"),
        ("gs://b", "data directory"),
    ],
)
def test_a_storage_that_is_not_there_stops_the_start(tmp_path: Path, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_storage(replace(Settings(data_dir=tmp_path), storage=value))
    assert value in str(caught.value)


def test_the_current_storage_is_that_of_the_application(app: Flask) -> None:
    with app.app_context():
        assert current_storage() is app.extensions["fieldpost.storage"]
