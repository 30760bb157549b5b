"""Settings: read from the environment, checked at the start, refused in plain words."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.config import Settings, load_settings
from app.errors import ConfigurationError
from tests.support.cases import cases

KEY = "k" * 48


def test_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings({"FIELDPOST_DATA_DIR": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/fieldpost.sqlite3"
    assert (settings.host, settings.port, settings.web_concurrency) == ("127.0.0.1", 8000, 2)
    assert (settings.max_batch_items, settings.max_batch_bytes) == (1000, 8 * 1024 * 1024)
    assert (settings.max_photo_bytes, settings.max_photo_pixels) == (10_485_760, 50_000_000)
    assert settings.retry_days >= 180


def test_an_empty_value_is_as_good_as_none(tmp_path: Path) -> None:
    environment = {"FIELDPOST_DATA_DIR": str(tmp_path), "PORT": "", "FIELDPOST_MAX_BATCH_ITEMS": "", "DATABASE_URL": ""}
    assert load_settings(environment).port == Settings.port


@cases(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "PORT='http' is not a whole number"),
        ("PORT", "70000", "PORT=70000 is above the greatest possible value, 65535"),
        ("FIELDPOST_MAX_BATCH_ITEMS", "0", "FIELDPOST_MAX_BATCH_ITEMS=0 is below the least possible value, 1"),
        ("FIELDPOST_RETRY_DAYS", "30", "FIELDPOST_RETRY_DAYS=30 is below the least possible value, 180"),
        ("FIELDPOST_REFRESH_TOKEN_DAYS", "365", "a device could come back and apply its changes twice"),
        ("FIELDPOST_LOG_LEVEL", "LOUD", "FIELDPOST_LOG_LEVEL='LOUD' is unknown"),
        ("FIELDPOST_SECRET_KEY", "short", "FIELDPOST_SECRET_KEY has 5 bytes; at least 32 are needed"),
        ("FIELDPOST_SECRET_KEY_PREVIOUS", "short", "FIELDPOST_SECRET_KEY_PREVIOUS has 5 bytes"),
        ("DATABASE_URL", "mysql://localhost/fieldpost", "DATABASE_URL"),
        ("DATABASE_URL", "sqlite:///:memory:", "DATABASE_URL"),
        ("DATABASE_URL", "postgresql:///fieldpost?target_session_attrs=read-write", "attrs=primary"),
        ("DATABASE_URL", "sqlite:////tmp", "DATABASE_URL names /tmp, which is a directory"),
        ("DATABASE_URL", "postgresql://localhost/fieldpost", "FIELDPOST_SECRET_KEY is not set"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"FIELDPOST_DATA_DIR": str(tmp_path), name: value})
    assert sentence in str(refused.value)


def test_a_refusal_never_shows_a_key_or_a_password(tmp_path: Path) -> None:
    for environment in (
        {"FIELDPOST_SECRET_KEY": "tooshort-5f1c"},
        {"DATABASE_URL": "mysql://joe:tooshort-5f1c@localhost/fieldpost"},
    ):
        with pytest.raises(ConfigurationError) as refused:
            load_settings({"FIELDPOST_DATA_DIR": str(tmp_path), **environment})
        assert "tooshort-5f1c" not in str(refused.value)


def test_both_spellings_of_postgresql_mean_psycopg_3(tmp_path: Path) -> None:
    for kind in ("postgres", "postgresql"):
        environment = {"DATABASE_URL": f"{kind}://joe@db/fieldpost", "FIELDPOST_SECRET_KEY": KEY}
        settings = load_settings({"FIELDPOST_DATA_DIR": str(tmp_path), **environment})
        assert settings.database_url == "postgresql+psycopg://joe@db/fieldpost"


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = load_settings({"FIELDPOST_DATA_DIR": str(tmp_path)}).secret_key
    assert len(first) >= 32
    assert load_settings({"FIELDPOST_DATA_DIR": str(tmp_path)}).secret_key == first
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret_key"]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    keys: list[str] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        keys.append(load_settings({"FIELDPOST_DATA_DIR": str(tmp_path)}).secret_key)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made") as refused:
        load_settings({"FIELDPOST_DATA_DIR": str(tmp_path / "file" / "data")})
    assert "FIELDPOST_DATA_DIR" in str(refused.value)


def test_a_data_directory_that_cannot_be_written_is_refused() -> None:
    # Nobody makes files here, not even root.
    with pytest.raises(ConfigurationError, match="can be neither made nor read") as refused:
        load_settings({"FIELDPOST_DATA_DIR": "/proc"})
    assert "FIELDPOST_DATA_DIR" in str(refused.value)


@pytest.mark.parametrize("name", ["with space", "100%20", "what?", "é#"])
def test_the_data_directory_may_be_called_anything(tmp_path: Path, name: str) -> None:
    url = load_settings({"FIELDPOST_DATA_DIR": str(tmp_path / name)}).database_url
    assert make_url(url).database == str(tmp_path / name / "fieldpost.sqlite3")


def test_a_relative_sqlite_file_is_in_the_data_directory(tmp_path: Path) -> None:
    url = load_settings({"FIELDPOST_DATA_DIR": str(tmp_path), "DATABASE_URL": "sqlite:///other.db"}).database_url
    assert url == f"sqlite:///{tmp_path}/other.db"


def test_names_that_nobody_knows_are_kept_for_plugins(tmp_path: Path) -> None:
    environment = {"FIELDPOST_DATA_DIR": str(tmp_path), "FIELDPOST_METERS_UNIT": "kPa", "HOME": "/root"}
    assert load_settings(environment).unknown == {"FIELDPOST_METERS_UNIT": "kPa"}
