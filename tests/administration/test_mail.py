"""Mail goes out encrypted and signed in, to a server that proves who it is, or not at all."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from app.administration.mail import MailRefusedError, MailServerError, parse_smtp_url, send
from tests.support.mail import PASSWORD, USER, MailServer, mail_server

ACCOUNT = f"{USER}:{quote(PASSWORD, safe='')}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Those who vouch for the server."""
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate for its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def _trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine trusts the authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.fixture
def server(tls: ssl.SSLContext) -> Iterator[MailServer]:
    """A server that asks for STARTTLS and an account."""
    with mail_server(tls) as server:
        yield server


def send_one(server: MailServer, account: str = ACCOUNT) -> None:
    """Send a mail as to a server that is not on this machine."""
    address = parse_smtp_url(f"smtp://{account}@127.0.0.1:{server.port}")
    send(replace(address, is_plain=False), "fieldpost@example.com", "olga@example.com", "Grüße", "Wörter\n")


@pytest.mark.usefixtures("_trusted")
def test_a_mail_is_sent_after_starttls_and_the_sign_in(server: MailServer) -> None:
    send_one(server)
    ((recipient, mail),) = server.mails
    assert (recipient, mail["Subject"], mail.get_content().strip()) == ("olga@example.com", "Grüße", "Wörter")
    assert (server.passwords, server.encrypted) == ([PASSWORD], [True])


@pytest.mark.usefixtures("_trusted")
def test_a_wrong_password_sends_nothing(server: MailServer) -> None:
    with pytest.raises(MailServerError, match="535"):
        send_one(server, f"{USER}:wrong")
    assert server.mails == []


@pytest.mark.usefixtures("_trusted")
def test_a_refused_recipient_is_no_fault_of_the_server(server: MailServer) -> None:
    server.refused.add("olga@example.com")
    with pytest.raises(MailRefusedError, match="nobody of this name"):
        send_one(server)


def test_a_certificate_that_nobody_vouches_for_gets_neither_password_nor_mail(server: MailServer) -> None:
    with pytest.raises(MailServerError, match="certificate verify failed"):
        send_one(server)
    assert (server.passwords, server.mails) == ([], [])


def test_a_server_without_starttls_gets_neither_password_nor_mail() -> None:
    with mail_server() as server:
        with pytest.raises(MailServerError, match="STARTTLS"):
            send_one(server)
        assert (server.passwords, server.mails) == ([], [])


@pytest.mark.usefixtures("_trusted")
def test_a_mail_is_sent_by_tls_from_the_start(tls: ssl.SSLContext) -> None:
    with mail_server(tls, is_tls_first=True) as server:
        address = parse_smtp_url(f"smtps://127.0.0.1:{server.port}")
        send(address, "fieldpost@example.com", "olga@example.com", "Hello", "Olga")
        assert server.recipients == ["olga@example.com"]
