"""Backups in a bucket of S3, or of another server with its protocol. This module needs boto3.

A backup is one object, which S3 shows only once all of its bytes have arrived. It is made on this machine first, so
that there is nothing to send of one that fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from app.attachments.storage.s3 import ADDRESS, REFUSALS, client
from app.cli.backup import BackupError, Manifest, backup
from app.cli.backup.places import NAME_OF_KEPT, superfluous
from app.clock import now
from app.config import Settings
from app.core.private_files import create_private

SUFFIX = ".tar"

#: The size in bytes above which boto3 sends a file in parts.
LARGE = TransferConfig().multipart_threshold

#: Parts that have arrived are removed again, but that may fail for the same reason.
RULE = (
    " The bucket shows nobody the parts that have arrived, and they are removed if it can be reached: let a lifecycle "
    "rule remove those of incomplete multipart uploads."
)


class BucketPlace:
    """An object, or with `--keep` all objects below a prefix."""

    def __init__(self, address: str, settings: Settings) -> None:
        match = ADDRESS.fullmatch(address)
        if match is None:
            raise BackupError(
                f"{address} is not the address of a backup. Write `s3://bucket/name.tar`, or with --keep "
                "`s3://bucket/prefix`, in letters, digits and `-_.`."
            )
        self._address = address.rstrip("/")
        self._bucket, self._name = match[1], match[2].strip("/")
        self._client: Any = client(os.getpid(), settings.s3_endpoint, settings.s3_seconds)

    def make(self, *, with_files: bool, is_kept: bool) -> tuple[str, Manifest]:
        """Sent once it is whole, and then its size is compared."""
        added = f"/{now():{NAME_OF_KEPT}}" if is_kept else ""
        name, address = f"{self._name}{added}".lstrip("/"), self._address + added
        self._require_vacant(name, address)
        with tempfile.TemporaryDirectory(prefix="fieldpost-backup-") as directory:
            file = Path(directory) / f"backup{SUFFIX}"
            manifest = backup(file, with_files=with_files)
            with _refusals(f"{address} could not be written", RULE if file.stat().st_size > LARGE else ""):
                self._client.upload_file(str(file), self._bucket, name)
                size = self._size(name)
            if size != file.stat().st_size:
                raise BackupError(f"{address} has {size} bytes there, not {file.stat().st_size}. Take another backup.")
        return address, manifest

    def _require_vacant(self, name: str, address: str) -> None:
        if not name.endswith(SUFFIX):
            raise BackupError(f"{address} does not end in {SUFFIX}. Name a file, or say how many to --keep below it.")
        with _refusals(f"{address} could not be looked for"):
            is_taken = self._size(name) is not None
        if is_taken:
            raise BackupError(f"{address} is there already. Name a place that is not, or remove it.")

    def _size(self, name: str) -> int | None:
        """The bytes of an object; None if it is not there. Its own name comes first among those that begin with it."""
        page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
        return next((content["Size"] for content in page.get("Contents", ()) if content["Key"] == name), None)

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Fetched to a temporary file."""
        with tempfile.TemporaryDirectory(prefix="fieldpost-backup-") as directory:
            file = Path(directory) / f"backup{SUFFIX}"
            with _refusals(f"{self._address} could not be read"):
                try:
                    body = self._client.get_object(Bucket=self._bucket, Key=self._name)["Body"]
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") != "NoSuchKey":
                        raise
                    raise BackupError(f"{self._address} is not there. Name an object of `backup`.") from None
                with create_private(file) as copy:
                    shutil.copyfileobj(body, copy)
            yield file

    def prune(self, keep: int) -> list[str]:
        """Other objects below the prefix stay."""
        prefix = f"{self._name}/".lstrip("/")
        with _refusals(f"{self._address} could not be listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            names = [content["Key"].removeprefix(prefix) for page in pages for content in page.get("Contents", ())]
            removed = superfluous(names, keep)
            for name in removed:
                self._client.delete_object(Bucket=self._bucket, Key=prefix + name)
        return [f"{self._address}/{name}" for name in removed]


@contextmanager
def _refusals(failure: str, further: str = "") -> Iterator[None]:
    try:
        yield
    except (*REFUSALS, Boto3Error) as error:
        advice = f"Look at the bucket's rights and address.{further}"
        raise BackupError(f"{failure}: {str(error).rstrip('.')}. {advice}") from error
