"""Bounded queues: a turn comes, or the request ends after ten seconds."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.attachments import download as download_module
from app.attachments import upload as upload_module
from app.attachments.storage import images
from app.attachments.storage.turns import LONGEST_WAIT, Turns
from app.errors import TryAgainError
from app.models import FormFill
from tests.attachments.conftest import upload
from tests.support.answers import json_of


def test_the_wait_that_is_left_is_given_to_the_next_queue() -> None:
    turns = Turns(1)
    with turns.turn() as left:
        assert LONGEST_WAIT - 1 < left <= LONGEST_WAIT
        with pytest.raises(TryAgainError), turns.turn(0.05):
            pytest.fail("there was no place")
    with turns.turn(0.05):
        pass


def test_a_place_is_free_again_after_an_error() -> None:
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="odd"), turns.turn(0.05):
            raise ValueError("odd")


def test_the_time_in_a_queue_counts() -> None:
    turns = Turns(1)
    holds, gone = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.turn():
            holds.set()
            gone.wait(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    holds.wait()
    with turns.turn(5) as left:
        assert left < 4.9
    holder.join()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> float:
    """Half a second instead of ten."""
    real = Turns.turn
    monkeypatch.setattr(Turns, "turn", lambda turns, wait=0.5: real(turns, min(wait, 0.5)))
    return 0.5


@pytest.mark.parametrize("busy", [lambda: images._decoder, lambda: upload_module._in_memory])
def test_an_upload_that_waits_too_long_for_the_decoder_is_503(
    device: FlaskClient, form_fill: FormFill, short_wait: float, busy: Any
) -> None:
    assert LONGEST_WAIT == 10
    places = 2 if busy() is upload_module._in_memory else 1
    turns = [busy().turn() for _ in range(places)]
    for turn in turns:
        turn.__enter__()
    started = time.monotonic()
    answer = upload(device, form_fill)
    for turn in turns:
        turn.__exit__(None, None, None)
    assert (answer.status_code, answer.json["code"]) == (503, "try_again")
    assert answer.headers["Retry-After"]
    assert short_wait <= time.monotonic() - started < 5
    assert upload(device, form_fill).status_code == 200, "the next one has a turn"


@pytest.mark.parametrize("busy", [lambda: images._decoder, lambda: download_module._making])
def test_a_thumbnail_that_waits_too_long_is_503(
    device: FlaskClient, form_fill: FormFill, short_wait: float, busy: Any
) -> None:
    url = upload(device, form_fill).json["data"]["url"] + "?variant=thumbnail"
    with busy().turn():
        answer = device.get(url)
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    assert device.get(url).status_code == 200
