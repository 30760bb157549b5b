"""A mail server on the loopback that keeps what it accepts: aiosmtpd, as real programs send mail to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from ssl import SSLContext
from threading import Event, Thread
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

#: The account of servers that ask for one.
USER, PASSWORD = "fieldpost", "p@ss/word"


class MailServer:
    """Keeps what it accepts in `mails`; refuses the recipients in `refused`."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.refused: set[str] = set()
        self.port = 0
        #: The passwords that clients have sent, right or wrong.
        self.passwords: list[str] = []
        #: Of each mail, whether it came encrypted.
        self.encrypted: list[bool] = []

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def recipients(self) -> list[str]:
        return [recipient for recipient, _ in self.mails]

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, sent: Any) -> AuthResult:
        """Lets the one account in."""
        assert isinstance(sent, LoginPassword)
        self.passwords.append(sent.password.decode())
        is_right = (sent.login.decode(), sent.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=is_right, handled=False)

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.mails += [(recipient, message) for recipient in envelope.rcpt_tos]
        self.encrypted.append(session.ssl is not None)
        return "250 ok"


@contextmanager
def mail_server(tls: SSLContext | None = None, *, is_tls_first: bool = False) -> Iterator[MailServer]:
    """A server that runs meanwhile. With `tls` it asks for STARTTLS and an account, unless `is_tls_first`."""
    server, begun = MailServer(), Event()
    options: dict[str, Any] = {}
    if tls is not None and not is_tls_first:
        account = {"auth_required": True, "authenticator": server.authenticate}
        options = {"tls_context": tls, "require_starttls": True, **account}
    ending: Future[None] = Future()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        first = tls if is_tls_first else None
        listening = await loop.create_server(lambda: SMTP(server, loop=loop, **options), "127.0.0.1", 0, ssl=first)
        server.port = listening.sockets[0].getsockname()[1]
        begun.set()
        await asyncio.wrap_future(ending)
        listening.close()
        # Clients have gone by now, and their connections end by themselves.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    begun.wait()
    try:
        yield server
    finally:
        ending.set_result(None)
        thread.join()
