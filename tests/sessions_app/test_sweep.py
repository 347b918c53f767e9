"""manage.py sweep: all maintenance jobs, side by side."""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from sessions_app.models import Session
from tests import seeding
from tests.database import superuser_connection, without_trigger
from tests.gunicorn_server import HERE, environment
from tests.work import assert_chain_holds, insert, written_for

pytestmark = pytest.mark.django_db(transaction=True)

PAST = timedelta(seconds=-1)


def sweep() -> tuple[list[str], list[str]]:
    """What it says and what it complains of, line by line."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("sweep", stdout=out, stderr=err)
    finally:
        swept = out.getvalue().splitlines(), err.getvalue().splitlines()
    return swept


def expired() -> int:
    return Session.objects.filter(status="expired").count()


def start(*arguments: str, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "sweep", *arguments],
        cwd=HERE,
        env={**environment(), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It does not come."
        time.sleep(0.01)


def test_expires_what_is_due() -> None:
    rows = seeding.sessions(3, lasting=PAST)
    (later,) = seeding.sessions()
    said, complained = sweep()
    assert "3 sessions expired." in said
    assert complained == []
    assert (expired(), Session.objects.get(pk=later.pk).status) == (3, "pending")
    for row in rows:
        assert_chain_holds(row)


def test_is_content_with_nothing_to_do() -> None:
    said, complained = sweep()
    assert ("0 sessions expired." in said, complained) == (True, [])


def test_a_job_that_cannot_be_done_wholly_makes_it_fail_at_its_end() -> None:
    bad, good = seeding.sessions(2, lasting=PAST)
    with without_trigger("audit_events", "audit_events_are_true"), superuser_connection() as forger:
        insert(forger, "audit_events", written_for(bad))
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match=r"1 of \d+ jobs could not be done wholly") as failure:
        call_command("sweep", stdout=out, stderr=err)
    assert failure.value.returncode == 1
    assert f"1 session expired, 1 could not be: {bad.id}" in err.getvalue()
    assert (Session.objects.get(pk=good.pk).status, expired()) == ("expired", 1)


def test_says_in_a_sentence_that_the_database_is_away() -> None:
    with start(WORKER_DATABASE_URL="postgresql:///orchestrator?host=/nowhere") as running:
        _, complained = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "The database cannot be reached, or is too busy." in complained
    assert "Traceback" not in complained


def test_in_a_loop_it_goes_on_until_it_is_interrupted() -> None:
    rows = seeding.sessions(3, lasting=PAST)
    with start("--loop", "0.05") as running:
        try:
            wait_until(lambda: expired() == 3)
            rows += seeding.sessions(2, lasting=PAST)
            wait_until(lambda: expired() == 5)
            assert running.poll() is None
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=5)
        finally:
            running.kill()
    assert running.returncode == 0
    for row in rows:
        assert_chain_holds(row)
