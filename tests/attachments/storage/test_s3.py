"""A bucket: the contract of every storage on two real servers, then an S3 that is slow, refuses, or breaks off."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from secrets import token_bytes
from typing import Any
from uuid import uuid4

import pytest

from app.attachments.storage import LinkingStorage, MissingObjectError, Storage, open_storage
from app.attachments.storage.testing import KEY, OTHER_KEY, StorageContract, read
from app.config import Settings
from app.errors import ConfigurationError, StorageError
from app.http.metrics import storage_errors
from tests.attachments.storage import s3_servers
from tests.attachments.storage.s3_servers import BUCKET, Proxy
from tests.support.forks import Program, run

pytestmark = [
    pytest.mark.usefixtures("_credentials"),
    # boto3 leaves a connection that was cut off to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket .closed:pytest.PytestUnraisableExceptionWarning"
    ),
]
_credentials = s3_servers._credentials


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with s3_servers.moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def rclone_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rclone")


@pytest.fixture(scope="module")
def rclone(rclone_directory: Path) -> Iterator[str]:
    with s3_servers.rclone(rclone_directory) as endpoint:
        yield endpoint


def bucket(endpoint: str, prefix: str | None = None, **settings: Any) -> Storage:
    """A storage of its own: below another prefix than any other test's."""
    prefix = uuid4().hex if prefix is None else prefix
    settings = {"storage": f"s3://{BUCKET}/{prefix}", "s3_endpoint": endpoint, "s3_seconds": 5, **settings}
    return open_storage(Settings(**settings))


@pytest.fixture
def storage(moto: str) -> Storage:
    return bucket(moto)


@pytest.fixture
def proxy(moto: str) -> Iterator[Proxy]:
    with s3_servers.proxy(moto) as server:
        yield server


class TestMotoKeepsTheContract(StorageContract):
    # moto itself now and then answers 500 to two puts of one key at once; the other server shows that we can.
    test_puts_of_one_key_at_once_leave_one_of_them_whole = None  # type: ignore[assignment]

    @pytest.fixture
    def storage(self, moto: str) -> Storage:
        return bucket(moto)


class TestRcloneKeepsTheContract(StorageContract):
    @pytest.fixture
    def storage(self, rclone: str) -> Storage:
        return bucket(rclone, "some/prefix" + uuid4().hex)


def test_more_objects_than_one_answer_holds_are_all_listed_in_order(moto: str) -> None:
    storage = bucket(moto)
    keys = [f"{number % 100:02}/object-{number}" for number in range(2 * s3_servers.LISTED + 5)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: storage.put(key, b"x"), keys))
    assert [each.key for each in storage.list()] == sorted(keys)


def test_what_is_listed_can_be_deleted_while_more_is_to_come(tmp_path: Path) -> None:
    # A separate server: one that has listed the bucket before remembers its content for minutes.
    with s3_servers.rclone(tmp_path) as endpoint:
        for number in range(2050):
            path = tmp_path / BUCKET / "many" / f"{number % 10:02}" / f"object-{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        assert_listed_and_deleted(bucket(endpoint, "many"))


def assert_listed_and_deleted(storage: Storage) -> None:
    assert len({each.key for each in storage.list()}) == 2050
    for number, each in enumerate(storage.list()):
        if number % 10 == 0:
            storage.delete(each.key)
    assert len(list(storage.list())) == 1845


def test_what_is_not_ours_is_not_listed(moto: str) -> None:
    ours, beside, above = bucket(moto, "ours"), bucket(moto, "ours-too"), bucket(moto, "")
    for storage in (ours, beside, above):
        storage.put(KEY, b"photo")
    bucket(moto, "ours/6b").put("6b/deeper", b"by hand")
    assert [each.key for each in ours.list()] == [KEY]
    assert [each.key for each in beside.list()] == [KEY]
    assert [each.key for each in above.list()] == [KEY]


def test_slashes_around_the_prefix_change_nothing(moto: str) -> None:
    prefix = uuid4().hex
    bucket(moto, prefix).put(KEY, b"photo")
    assert read(bucket(moto, f"{prefix}/"), KEY) == b"photo"


def test_a_photo_goes_up_and_down_without_copies_of_it_in_memory(storage: Storage) -> None:
    data = token_bytes(10 * 1024 * 1024)
    storage.put(KEY, b"the client is made")
    tracemalloc.start()
    try:
        storage.put(KEY, data)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
        tracemalloc.reset_peak()
        assert sum(map(len, storage.open(KEY))) == len(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_many_threads_use_one_storage(storage: Storage) -> None:
    contents = {f"{number:02}/object": token_bytes(50_000) for number in range(40)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(storage.put, contents, contents.values()))
        assert list(threads.map(lambda key: read(storage, key), contents)) == list(contents.values())


FORK = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from app.config import Settings
from app.attachments.storage import open_storage
storage = open_storage(Settings(storage=sys.argv[1], s3_endpoint=sys.argv[2]))
def work(number):
    for turn in range(3):
        key, data = f"{number:02}/object-{turn}", bytes([number]) * 30_000
        storage.put(key, data)
        assert b"".join(storage.open(key)) == data
work(0)
reading = storage.open("00/object-0")
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(work, range(4 * child + 1, 4 * child + 5)))
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
work(0)
assert b"".join(reading) == bytes(30_000)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
assert len(list(storage.list())) == 39
"""


def test_a_storage_that_was_used_before_a_fork_works_on_both_sides_of_it(moto: str) -> None:
    command = [sys.executable, "-W", "error", "-c", FORK, f"s3://{BUCKET}/{uuid4().hex}", moto]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


FAULTS = {
    "403": (s3_servers.refuse(403, "AccessDenied"), "AccessDenied", 1),
    "404 of the bucket": (s3_servers.refuse(404, "NoSuchBucket"), "NoSuchBucket", 1),
    "500": (s3_servers.refuse(500, "InternalError"), "InternalError", 2),
    "503": (s3_servers.refuse(503, "SlowDown"), "SlowDown", 2),
    "cut before": (s3_servers.cut_before, "Connection", 2),
    "cut after": (s3_servers.cut_after, "Connection", 2),
    "silence": (s3_servers.hang, "imeout", 2),
}

CALLS: dict[str, Callable[[Storage], Any]] = {
    "could not be stored": lambda storage: storage.put(OTHER_KEY, b"photo"),
    "could not be read": lambda storage: storage.open(KEY),
    "could not be deleted": lambda storage: storage.delete(OTHER_KEY),
    "could not be listed": lambda storage: list(storage.list()),
    "cannot be written": lambda storage: storage.check(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_tells_in_time_that_the_storage_failed_and_works_again_afterwards(proxy: Proxy, fault: str) -> None:
    storage = bucket(proxy.endpoint, s3_seconds=1)
    storage.put(KEY, b"photo")
    how, reason, tries = FAULTS[fault]
    before = storage_errors._value.get()
    for what, call in CALLS.items():
        proxy.break_with(how)
        proxy.asked.clear()
        started = time.monotonic()
        with pytest.raises(StorageError, match=rf"{what}.*{reason}") as caught:
            call(storage)
        assert not isinstance(caught.value, MissingObjectError)
        assert time.monotonic() - started < 4.5
        assert len(proxy.asked) == tries, "few tries, and none where it would not help"
        proxy.break_with(None)
        call(storage)
    assert storage_errors._value.get() - before == len(CALLS)
    assert read(storage, KEY) == b"photo"


def test_a_server_that_is_not_there_is_told_at_once(moto: str) -> None:
    storage = bucket("http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(StorageError, match="cannot be written: Could not connect"):
        storage.check()
    assert time.monotonic() - started < 3


def test_an_answer_that_is_no_s3_is_told(proxy: Proxy) -> None:
    proxy.break_with(s3_servers.nonsense)
    with pytest.raises(StorageError, match="could not be listed"):
        list(bucket(proxy.endpoint).list())


def test_a_server_that_stops_reading_holds_nobody_for_long(proxy: Proxy) -> None:
    storage = bucket(proxy.endpoint, s3_seconds=1)
    proxy.break_with(s3_servers.refuse_to_read)
    started = time.monotonic()
    with pytest.raises(StorageError, match="could not be stored"):
        storage.put(KEY, bytes(30_000_000))
    assert time.monotonic() - started < 6


def test_a_passing_fault_is_not_noticed(proxy: Proxy) -> None:
    storage = bucket(proxy.endpoint)

    def once(exchange: s3_servers.Exchange) -> None:
        proxy.break_with(None)
        s3_servers.cut_before(exchange)

    for call in CALLS.values():
        storage.put(KEY, b"photo")
        proxy.break_with(once)
        call(storage)


def test_a_put_whose_answer_is_lost_fails_and_is_listed(proxy: Proxy) -> None:
    storage = bucket(proxy.endpoint)
    proxy.break_with(s3_servers.cut_after, "PUT")
    with pytest.raises(StorageError):
        storage.put(KEY, b"photo")
    proxy.break_with(None)
    assert [(each.key, each.byte_size) for each in storage.list()] == [(KEY, 5)]


def test_an_object_that_breaks_off_is_never_taken_for_a_whole_one(proxy: Proxy) -> None:
    storage = bucket(proxy.endpoint)
    storage.put(KEY, token_bytes(1_000_000))
    proxy.break_with(s3_servers.cut_within)
    pieces = storage.open(KEY)
    with pytest.raises(StorageError, match=f"{KEY} could not be read"):
        list(pieces)
    pieces.close()


def test_a_missing_object_is_asked_for_once_and_is_no_error_of_the_storage(proxy: Proxy) -> None:
    storage = bucket(proxy.endpoint)
    before = storage_errors._value.get()
    for end in (None, 0, 5):
        proxy.asked.clear()
        with pytest.raises(MissingObjectError, match=KEY):
            storage.open(KEY, 0, end)
        assert len(proxy.asked) == 1
    assert storage_errors._value.get() == before


def test_closing_early_ends_the_connection_and_reading_to_the_end_keeps_it(storage: Storage) -> None:
    data = token_bytes(3_000_000)
    storage.put(KEY, data)
    for _ in range(25):
        # More than the connections that the client keeps.
        pieces = storage.open(KEY)
        next(pieces)
        pieces.close()
        assert list(pieces) == []
    assert read(storage, KEY) == data


@pytest.mark.parametrize("name", ["moto", "rclone"])
def test_a_link_answers_with_the_object_and_the_headers_it_was_made_with(
    name: str, request: pytest.FixtureRequest
) -> None:
    storage = bucket(request.getfixturevalue(name), s3_redirect=1)
    assert isinstance(storage, LinkingStorage)
    data = token_bytes(300_000)
    storage.put(KEY, data)
    link = storage.link(
        KEY, content_type="image/png", disposition="inline; filename=a.png; filename*=UTF-8''%C3%A9", caching="private"
    )
    assert "X-Amz-Expires=60" in link
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == data
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == "inline; filename=a.png; filename*=UTF-8''%C3%A9"
        assert answer.headers["Cache-Control"] == "private"
    with urllib.request.urlopen(urllib.request.Request(link, headers={"Range": "bytes=10-19"})) as answer:
        assert answer.read() == data[10:20]
        assert answer.headers["Content-Range"] == "bytes 10-19/300000"


def test_a_link_that_was_changed_is_refused(rclone: str) -> None:
    storage = bucket(rclone, s3_redirect=1)
    assert isinstance(storage, LinkingStorage)
    storage.put(KEY, b"photo")
    storage.put(OTHER_KEY, b"another's")
    link = storage.link(KEY, content_type="image/png", disposition=None, caching="private")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link.replace(KEY, OTHER_KEY))


def test_a_link_names_the_server_as_devices_reach_it(moto: str) -> None:
    storage = bucket(moto, "p", s3_redirect=1, s3_public_endpoint="https://photos.example.com")
    assert isinstance(storage, LinkingStorage)
    link = storage.link(KEY, content_type="image/png", disposition=None, caching="private")
    assert link.startswith(f"https://photos.example.com/{BUCKET}/p/{KEY}?")
    storage.check()


def test_without_the_setting_nobody_is_sent_to_the_bucket(storage: Storage) -> None:
    assert not isinstance(storage, LinkingStorage)


def test_opening_asks_nothing_of_the_server() -> None:
    bucket("http://127.0.0.1:1", s3_redirect=1)


def test_without_an_endpoint_it_is_amazon() -> None:
    storage = bucket("", "p", s3_redirect=1)
    assert isinstance(storage, LinkingStorage)
    link = storage.link(KEY, content_type="image/png", disposition=None, caching="private")
    assert link.startswith(f"https://{BUCKET}.s3.eu-central-1.amazonaws.com/p/{KEY}?")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"storage": "s3://"}, "not the address of a bucket"),
        ({"storage": "s3:///prefix"}, "not the address of a bucket"),
        ({"storage": "s3://ab"}, "not the address of a bucket"),
        ({"storage": "s3://photos/../up"}, "not the address of a bucket"),
        ({"storage": "s3://photos/a//b"}, "not the address of a bucket"),
        ({"storage": "s3://photos/a b"}, "not the address of a bucket"),
        ({"storage": "s3://photos/" + 200 * "a" + "?"}, "not the address of a bucket"),
        ({"s3_endpoint": "minio:9000"}, "FIELDPOST_S3_ENDPOINT"),
        ({"s3_endpoint": "https://"}, "FIELDPOST_S3_ENDPOINT"),
        ({"s3_endpoint": "https://name:word@host"}, "FIELDPOST_S3_ENDPOINT"),
        ({"s3_public_endpoint": "ftp://host"}, "FIELDPOST_S3_PUBLIC_ENDPOINT"),
    ],
)
def test_an_address_that_cannot_work_stops_the_start(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_storage(replace(Settings(storage="s3://photos"), **settings))


def test_without_boto3_the_start_stops_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.attachments.storage.s3", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    with pytest.raises(ConfigurationError, match=r'pip install "fieldpost\[s3\]"'):
        open_storage(Settings(storage="s3://photos"))


def test_boto3_is_not_imported_for_files_in_a_directory(tmp_path: Path) -> None:
    code = "import sys, app; app.create_app(); sys.exit(any(name.startswith('boto') for name in sys.modules))"
    assert run(Program(["-c", code], {"FIELDPOST_DATA_DIR": str(tmp_path)})).returncode == 0
