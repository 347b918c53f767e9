"""README.md: what it says is so."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sessions_app.models import Approval, Attempt, Session, Task
from sessions_app.models.recorded import moves
from sessions_app.transitions.approvals import task_effects as answering
from tests.api import token
from tests.contract.pages import page
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.gunicorn_server import HERE, environment, free_port, serving

README = page("README.md")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_each_snippet_of_the_tour_answers_as_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    with serving() as base:
        assert_answers_as_shown(README, base, TOKEN=bearer)


def test_each_snippet_is_followed_by_what_it_answers() -> None:
    assert {kind for _, kind, _ in snippets(README)} == {"http", "text"}


def test_the_tour_opens_moves_and_is_refused() -> None:
    shown = [text.split("\n")[0] for _, kind, text in snippets(README) if kind == "http"]
    assert [line.split()[1] for line in shown] == ["201", "200", "412", "409", "404"]


def test_lists_every_make_command_and_no_other() -> None:
    there = re.findall(r"^([\w-]+):.*## ", (HERE / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^\| `make ([\w-]+)` \|", README, re.MULTILINE) == there


def demo(base: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`make demo`, but with this Python."""
    return subprocess.run(
        [sys.executable, "docs/demo/demo.py"],
        check=False,
        cwd=HERE,
        env={**environment(), "ORCHESTRATOR_URL": base, **env},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_demo_finds_everything_as_expected(tmp_path: Path) -> None:
    with serving(ORCHESTRATOR_VAR=str(tmp_path)) as base:
        done = demo(base, ORCHESTRATOR_VAR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert "120 budget sessions of finance, hr, legal, manager, procurement" in done.stdout
    tried = {line[:50].strip(): line[50:].split() for line in done.stdout.splitlines()}
    legal = [f"{here} → {there}" for here, targets in moves(Session).items() for there in targets]
    assert [len(set(tried[path])) for path in legal] == [1] * len(legal)
    # The quarter, forty that run out of time, and one in which people decided, which is kept.
    assert Session.objects.count() == 161
    month = Task.objects.exclude(task_type__startswith="purchase-")
    assert set(month.values_list("status", flat=True)) == {"completed"}
    assert month.count() == int(tried["route → pending"][0]) == int(tried["done once"][1]) >= 300
    lost = Attempt.objects.filter(outcome="lease-lost")
    assert set(lost.values_list("holder_subject", flat=True)) == {"worker-3"}
    assert lost.count() == int(tried["taken over from the killed worker"][1])
    assert int(tried["the killed worker completes what another did"][1]) == lost.count()
    bought = Approval.objects.get(consumed_at__isnull=False, task__isnull=False)
    assert bought.task is not None
    assert (bought.status, bought.granted, bought.task.status) == ("approved", 2, "completed")
    gated = Approval.objects.filter(task=None).order_by("created_at")
    assert [(one.status, one.consumed_at is None) for one in gated] == [("approved", False), ("rejected", True)]
    assert int(tried["the act is done, once"][1]) == int(tried["done again"][1]) == 1
    late = Approval.objects.get(status="expired")
    assert late.task is not None
    assert (late.granted, late.task.error) == (0, answering.EXPIRED)
    assert re.search(r"^audit_verify: clean, \d{4,} events, [1-9]\d* seals\.$", done.stdout, re.MULTILINE)
    assert "check_proof.py, without the database: Holds: event" in done.stdout


class Other(BaseHTTPRequestHandler):
    """Another service: ready, and open to everything, but it keeps no sessions."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_GET  # noqa: N815  the names that http.server asks for

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@contextmanager
def another_service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_demo_fails_where_something_is_not_as_expected() -> None:
    with another_service() as base:
        done = demo(base)
    assert done.returncode == 1
    assert done.stderr == (
        "make demo: 120 of 120 came out otherwise, first open → pending: POST /sessions answered 200, expected 201.\n"
    )


@pytest.mark.django_db(transaction=True)
def test_the_demo_says_what_to_do_where_nothing_answers() -> None:
    done = demo(f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("make demo: nothing answers at http://127.0.0.1:")
    assert done.stderr.endswith("Start it in another terminal: make run\n")
