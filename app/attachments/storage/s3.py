"""Objects in a bucket of S3 or of whatever speaks its protocol: for several nodes, or more photos than a disk holds.

Imported only where `FIELDPOST_STORAGE` names a bucket, for it needs boto3. Credentials and region come the way boto3
always finds them.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cache
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from app.attachments.storage.protocol import KEY, MissingObjectError, Pieces, Storage, StoredObject, checked
from app.config import Settings
from app.errors import ConfigurationError, StorageError
from app.http.metrics import storage_errors

#: Bucket and prefix, no part of which looks like a way up to servers that keep objects as files.
ADDRESS = re.compile(r"s3://(\w[\w.-]{1,61}\w)((?:/[\w!*'()-][\w!.*'()-]*)*)/?", re.ASCII)
ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.ASCII)

PIECE = 256 * 1024

#: Tries of one call. Only what may pass is tried again: no connection, no answer, 5xx, "slow down".
ATTEMPTS = 2

#: How long an address that a device is sent to can be used, in seconds: it is followed at once, or not at all.
LINK_SECONDS = 60

#: Whatever boto3 raises when a call does not succeed.
REFUSALS = (BotoCoreError, ClientError, ResponseParserError, HTTPError)


def open_bucket(settings: Settings) -> Storage:
    """The storage at the address `settings.storage`. Asks nothing of it yet. Raises `ConfigurationError`."""
    if not ADDRESS.fullmatch(settings.storage):
        raise ConfigurationError(
            f"FIELDPOST_STORAGE={settings.storage!r} is not the address of a bucket. "
            "Write `s3://bucket` or `s3://bucket/prefix`, in letters, digits and `-_.`."
        )
    for name, value in (
        ("FIELDPOST_S3_ENDPOINT", settings.s3_endpoint),
        ("FIELDPOST_S3_PUBLIC_ENDPOINT", settings.s3_public_endpoint),
    ):
        if value and not ENDPOINT.fullmatch(value):
            raise ConfigurationError(
                f"{name}={value!r} is not the address of a server. Write `https://host:port`, "
                "without bucket, name or password; or unset it."
            )
    return LinkingS3Storage(settings) if settings.s3_redirect else S3Storage(settings)


class S3Storage:
    """Objects below a prefix of a bucket, each written by one PUT, which S3 carries out wholly or not at all."""

    def __init__(self, settings: Settings) -> None:
        found = ADDRESS.fullmatch(settings.storage)
        assert found is not None
        self.bucket = found[1]
        self.prefix = f"{found[2].strip('/')}/".lstrip("/")
        self._endpoint = settings.s3_endpoint
        self._seconds = settings.s3_seconds

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. After a `StorageError` it may be there all the same: the answer was lost."""
        name = self._name(key)
        with _refusals(f"{key} could not be stored"):
            # As bytes: a file is sent only after waiting for the server's leave, up to a second.
            self._client().put_object(Bucket=self.bucket, Key=name, Body=data)

    def open(self, key: str, start: int = 0, end: int | None = None) -> Pieces:
        """The bytes from `start` up to, without, `end`."""
        name = self._name(key)
        # HTTP has no word for an empty range: one byte is asked for, to know whether the object is there.
        is_empty = end is not None and end <= start
        span = "bytes=0-0" if is_empty else f"bytes={start}-{'' if end is None else end - 1}"
        with _refusals(f"{key} could not be read"):
            try:
                body = self._client().get_object(Bucket=self.bucket, Key=name, Range=span)["Body"]
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    raise MissingObjectError(f"There is no object {name} in {self.bucket}.") from None
                if _code(error) != "InvalidRange":
                    raise
                # It ends before `start`.
                body = None
        pieces = BodyPieces(key, body)
        if is_empty:
            pieces.close()
        return pieces

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        name = self._name(key)
        with _refusals(f"{key} could not be deleted"):
            self._client().delete_object(Bucket=self.bucket, Key=name)

    def list(self) -> Iterator[StoredObject]:
        """All objects below the prefix whose names are keys, asked for a thousand at a time, in order of their keys."""
        with _refusals(f"{self.bucket}/{self.prefix} could not be listed"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for each in page.get("Contents", ()):
                    key = each["Key"].removeprefix(self.prefix)
                    # Else not ours: whoever put it there knows what it is.
                    if KEY.fullmatch(key):
                        modified_at = each["LastModified"].astimezone(UTC)
                        yield StoredObject(key=key, byte_size=each["Size"], modified_at=modified_at)

    def check(self) -> None:
        """Write a small object and remove it."""
        # Named as a draft of `LocalStorage`, so that one left by a crash is listed and collected like any other.
        probe = self._name(f"00/probe.{secrets.token_hex(8)}.tmp")
        with _refusals(f"{self.bucket}/{self.prefix} cannot be written"):
            self._client().put_object(Bucket=self.bucket, Key=probe, Body=b"probe")
            self._client().delete_object(Bucket=self.bucket, Key=probe)

    def _name(self, key: str) -> str:
        return self.prefix + checked(key)

    def _client(self) -> Any:
        return client(os.getpid(), self._endpoint, self._seconds)


class LinkingS3Storage(S3Storage):
    """A bucket that devices are sent to, under another name than ours where the settings have one."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._public_endpoint = settings.s3_public_endpoint or settings.s3_endpoint

    def link(self, key: str, *, content_type: str, disposition: str | None, caching: str) -> str:
        """An address that answers a GET of the object with these headers, for `LINK_SECONDS`."""
        parameters = {
            "Bucket": self.bucket,
            "Key": self._name(key),
            "ResponseContentType": content_type,
            "ResponseCacheControl": caching,
            **({"ResponseContentDisposition": disposition} if disposition else {}),
        }
        with _refusals(f"{key} could not be linked to"):
            signer = client(os.getpid(), self._public_endpoint, self._seconds)
            return str(signer.generate_presigned_url("get_object", Params=parameters, ExpiresIn=LINK_SECONDS))


class BodyPieces:
    """The body of an answer, read piece by piece; lets go of the connection at the end of it."""

    def __init__(self, key: str, body: Any) -> None:
        self._key = key
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = b""
        if self._body is not None:
            with _refusals(f"{self._key} could not be read"):
                piece = self._body.read(PIECE)
        if not piece:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Let go of the connection: it is used again if all has been read, else closed."""
        if self._body is not None:
            self._body.close()
            self._body = None


@cache
def client(_process: int, endpoint: str, seconds: int) -> Any:
    """The client of this process (its id) for all its threads: one made before a fork would share its connections.

    Whatever is asked of it is answered or given up after a few times `seconds`. Two threads may both come first and
    make one each: no harm, while a lock might be found taken after a fork.
    """
    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Presigned addresses of the older kind are refused by newer regions.
        signature_version="s3v4",
        # Elsewhere buckets have no host names of their own. At Amazon, `auto` would make links to the global address,
        # which sends whoever follows one on to the region's, where the signature does not hold.
        s3={"addressing_style": "path" if endpoint else "virtual"},
        # Other servers stumble over boto3's newer checksums (trap 31); the signature holds a SHA-256 of the body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return Session().client("s3", endpoint_url=endpoint or None, config=config)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except REFUSALS as error:
        storage_errors.inc()
        raise StorageError(f"{what}: {str(error).rstrip('.')}.") from error
