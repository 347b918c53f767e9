"""How many exports run at once: each holds a thread for as long as its reader takes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import pytest

from audit_app import exporting
from audit_app.exporting import Export, slots
from orchestrator.connections import SEND_SECONDS
from orchestrator.problems import ServiceUnavailable, TooManyRequests
from tests.api import token
from tests.audit_app.many_events import lives
from tests.gunicorn_server import serving
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def two_slots(settings: Any) -> Iterator[None]:
    """Slots for two subjects, and none of them taken."""
    settings.MAX_EXPORTS = 2
    slots.cache_clear()
    yield
    slots.cache_clear()


def export(subject: str) -> Export:
    return Export(iter([b"one", b"two", b"three"]), somebody(subject))


def test_a_reader_who_exports_already_is_refused_and_told_when_to_come_again() -> None:
    running = export("ada")
    with pytest.raises(TooManyRequests) as refused:
        export("ada")
    assert refused.value.headers["Retry-After"] == str(exporting.RETRY_AFTER_SECONDS)
    assert list(running) == [b"one", b"two", b"three"]
    assert list(export("ada"))


def test_no_more_exports_run_than_may() -> None:
    running = [export("ada"), export("bob")]
    with pytest.raises(ServiceUnavailable) as refused:
        export("eve")
    assert refused.value.headers["Retry-After"] == str(exporting.RETRY_AFTER_SECONDS)
    running[0].close()
    assert list(export("eve"))


@pytest.mark.parametrize("how", ["closed", "closed twice", "closed half way", "forgotten"])
def test_an_export_that_ends_early_gives_its_slot_back(how: str) -> None:
    running = export("ada")
    if how == "closed half way":
        assert next(iter(running)) == b"one"
    if how != "forgotten":
        running.close()
    if how == "closed twice":
        running.close()
    del running
    assert list(export("ada"))


def test_an_export_that_cannot_begin_gives_its_slot_back() -> None:
    def fails() -> Iterator[bytes]:
        raise ZeroDivisionError
        yield b""

    with pytest.raises(ZeroDivisionError):
        Export(fails(), somebody("ada"))
    assert list(export("ada"))


def asked(base: str, subject: str, stack: ExitStack) -> HTTPResponse:
    """An export, its body not read yet."""
    http = HTTPConnection(urlsplit(base).netloc, timeout=60)
    stack.callback(http.close)
    http.request("GET", "/audit/export", headers={"Authorization": f"Bearer {token(subject, 'auditor', '')}"})
    return http.getresponse()


@pytest.mark.slow
def test_readers_who_take_their_time_do_not_take_all_threads() -> None:
    lives(5_000)
    with serving(WEB_CONCURRENCY="1", WEB_THREADS="2") as base, ExitStack() as stack:
        assert asked(base, "ada", stack).status == 200
        refused = [asked(base, subject, stack) for subject in ("ada", "bob") * 4]
        assert [answer.status for answer in refused] == [429, 503] * 4
        assert {answer.headers["Retry-After"] for answer in refused} == {str(exporting.RETRY_AFTER_SECONDS)}
        stack.close()
        deadline = time.monotonic() + 20
        # The first reader is gone, which the service notices as it sends the next part.
        while asked(base, "bob", stack).status != 200:
            assert time.monotonic() < deadline
            stack.close()
            time.sleep(0.1)


@pytest.mark.slow
def test_a_reader_who_takes_nothing_is_cut_off() -> None:
    lives(10_000)
    with serving(WEB_CONCURRENCY="1", WEB_THREADS="2") as base, ExitStack() as stack:
        stalled = asked(base, "ada", stack)
        assert stalled.status == 200
        deadline = time.monotonic() + 3 * SEND_SECONDS
        while asked(base, "bob", stack).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        with pytest.raises((IncompleteRead, ConnectionResetError)):
            stalled.read()
