"""Mail by SMTP (RFC 5321), encrypted unless it stays on this machine."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qsl, unquote, urlsplit

from app.errors import ConfigurationError

#: How long to wait for the mail server, each time.
SECONDS = 30

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PORTS = {"smtp": 587, "smtps": 465}


class MailServerError(Exception):
    """The mail server cannot be reached, or does not let us in: no mail can be sent."""


class MailRefusedError(Exception):
    """The mail server did not accept this mail; it may accept others."""


@dataclass(frozen=True)
class MailServer:
    """A mail server, as `FIELDPOST_SMTP_URL` names it."""

    host: str
    port: int
    user: str
    password: str
    #: TLS from the start; otherwise STARTTLS, unless it is `is_plain`.
    is_tls: bool
    is_plain: bool


def parse_smtp_url(url: str) -> MailServer:
    """The server of an address such as `smtp://user:password@host:587`. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except (KeyError, ValueError):
        raise _unreadable() from None
    host = parts.hostname
    if not host or parts.path not in ("", "/") or parts.fragment or options not in ({}, {"plain": "1"}):
        raise _unreadable()
    is_tls = parts.scheme == "smtps"
    is_plain = not is_tls and (host in LOOPBACK or bool(options))
    return MailServer(host, port, unquote(parts.username or ""), unquote(parts.password or ""), is_tls, is_plain)


def send(server: MailServer, sender: str, recipient: str, subject: str, text: str) -> None:
    """Send one mail. Raises `MailServerError` or `MailRefusedError`; after a return the server has accepted it."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    with _connection(server) as smtp:
        try:
            smtp.send_message(message, sender, [recipient])
        except (smtplib.SMTPException, OSError) as error:
            raise MailRefusedError(str(error)) from error


@contextmanager
def _connection(server: MailServer) -> Iterator[smtplib.SMTP]:
    try:
        smtp = _connected(server)
    except (smtplib.SMTPException, OSError) as error:
        raise MailServerError(str(error)) from error
    try:
        yield smtp
    finally:
        # An accepted mail stays accepted, even if the server does not say goodbye.
        smtp.close()


def _connected(server: MailServer) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.is_tls:
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS, context=context)
    else:
        smtp = smtplib.SMTP(server.host, server.port, timeout=SECONDS)
    try:
        if not (server.is_tls or server.is_plain):
            smtp.starttls(context=context)
        if server.user:
            smtp.login(server.user, server.password)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "FIELDPOST_SMTP_URL cannot be read. Write `smtp://user:password@host:587` for STARTTLS or `smtps://host:465`. "
        "In a password, write @ as %40, / as %2F and % as %25."
    )
