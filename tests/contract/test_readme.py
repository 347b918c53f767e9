"""README.md: what it says is so."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from orchestrator.catalogue import catalogue
from sessions_app.models import Approval, Attempt, Session, Task
from sessions_app.models.recorded import moves
from sessions_app.transitions import answering
from tests.api import token
from tests.gunicorn_server import HERE, environment, free_port, serving

README = (HERE / "README.md").read_text(encoding="utf-8")
API = (HERE / "docs/api/README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "-- the next snippet --"


def section(document: str, title: str) -> str:
    """What stands under a heading, up to the next of its kind."""
    return document.split(f"\n## {title}\n")[1].partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The cells of a Markdown table, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def tour() -> list[tuple[str, str, str]]:
    """Each snippet with the kind and the text of what the README shows as its answer."""
    blocks = BLOCK.findall(section(README, "A tour"))
    assert [kind for kind, _ in blocks[::2]] == ["sh"] * (len(blocks) // 2)
    return [(snippet, kind, shown) for (_, snippet), (kind, shown) in zip(blocks[::2], blocks[1::2], strict=True)]


@dataclass(frozen=True)
class Answer:
    """An answer as `curl -i` prints it, or as the README shows it: there with some of its headers."""

    status: str
    headers: dict[str, str]
    body: str

    @classmethod
    def read(cls, text: str) -> "Answer":
        head, _, body = text.replace("\r\n", "\n").strip().partition("\n\n")
        status, *lines = head.split("\n")
        return cls(status, dict(line.split(": ", 1) for line in lines), body)


def assert_like(shown: Any, real: Any, place: str) -> None:
    """`…` stands for what differs each time, within a text; everything else is as it is shown."""
    if isinstance(shown, str) and isinstance(real, str):
        pattern = ".+".join(re.escape(part) for part in shown.split("…"))
        assert re.fullmatch(pattern, real), f"{place}: {real!r} is not {shown!r}"
    elif isinstance(shown, dict) and isinstance(real, dict):
        assert list(shown) == list(real), place
        for name, value in shown.items():
            assert_like(value, real[name], f"{place}: {name}")
    elif isinstance(shown, list) and isinstance(real, list):
        assert len(shown) == len(real), f"{place}: {real} is not {shown}"
        for one, other in zip(shown, real, strict=True):
            assert_like(one, other, place)
    else:
        assert (type(shown), shown) == (type(real), real), place


def assert_answered(shown: str, real: str, snippet: str) -> None:
    """The status, the headers that are shown and the whole body."""
    expected, answer = Answer.read(shown), Answer.read(real)
    assert_like(expected.status, answer.status, snippet)
    for name, value in expected.headers.items():
        assert_like(value, answer.headers.get(name), f"{snippet}: {name}")
    if expected.body:
        assert_like(json.loads(expected.body), json.loads(answer.body), snippet)
    else:
        assert answer.body == ""


@pytest.mark.django_db(transaction=True)
def test_each_snippet_of_the_tour_answers_as_it_shows() -> None:
    snippets = tour()
    with serving() as base:
        script = f"echo '{MARK}'\n".join(snippet for snippet, _, _ in snippets)
        bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
        done = subprocess.run(
            ["sh", "-c", script.replace("http://127.0.0.1:8088", base)],
            cwd=HERE,
            env={**environment(), "TOKEN": bearer, "no_proxy": "*"},
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    outputs = done.stdout.split(f"{MARK}\n")
    for (snippet, kind, shown), real in zip(snippets, outputs, strict=True):
        if kind == "http":
            assert_answered(shown, real, snippet)
        else:
            assert_like(shown.splitlines(), real.splitlines(), snippet)


def test_the_tour_opens_reads_moves_and_is_refused() -> None:
    shown = [text.split("\n")[0] for _, kind, text in tour() if kind == "http"]
    assert [line.split()[1] for line in shown] == ["201", "304", "200", "412", "409", "404"]


def test_the_states_are_those_of_the_model() -> None:
    states = section(README, "The states of a session")
    told = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[1])) for row in table(states)}
    assert told == moves(Session)


def test_the_picture_of_the_states_is_that_of_the_model() -> None:
    [(_, picture)] = BLOCK.findall(section(README, "The states of a session"))
    assert picture.strip() in inspect.cleandoc(Session.__doc__ or "")


def test_lists_every_make_command_and_no_other() -> None:
    there = re.findall(r"^([\w-]+):.*## ", (HERE / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^\| `make ([\w-]+)` \|", README, re.MULTILINE) == there


@pytest.mark.parametrize("document", ["README.md", "docs/api/README.md", "docs/architecture.md", "docs/security.md"])
def test_each_link_leads_somewhere(document: str) -> None:
    path = HERE / document
    links = LINK.findall(path.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_documents_list_every_decision() -> None:
    decisions = {f"docs/adr/{path.name}" for path in (HERE / "docs/adr").glob("*.md")}
    assert decisions == {link for link in LINK.findall(README) if link.startswith("docs/adr/")} - {"docs/adr/"}


def test_the_contract_lists_every_refusal_and_no_other() -> None:
    told = [(row[1].strip("`"), int(row[0])) for row in table(section(API, "The kinds of refusal"))]
    assert told == [(kind.slug, kind.status) for kind in catalogue()]


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
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "120 budget sessions of finance, hr, legal, manager, procurement" in done.stdout
    tried = {line[:50].strip(): line[50:].split() for line in done.stdout.splitlines()}
    legal = [f"{here} → {there}" for here, targets in moves(Session).items() for there in targets]
    assert [len(set(tried[path])) for path in legal] == [1] * len(legal)
    assert Session.objects.count() == 160  # the quarter, and forty that run out of time
    month = Task.objects.exclude(task_type__startswith="purchase-")
    assert set(month.values_list("status", flat=True)) == {"completed"}
    assert month.count() == int(tried["route → pending"][0]) == int(tried["done once"][1]) >= 300
    lost = Attempt.objects.filter(outcome="lease-lost")
    assert set(lost.values_list("holder_subject", flat=True)) == {"worker-3"}
    assert lost.count() == int(tried["taken over from the killed worker"][1])
    assert int(tried["the killed worker completes what another did"][1]) == lost.count()
    bought = Approval.objects.get(consumed_at__isnull=False)
    assert (bought.status, bought.granted, bought.task.status) == ("approved", 2, "completed")
    late = Approval.objects.get(status="expired")
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
