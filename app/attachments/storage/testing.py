"""Tests of any storage: inherit `StorageContract` and override its fixture `storage`.

Only tests import this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from secrets import token_bytes

import pytest

from app.attachments.storage.protocol import MissingObjectError, Storage

KEY = "6b/6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"
OTHER_KEY = "a0/a09d0c5e-7f7a-4c52-8a52-0d5f4e1f0003"

#: Texts that no storage may accept as keys.
NO_KEYS = [
    "",
    "/",
    "6b",
    "6b/",
    "6b/6b1f/3c1e",
    "/6b/6b1f3c1e",
    "../6b1f3c1e",
    "6b/..",
    "6b/../../etc/passwd",
    "6b/.hidden",
    "6B/6b1f3c1e",
    "6b/6b1f 3c1e",
    "6b/6b1f3c1e\n",
    "6b/6b1f3c1e\0",
    "6b\\6b1f3c1e",
    "6b/é",
    "6b/" + 65 * "0",
    "6b/6b1f3c1e." + 9 * "0",
]


def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    """The bytes of an object, joined."""
    return b"".join(storage.open(key, start, end))


class StorageContract:
    """Tests of the six methods. Add tests of your storage alone, such as a full disk, in the subclass."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """An empty storage; override it."""
        raise NotImplementedError("Override the fixture `storage`.")

    @pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_000])
    def test_what_is_put_is_read_back_byte_for_byte(self, storage: Storage, size: int) -> None:
        data = token_bytes(size)
        storage.put(KEY, data)
        assert read(storage, KEY) == data

    def test_a_key_may_have_a_suffix(self, storage: Storage) -> None:
        storage.put(KEY, b"photo")
        storage.put(f"{KEY}.thumb", b"thumbnail")
        assert read(storage, KEY) == b"photo"
        assert read(storage, f"{KEY}.thumb") == b"thumbnail"

    def test_a_second_put_replaces_the_first(self, storage: Storage) -> None:
        storage.put(KEY, b"first, and longer")
        storage.put(KEY, b"second")
        assert read(storage, KEY) == b"second"
        assert [stored.key for stored in storage.list()] == [KEY]

    @pytest.mark.parametrize(
        ("start", "end"), [(0, None), (0, 1), (0, 0), (3, 7), (9, None), (9, 10), (10, None), (0, 10), (4, 99), (7, 3)]
    )
    def test_a_part_is_from_start_up_to_end(self, storage: Storage, start: int, end: int | None) -> None:
        storage.put(KEY, b"0123456789")
        assert read(storage, KEY, start, end) == b"0123456789"[start:end]

    def test_a_part_of_a_large_object_crosses_pieces(self, storage: Storage) -> None:
        data = token_bytes(1_500_000)
        storage.put(KEY, data)
        assert read(storage, KEY, 200_000, 1_400_001) == data[200_000:1_400_001]

    def test_a_large_object_comes_in_pieces(self, storage: Storage) -> None:
        storage.put(KEY, bytes(4_000_000))
        with_bytes = [len(piece) for piece in storage.open(KEY)]
        assert all(with_bytes)
        assert max(with_bytes) <= 1_000_000

    def test_a_missing_object_is_told_at_the_call_before_any_piece(self, storage: Storage) -> None:
        with pytest.raises(MissingObjectError, match=KEY):
            storage.open(KEY)

    def test_pieces_can_be_closed_early_and_twice(self, storage: Storage) -> None:
        storage.put(KEY, bytes(1_000_000))
        pieces = storage.open(KEY)
        next(pieces)
        pieces.close()
        pieces.close()

    def test_what_is_being_read_stays_readable_while_it_is_replaced(self, storage: Storage) -> None:
        old = token_bytes(1_000_000)
        storage.put(KEY, old)
        pieces = storage.open(KEY)
        first = next(pieces)
        storage.put(KEY, b"new")
        assert first + b"".join(pieces) == old

    def test_a_deleted_object_is_gone(self, storage: Storage) -> None:
        storage.put(KEY, b"photo")
        storage.put(OTHER_KEY, b"another")
        storage.delete(KEY)
        with pytest.raises(MissingObjectError):
            storage.open(KEY)
        assert [stored.key for stored in storage.list()] == [OTHER_KEY]

    def test_deleting_what_is_not_there_is_fine(self, storage: Storage) -> None:
        storage.delete(KEY)
        storage.put(KEY, b"photo")
        storage.delete(KEY)
        storage.delete(KEY)

    def test_an_empty_storage_lists_nothing(self, storage: Storage) -> None:
        assert list(storage.list()) == []

    def test_the_list_has_keys_sizes_and_times_in_utc(self, storage: Storage) -> None:
        storage.put(KEY, b"photo")
        storage.put(OTHER_KEY, b"")
        objects = sorted(storage.list(), key=lambda stored: stored.key)
        assert [(stored.key, stored.byte_size) for stored in objects] == [(KEY, 5), (OTHER_KEY, 0)]
        for stored in objects:
            assert stored.modified_at.utcoffset() == timedelta(0)
            # A storage on another machine has a clock of its own.
            assert abs(datetime.now(UTC) - stored.modified_at) < timedelta(minutes=5)

    def test_what_is_listed_can_be_deleted_meanwhile(self, storage: Storage) -> None:
        for number in range(20):
            storage.put(f"{number:02}/object-{number}", b"x")
        for stored in storage.list():
            storage.delete(stored.key)
        assert list(storage.list()) == []

    def test_puts_of_one_key_at_once_leave_one_of_them_whole(self, storage: Storage) -> None:
        contents = [bytes([number]) * 300_000 for number in range(8)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda data: storage.put(KEY, data), contents))
        assert read(storage, KEY) in contents
        # Some servers list a key twice that was written twice at once.
        assert {stored.key for stored in storage.list()} == {KEY}

    def test_a_check_of_a_sound_storage_leaves_nothing_behind(self, storage: Storage) -> None:
        storage.check()
        storage.check()
        assert list(storage.list()) == []

    @pytest.mark.parametrize("sizes", [[], [0], [1], [60_000, 10_000], [300_000, 1, 1_000_000]])
    def test_a_draft_that_is_kept_is_the_object_of_all_its_pieces(self, storage: Storage, sizes: list[int]) -> None:
        pieces = [token_bytes(size) for size in sizes]
        with storage.draft(KEY) as draft:
            for piece in pieces:
                draft.write(memoryview(piece))
            with pytest.raises(MissingObjectError):
                storage.open(KEY)
            assert draft.content() == b"".join(pieces)
            draft.keep()
            assert read(storage, KEY) == b"".join(pieces)
        assert read(storage, KEY) == b"".join(pieces)
        assert [(stored.key, stored.byte_size) for stored in storage.list()] == [(KEY, sum(sizes))]

    def test_a_draft_need_not_be_read_to_be_kept(self, storage: Storage) -> None:
        with storage.draft(KEY) as draft:
            draft.write(b"photo")
            draft.keep()
        assert read(storage, KEY) == b"photo"

    def test_nothing_is_left_of_a_draft_that_is_not_kept(self, storage: Storage) -> None:
        for size in (0, 1, 1_000_000):
            with storage.draft(KEY) as draft:
                draft.write(bytes(size))
            opened = storage.draft(KEY)
            opened.__enter__().write(bytes(size))
            assert not opened.__exit__(ValueError, ValueError("odd"), None)
        assert list(storage.list()) == []

    def test_a_draft_that_is_not_kept_leaves_the_object_as_it_was(self, storage: Storage) -> None:
        storage.put(KEY, b"photo")
        with storage.draft(KEY) as draft:
            draft.write(b"another")
        assert read(storage, KEY) == b"photo"

    @pytest.mark.parametrize("key", NO_KEYS)
    def test_what_is_no_key_reaches_no_storage(self, storage: Storage, key: str) -> None:
        with pytest.raises(ValueError, match="not a storage key"):
            storage.put(key, b"x")
        with pytest.raises(ValueError, match="not a storage key"), storage.draft(key):
            pytest.fail("it was taken")
        with pytest.raises(ValueError, match="not a storage key"):
            storage.open(key)
        with pytest.raises(ValueError, match="not a storage key"):
            storage.delete(key)
        assert list(storage.list()) == []
