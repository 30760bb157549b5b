"""A storage in a bucket of S3, or of another server with its protocol: for several nodes, or many photos.

This module is imported only if `FIELDPOST_STORAGE` names a bucket, because it needs boto3. boto3 finds credentials and
region in its usual places.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cache, partial
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from app.attachments.storage.drafts import TemporaryDraft
from app.attachments.storage.protocol import KEY, MissingObjectError, Pieces, Storage, StoredObject, checked
from app.config import Settings
from app.errors import ConfigurationError, StorageError
from app.http.metrics import storage_errors

#: Bucket and prefix. No part of the prefix may look like `..` to servers that keep objects as files.
ADDRESS = re.compile(r"s3://(\w[\w.-]{1,61}\w)((?:/[\w!*'()-][\w!.*'()-]*)*)/?", re.ASCII)
ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.ASCII)

PIECE = 256 * 1024

#: Attempts of one call. Only failures that may pass are repeated: no connection, no answer, 5xx, "slow down".
ATTEMPTS = 2

#: How long a link can be used, in seconds. Devices follow it at once or not at all.
LINK_SECONDS = 60

#: The exceptions of boto3 for calls that do not succeed.
REFUSALS = (BotoCoreError, ClientError, ResponseParserError, HTTPError)


def open_bucket(settings: Settings) -> Storage:
    """The storage at the address `settings.storage`, without a connection yet. Raises `ConfigurationError`."""
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
    """Objects below a prefix of a bucket. Each is written by one PUT, which S3 performs as a whole or not at all."""

    def __init__(self, settings: Settings) -> None:
        match = ADDRESS.fullmatch(settings.storage)
        assert match is not None
        self.bucket = match[1]
        self.prefix = f"{match[2].strip('/')}/".lstrip("/")
        self._endpoint = settings.s3_endpoint
        self._seconds = settings.s3_seconds

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. After a `StorageError` the object may be there, if only the answer was lost."""
        name = self._name(key)
        with _refusals(f"{key} could not be stored"):
            # Passed as bytes: before it sends a file, boto3 waits up to a second for the server's permission.
            self._client().put_object(Bucket=self.bucket, Key=name, Body=data)

    @contextmanager
    def draft(self, key: str) -> Iterator[TemporaryDraft]:
        """A draft in a temporary file of this node, so that nothing of it is in the bucket before it is kept."""
        draft = TemporaryDraft(partial(self.put, checked(key)))
        try:
            yield draft
        finally:
            draft.close()

    def open(self, key: str, start: int = 0, end: int | None = None) -> Pieces:
        """The bytes from `start` up to `end`, exclusive. Raises `MissingObjectError`."""
        name = self._name(key)
        # HTTP has no empty range. One byte is requested, to see whether the object is there.
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
                # The object ends before `start`.
                body = None
        pieces = BodyPieces(key, body)
        if is_empty:
            pieces.close()
        return pieces

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""
        name = self._name(key)
        with _refusals(f"{key} could not be deleted"):
            self._client().delete_object(Bucket=self.bucket, Key=name)

    def list(self) -> Iterator[StoredObject]:
        """All objects below the prefix whose names are keys, in order of their keys; listed a thousand at a time."""
        with _refusals(f"{self.bucket}/{self.prefix} could not be listed"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for content in page.get("Contents", ()):
                    key = content["Key"].removeprefix(self.prefix)
                    # Objects with other names are not ours.
                    if KEY.fullmatch(key):
                        modified_at = content["LastModified"].astimezone(UTC)
                        yield StoredObject(key=key, byte_size=content["Size"], modified_at=modified_at)

    def check(self) -> None:
        """Write a small object and remove it."""
        # Named like a draft of `LocalStorage`, so that an object left by a crash is listed and collected.
        probe = self._name(f"00/probe.{secrets.token_hex(8)}.tmp")
        with _refusals(f"{self.bucket}/{self.prefix} cannot be written"):
            self._client().put_object(Bucket=self.bucket, Key=probe, Body=b"probe")
            self._client().delete_object(Bucket=self.bucket, Key=probe)

    def _name(self, key: str) -> str:
        return self.prefix + checked(key)

    def _client(self) -> Any:
        return client(os.getpid(), self._endpoint, self._seconds)


class LinkingS3Storage(S3Storage):
    """A bucket that devices read directly, at `FIELDPOST_S3_PUBLIC_ENDPOINT` if that is set."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._public_endpoint = settings.s3_public_endpoint or settings.s3_endpoint

    def link(self, key: str, *, content_type: str, disposition: str | None, caching: str) -> str:
        """An address that answers a GET with the object and these headers, for `LINK_SECONDS`."""
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
    """The body of an answer, read piece by piece. The connection is released at its end."""

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
        """Release the connection: it is reused if everything has been read, otherwise closed."""
        if self._body is not None:
            self._body.close()
            self._body = None


@cache
def client(_process: int, endpoint: str, seconds: int) -> Any:
    """The client of this process, by its id: a client made before a fork would share its connections.

    Its calls return or give up after a few times `seconds`. Two threads may each make a client at first. That does no
    harm, while a lock could be held forever after a fork.
    """
    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Newer regions refuse links with the older signature.
        signature_version="s3v4",
        # At other providers buckets have no host names of their own. At Amazon, `auto` would make links to the global
        # address, which redirects to the region's, where the signature is not valid.
        s3={"addressing_style": "path" if endpoint else "virtual"},
        # Other servers fail at boto3's newer checksums (trap 31). The signature contains a SHA-256 of the body anyway.
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
