"""A mail server on the loopback, as much of SMTP (RFC 5321) as a client needs that sends one mail a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import cast


class MailServer(ThreadingTCPServer):
    """Keeps what it accepts in `mails`; refuses the recipients in `refused`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.mails: list[tuple[str, EmailMessage]] = []
        self.refused: set[str] = set()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    @property
    def recipients(self) -> list[str]:
        return [recipient for recipient, _ in self.mails]


class Conversation(StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        self.recipient = ""
        self.reply("220 ready")
        for line in self.rfile:
            self.reply(self.answer(line.decode().strip()))

    def reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def answer(self, line: str) -> str:
        server, verb = cast("MailServer", self.server), line[:4].upper()
        if verb == "RCPT":
            self.recipient = line.partition("<")[2].partition(">")[0]
            return "550 nobody of this name" if self.recipient in server.refused else "250 ok"
        if verb == "DATA":
            self.reply("354 go on")
            body = b"".join(iter(self.rfile.readline, b".\r\n"))
            server.mails.append((self.recipient, message_from_bytes(body, policy=policy.default)))
        return "250 ok" if verb in ("EHLO", "MAIL", "DATA", "RSET") else "502 unknown"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """A server that runs meanwhile."""
    with MailServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
