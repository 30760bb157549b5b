"""Every setting: its name in the environment, its default and its meaning; and reading them from the environment.

A setting is a field of `Settings`. Its environment name is `FIELDPOST_` and the field's name in capitals, except for
the four that other tools share (`DATABASE_URL`, `HOST`, `PORT`, `WEB_CONCURRENCY`). `docs/operating.md` lists them all;
a guard compares.

`app.serving.gunicorn_conf` reads the settings in the master process, which outlives upgrades: this module loads no
library, and of ours only `app.errors`. `app.config` has the rest of a server's settings.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import ConfigurationError

#: The fields whose environment names other tools share.
SHARED_NAMES = {"database_url", "host", "port", "web_concurrency"}
MAXIMUM_PORT = 65535

#: Far more than any machine runs; a larger number is a mistake.
MAXIMUM_WORKERS = 1000


def setting(
    default: Any, meaning: str, *, secret: bool = False, minimum: int | None = None, maximum: int | None = None
) -> Any:
    """A field of `Settings`; `minimum` and `maximum` bound a number, `secret` masks the value in `fieldpost config`."""
    return field(
        default=default, metadata={"meaning": meaning, "secret": secret, "minimum": minimum, "maximum": maximum}
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings of one application. Periods say their unit in the name."""

    database_url: str = setting("", "Database; empty: a SQLite file in the data directory", secret=True)
    #: A relative path is the default, which stands in the installation.
    data_dir: Path = setting(Path("instance"), "Directory for the database file, the key and the stored files")
    environment_file: Path = setting(Path("/etc/fieldpost/env"), "File of settings that `fieldpost` reads")
    storage: str = setting("", "Where photos go; empty: files in the data directory; `s3://bucket/prefix`")
    s3_endpoint: str = setting("", "Address of the object storage; empty: Amazon S3")
    s3_public_endpoint: str = setting("", "The same as devices reach it; empty: as Fieldpost does")
    s3_redirect: int = setting(0, "1: devices fetch photos from the bucket itself; 0: Fieldpost sends them", minimum=0)
    s3_seconds: int = setting(5, "How long to wait for the object storage, each of two times", minimum=1)
    secret_key: str = setting("", "Signs tokens; empty: made once, kept in the data directory", secret=True)
    secret_key_previous: str = setting("", "The former key, still accepted while it is changed", secret=True)

    max_batch_items: int = setting(1000, "Items in one batch", minimum=1)
    max_batch_bytes: int = setting(8 * 1024 * 1024, "Bytes of a JSON body, decoded", minimum=1024)
    max_public_bytes: int = setting(8 * 1024, "Bytes of a JSON body before the sign-in, not compressed", minimum=1024)
    max_photo_bytes: int = setting(10 * 1024 * 1024, "Bytes of one photo", minimum=1024)
    max_photo_pixels: int = setting(50_000_000, "Pixels of one photo", minimum=1)
    user_storage_bytes: int = setting(0, "Bytes of photos that one user may have here; 0: no limit", minimum=0)
    site_storage_bytes: int = setting(0, "Bytes of photos that all users may have here; 0: no limit", minimum=0)
    strip_metadata: int = setting(
        0, "1: a photo's location and other metadata go to nobody but its uploader; 0: to all who see it", minimum=0
    )
    max_form_bytes: int = setting(1024 * 1024, "Bytes of one form's `data`, as JSON", minimum=1024)
    max_template_fields: int = setting(2000, "Fields of one form template", minimum=1)
    max_template_options: int = setting(2000, "Options of one field of a form template", minimum=1)
    max_json_depth: int = setting(32, "Nesting of a JSON body", minimum=4, maximum=200)
    head_seconds: int = setting(10, "Time for the head of a request to arrive", minimum=1)
    silence_seconds: int = setting(30, "Longest silence of a client that sends a body or reads an answer", minimum=1)
    least_bytes_per_second: int = setting(1000, "Least rate of a client, over twice that time", minimum=0)
    max_held_bytes: int = setting(
        256 * 1024 * 1024, "Bytes of bodies and answers that slow clients hold in a worker", minimum=1024 * 1024
    )

    access_token_seconds: int = setting(900, "Life of an access token", minimum=30)
    refresh_token_days: int = setting(90, "Life of a refresh token from its last use", minimum=1)
    refresh_reuse_seconds: int = setting(60, "How long a used refresh token may always be used again", minimum=0)
    sign_in_days: int = setting(365, "How long a sign-in can be refreshed, however often it is used", minimum=1)
    login_rate: str = setting("10 per minute", "Failed sign-ins on one account from one network")
    account_login_rate: str = setting("100 per hour", "Failed sign-ins on one account from all networks together")
    rate_limit_storage: str = setting(
        "memory://", "Where rate limits are counted; `redis://…` for several nodes", secret=True
    )
    late_days: int = setting(3, "After how many days of silence a device with work to do is late", minimum=1)
    retry_days: int = setting(180, "How long an applied operation is remembered for retries", minimum=180)
    deleted_attachment_days: int = setting(30, "How long the bytes of a deleted photo are kept", minimum=0)
    finished_inspection_days: int = setting(
        0, "After how many days without a change a finished inspection is removed; 0: never", minimum=0
    )
    audit_days: int = setting(400, "How long entries of the audit log are kept", minimum=1)
    orphan_hours: int = setting(24, "How old a stored file without a row must be to be collected", minimum=1)

    set_aside_days: int = setting(180, "How long an item that was not applied is kept for a decision", minimum=1)
    settled_item_days: int = setting(30, "How long the values of such an item are kept once it is settled", minimum=0)
    set_aside_rows: int = setting(5000, "Open items of one user that were not applied and are kept whole", minimum=0)
    set_aside_bytes: int = setting(20 * 1024 * 1024, "Bytes of these items", minimum=0)

    field_inspections: int = setting(1, "1: devices may make new inspections; 0: only the office", minimum=0, maximum=1)

    trusted_proxies: int = setting(0, "Proxies in front whose X-Forwarded-* headers are believed", minimum=0)
    hsts_seconds: int = setting(0, "How long browsers insist on HTTPS after an answer over it; 0: not", minimum=0)
    cors_origins: str = setting("", "Origins that browsers may call from, separated by commas; empty: none")
    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")
    metrics_token: str = setting("", "Bearer token for `/metrics`; without it or a port there is none", secret=True)
    metrics_port: int = setting(
        0, "Port of its own for `/metrics`, on `HOST`; 0: none", minimum=0, maximum=MAXIMUM_PORT
    )
    smtp_url: str = setting(
        "", "Mail server of `notify`, such as `smtp://user:password@host:587`; empty: no mail", secret=True
    )
    mail_from: str = setting("", "Address that the mails of `notify` come from")
    public_url: str = setting("", "Address of this server in mails, such as `https://fieldpost.example.com`")
    database_seconds: int = setting(5, "How long to wait for a lock or a connection", minimum=1)

    handler_seconds: int = setting(5, "Time for a plugin's code to deal with one item", minimum=1)

    host: str = setting("127.0.0.1", "Address to listen on")
    port: int = setting(8000, "Port to listen on", minimum=1, maximum=MAXIMUM_PORT)
    web_concurrency: int = setting(2, "Worker processes", minimum=1, maximum=MAXIMUM_WORKERS)

    #: Values of `FIELDPOST_…` that no field takes: plugins' settings, or misspellings.
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """Host and port of everything that the server listens on; metrics may have a port of their own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return [f"{host}:{port}" for port in (self.port, self.metrics_port) if port]


def environment_name(name: str) -> str:
    """`max_batch_items` → `FIELDPOST_MAX_BATCH_ITEMS`."""
    return name.upper() if name in SHARED_NAMES else f"FIELDPOST_{name.upper()}"


def names_of_settings() -> list[str]:
    """The environment variables of the core's settings."""
    return list(_fields())


def parse_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environment` (default: the process's) as they are set there. Touches no file.

    Raises `ConfigurationError` that names the setting, the value and the cure.
    """
    environment = os.environ if environment is None else environment
    fields = _fields()
    values: dict[str, Any] = {
        field.name: _parse(name, field, environment[name]) for name, field in fields.items() if environment.get(name)
    }
    values["unknown"] = {
        name: value for name, value in environment.items() if name.startswith("FIELDPOST_") and name not in fields
    }
    return Settings(**values)


def _fields() -> dict[str, dataclasses.Field[Any]]:
    """Environment name -> field, for all that are settings."""
    return {environment_name(field.name): field for field in dataclasses.fields(Settings) if field.name != "unknown"}


def _parse(name: str, field: dataclasses.Field[Any], text: str) -> Path | int | str:
    if isinstance(field.default, Path):
        return Path(text).expanduser().absolute()
    if not isinstance(field.default, int):
        return text
    try:
        number = int(text)
    except ValueError:
        raise ConfigurationError(f"{name}={text!r} is not a whole number. Set it to one, or unset it.") from None
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if number < minimum:
        raise ConfigurationError(f"{name}={number} is below the least possible value, {minimum}. Raise it or unset it.")
    if maximum is not None and number > maximum:
        raise ConfigurationError(f"{name}={number} is above the greatest possible value, {maximum}. Lower it.")
    return number
