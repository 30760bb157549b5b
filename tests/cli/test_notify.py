"""`flask notify`: mails about late devices and items that wait, to a mail server, and never twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.administration.mail import parse_smtp_url
from app.administration.notices import LATE, WAITING, Entry, News, digest
from app.errors import ConfigurationError
from app.models import Inspection, Notice, SetAside, User
from app.testing import push
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.support.databases import settle
from tests.support.mail import MailServer, mail_server

PHONE = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"


@pytest.fixture(scope="module")
def running() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def server(running: MailServer) -> MailServer:
    running.mails.clear()
    running.refused.clear()
    return running


@pytest.fixture
def environment(environment: dict[str, str], server: MailServer) -> dict[str, str]:
    settings = {
        "FIELDPOST_SMTP_URL": server.url,
        "FIELDPOST_MAIL_FROM": "fieldpost@example.com",
        "FIELDPOST_PUBLIC_URL": "https://fieldpost.example.com/",
    }
    return environment | settings


@pytest.fixture
def phone(sign_in: SignIn, tech: User) -> FlaskClient:
    return sign_in(tech, PHONE)


@pytest.fixture
def item(world: World, phone: FlaskClient, owner: User, inspection: Inspection, clock: SettableClock) -> str:
    """An item of the technician's that was refused: it is about an inspection of the owner's alone. Its id."""
    push(phone, edit(world.form_fill(world.inspection(owner), data={"a": 0}), a="phone"))
    (row,) = world.all(SetAside)
    return str(row.id)


def notify(app: Flask, *arguments: str) -> Any:
    return app.test_cli_runner().invoke(args=["notify", *arguments])


def text_of(server: MailServer, recipient: str) -> str:
    (text,) = [mail.get_content() for address, mail in server.mails if address == recipient]
    return str(text)


def test_administrators_and_owners_are_told_once(
    app: Flask, server: MailServer, item: str, admin: User, stranger: User, clock: SettableClock
) -> None:
    clock.forward(hours=23)
    assert notify(app).output == "sent 0 mails\n", "nothing is late, and nothing has waited for a day"
    clock.forward(days=4)
    result = notify(app)
    assert (result.exit_code, result.output) == (0, "sent 2 mails\n")
    assert sorted(server.recipients) == ["admin@example.com", "owner@example.com"]
    subjects = {address: mail["Subject"] for address, mail in server.mails}
    assert subjects["admin@example.com"] == "Fieldpost: 1 late device and 1 item that waits for a decision"
    assert subjects["owner@example.com"] == "Fieldpost: 1 item that waits for a decision"
    assert "https://fieldpost.example.com/console/devices" in text_of(server, "admin@example.com")
    assert f"https://fieldpost.example.com/console/set-aside/{item}" in text_of(server, "owner@example.com")
    assert notify(app).output == "sent 0 mails\n"
    pages = app.url_map.bind("fieldpost.example.com")
    for page in ("/console/devices", f"/console/set-aside/{item}"):
        assert pages.match(page, "GET"), "the links lead to pages of the console"


def test_administrators_are_told_of_items_without_an_inspection(
    app: Flask, server: MailServer, phone: FlaskClient, admin: User, owner: User, clock: SettableClock
) -> None:
    push(phone, {"type": "unheard_of", "local_id": "1", "data": {}})
    clock.forward(hours=25)
    notify(app)
    assert server.recipients == ["admin@example.com"]


def test_a_refused_recipient_keeps_nobody_from_theirs_and_is_told_later(
    app: Flask, server: MailServer, item: str, admin: User, clock: SettableClock
) -> None:
    clock.forward(days=5)
    server.refused.add("owner@example.com")
    result = notify(app)
    assert result.exit_code == 1
    assert "The mail to owner@example.com was not accepted, and the next run tries again" in result.output
    assert server.recipients == ["admin@example.com"]
    server.refused.clear()
    assert notify(app).output == "sent 1 mail\n"
    assert server.recipients == ["admin@example.com", "owner@example.com"]


def test_deactivated_people_are_told_nothing(
    app: Flask, world: World, server: MailServer, item: str, clock: SettableClock
) -> None:
    world.user("former@example.com", "admin", active=False)
    clock.forward(days=5)
    notify(app)
    assert server.recipients == ["owner@example.com"]


def test_a_dry_run_prints_the_mails_and_remembers_nothing(
    app: Flask, world: World, server: MailServer, item: str, admin: User, clock: SettableClock
) -> None:
    clock.forward(days=5)
    result = notify(app, "--dry-run")
    assert result.exit_code == 0
    assert "To: owner@example.com\nSubject: Fieldpost: 1 item that waits for a decision\n" in result.output
    assert (server.mails, world.all(Notice)) == ([], [])


def test_a_device_that_is_late_again_is_told_again_after_the_upkeep(
    app: Flask, world: World, server: MailServer, item: str, admin: User, sign_in: SignIn, clock: SettableClock
) -> None:
    clock.forward(days=5)
    notify(app)
    settle(app)
    assert "notices: removed 0" in app.test_cli_runner().invoke(args=["maintenance"]).output
    sign_in(world.get(User, world.all(SetAside)[0].user_id), PHONE)
    decision = {"decision": "discard", "reason": "no longer needed"}
    assert sign_in(admin).post(f"/api/v1/set_aside/{item}/decision", json=decision).status_code == 200
    assert "notices: removed 3" in app.test_cli_runner().invoke(args=["maintenance"]).output
    clock.forward(days=5)
    server.mails.clear()
    notify(app)
    assert [(address, mail["Subject"]) for address, mail in server.mails] == [
        ("admin@example.com", "Fieldpost: 1 late device")
    ]


@pytest.mark.database("sqlite")
def test_without_the_console_links_lead_to_the_front_page(
    app: Flask, server: MailServer, item: str, clock: SettableClock
) -> None:
    app.extensions["fieldpost.registry"].installed.pop("console")
    clock.forward(days=5)
    notify(app)
    (link,) = [line.strip() for line in text_of(server, "owner@example.com").splitlines() if "https://" in line]
    assert link == "https://fieldpost.example.com/"


@pytest.mark.database("sqlite")
class TestOff:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_SMTP_URL": "", "FIELDPOST_PUBLIC_URL": ""}

    def test_it_says_which_settings_are_missing(self, app: Flask) -> None:
        result = notify(app)
        assert result.exit_code == 1
        assert "this is not set: FIELDPOST_SMTP_URL, FIELDPOST_PUBLIC_URL." in result.output


@pytest.mark.database("sqlite")
class TestNoServer:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_SMTP_URL": "smtp://127.0.0.1:1"}

    def test_without_a_mail_server_nothing_is_remembered(
        self, app: Flask, world: World, item: str, clock: SettableClock
    ) -> None:
        clock.forward(days=5)
        result = notify(app)
        assert result.exit_code == 1
        assert "The mail server 127.0.0.1:1 takes no mail" in result.output
        assert world.all(Notice) == []


def test_a_digest_counts_all_and_names_the_ten_oldest_each_on_one_line() -> None:
    entries = [Entry(WAITING, str(day), datetime(2024, 3, day, tzinfo=UTC), f"item {day}") for day in range(12, 1, -1)]
    late = Entry(LATE, "x", datetime(2024, 3, 1, tzinfo=UTC), "a phone")
    news = News(1, "o@example.com", "Olga\nOwner", [*entries, late])
    subject, text = digest(news, "https://f.example", lambda subject, key: f"/{subject}/{key}")
    assert subject == "Fieldpost: 1 late device and 11 items that wait for a decision"
    assert text.startswith("Hello Olga Owner,\n")
    named = [line for line in text.splitlines() if line.startswith("- ")]
    assert named == ["- a phone", *(f"- item {day}" for day in range(2, 11))]
    assert "\n- item 2\n  https://f.example/set_aside/2\n" in text
    assert "\n2 more: https://f.example/\n" in text


@pytest.mark.parametrize(
    ("url", "port", "is_tls", "is_plain"),
    [
        ("smtp://u:p%40ss@mail.example.com", 587, False, False),
        ("smtps://u:p%40ss@mail.example.com", 465, True, False),
        ("smtp://u:p%40ss@localhost:25", 25, False, True),
        ("smtp://u:p%40ss@mail.example.com:25?plain=1", 25, False, True),
    ],
)
def test_mail_is_encrypted_unless_it_stays_here_or_you_say_so(
    url: str, port: int, is_tls: bool, is_plain: bool
) -> None:
    server = parse_smtp_url(url)
    assert (server.user, server.password) == ("u", "p@ss")
    assert (server.port, server.is_tls, server.is_plain) == (port, is_tls, is_plain)


@pytest.mark.parametrize("url", ["mail.example.com", "http://h", "smtp://", "smtp://h:x", "smtp://h/x", "smtp://h?a=b"])
def test_an_address_that_cannot_be_read_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="FIELDPOST_SMTP_URL cannot be read"):
        parse_smtp_url(url)
