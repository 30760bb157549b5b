"""Bodies as they arrive, on a connection that gunicorn's own parser has read the head of."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from app.serving.arriving import ArrivingBody

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


def parser_of(ends: tuple[socket.socket, socket.socket]) -> Any:
    return RequestParser(Config(), ends[0], ("", 0))


def body_of(parser: Any) -> Any:
    """The body of the next request."""
    request = next(parser)
    request.body = ArrivingBody.instead_of(request.body)
    return request.body


def send(ends: tuple[socket.socket, socket.socket], length: int, content: bytes) -> None:
    ends[1].sendall(HEAD % f"Content-Length: {length}".encode() + content)


def test_a_piece_is_handed_on_as_it_has_arrived(ends: tuple[socket.socket, socket.socket]) -> None:
    send(ends, 9, b"abc")
    body = body_of(parser_of(ends))
    assert body.read(100) == b"abc", "it came with the head"
    ends[1].sendall(b"defg")
    assert body.read(100) == b"defg", "and it waits for no more"
    ends[1].sendall(b"hi")
    assert (body.read(1), body.read(100), body.read(100)) == (b"h", b"i", b"")


def test_the_next_request_is_never_read_with_it(ends: tuple[socket.socket, socket.socket]) -> None:
    parser = parser_of(ends)
    send(ends, 3, b"abc" + HEAD % b"Content-Length: 2" + b"de")
    first = body_of(parser)
    assert [first.read(2), first.read(), first.read()] == [b"ab", b"c", b""]
    assert body_of(parser).read() == b"de"


def test_what_is_left_of_a_body_is_read_before_the_next_request(ends: tuple[socket.socket, socket.socket]) -> None:
    parser = parser_of(ends)
    send(ends, 5000, b"a" * 5000 + HEAD % b"Content-Length: 1" + b"b")
    assert body_of(parser).read(10) == b"a" * 10
    assert body_of(parser).read() == b"b"


def test_lines_and_pieces_can_be_read_in_turns(ends: tuple[socket.socket, socket.socket]) -> None:
    send(ends, 12, b"one\ntwo\nfour")
    body = body_of(parser_of(ends))
    assert [body.readline(), body.read(3), body.read()] == [b"one\n", b"two", b"\nfour"]


def test_a_client_that_ends_too_early_has_sent_a_part(ends: tuple[socket.socket, socket.socket]) -> None:
    send(ends, 100, b"abc")
    ends[1].close()
    body = body_of(parser_of(ends))
    assert [body.read(100), body.read(100)] == [b"abc", b""]
    assert body.reader.length == 0, "it is not waited for again"


def test_after_a_broken_connection_no_other_request_is_read(ends: tuple[socket.socket, socket.socket]) -> None:
    send(ends, 100, b"abc")
    parser = parser_of(ends)
    body = body_of(parser)
    body.read(100)
    ends[0].close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        body.read(100)
    assert not parser.finish_body()


def test_a_body_of_unknown_length_stays_gunicorns(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].sendall(HEAD % b"Transfer-Encoding: chunked" + b"3\r\nabc\r\n0\r\n\r\n")
    body = body_of(parser_of(ends))
    assert not isinstance(body, ArrivingBody)
    assert body.read() == b"abc"
