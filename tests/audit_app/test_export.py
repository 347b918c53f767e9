"""GET /audit/export: the trail as a stream, for programs and for spreadsheets."""

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit_app.serializers import EVENT_NAMES
from tests import work
from tests.api import Api, errors, token
from tests.audit_app.many_events import EACH, lives
from tests.audit_app.seals import wait_until_sealable
from tests.audit_app.tampering import unguarded
from tests.database import superuser_connection
from tests.gunicorn_server import serving
from tests.orchestrator.test_health import assert_unavailable, database_away

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 2**20

UNSEEN = " \u00a0\u200b\ufeff\x1f"
BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@pytest.fixture
def auditor() -> Api:
    return Api(token("ada", "auditor", ""))


def exported(caller: Api, query: str = "") -> bytes:
    wait_until_sealable()
    answer = caller.get(f"/audit/export{query}")
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


def table(caller: Api, query: str = "") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(exported(caller, f"?format=csv{query}").decode(), newline="")))


def test_has_a_line_of_json_for_each_event_the_oldest_first(auditor: Api) -> None:
    work.move_session(work.open_session(), "active", reason="two\nlines — für Zürich")
    wait_until_sealable()
    answer = auditor.get("/audit/export")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.ndjson"'
    assert "Content-Length" not in answer.headers
    lines = b"".join(answer.streaming_content).decode().splitlines(keepends=True)
    assert all(line.endswith("\n") for line in lines)
    assert [json.loads(line) for line in lines] == auditor.get("/audit/events?order=oldest").json()["events"]


def test_has_the_same_in_columns(auditor: Api) -> None:
    work.amend_session(work.open_session(), metadata={"a": ['"', ";", ",", "\n"]})
    answer = auditor.get("/audit/export?format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = table(auditor)
    events = auditor.get("/audit/events?order=oldest").json()["events"]
    for row, event in zip(rows, events, strict=True):
        assert list(row) == list(event)
        assert json.loads(row.pop("changes")) == event.pop("changes")
        assert row == {name: "" if value is None else str(value) for name, value in event.items()}


def test_an_empty_trail_is_an_empty_file_with_names_where_there_are_columns(auditor: Api) -> None:
    assert exported(auditor) == b""
    assert exported(auditor, "?format=csv").decode() == ",".join(f'"{name}"' for name in EVENT_NAMES) + "\r\n"


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x";"y")', "=cmd|' /C calc'!A0"),
        *("＝1", "＋1", "－1", "＠1", "=1\n=2", '=","=1'),
        *(" =1", "\u00a0+1", "\ufeff=1", "\u200b@SUM(A1)", "\x1f-1", " \t=1"),
    ],
)
def test_no_cell_is_a_formula(auditor: Api, text: str) -> None:
    session = work.open_session(metadata={"note": text})
    work.move_session(session, "active", by=work.actor(text), reason=text)
    row = table(auditor)[1]
    assert (row["reason"], row["actor"]) == (f"'{text}", f"https://issuer.example|{text}")
    raw = exported(auditor, "?format=csv").decode()
    cells = [cell for line in csv.reader(io.StringIO(raw, newline="")) for cell in line]
    assert not [cell for cell in cells if cell.lstrip(UNSEEN).startswith(BEGINNINGS)]
    # Whatever a spreadsheet divides by: every cell stands in quotes, and a quote within one is doubled.
    assert raw.count('"') % 2 == 0
    assert all(line.startswith('"') for line in raw.replace(text, "").split("\r\n") if line)


def test_takes_the_filters_of_the_list(auditor: Api) -> None:
    session = work.move_session(work.open_session(), "active")
    work.new_task()
    assert len(exported(auditor).splitlines()) == 3
    for query, count in ((f"subject_id={session.pk}", 2), ("subject_type=task", 1), ("event_type=task.failed", 0)):
        assert len(exported(auditor, f"?{query}").splitlines()) == count
        assert len(table(auditor, f"&{query}")) == count


@pytest.mark.parametrize(
    ("query", "field"),
    [("format=xml", "format"), ("format=", "format"), ("order=oldest", "order"), ("page=1", "page")],
)
def test_refuses_what_it_does_not_know(auditor: Api, query: str, field: str) -> None:
    answer = auditor.get(f"/audit/export?{query}")
    assert (answer.status_code, list(errors(answer))) == (400, [field])


def test_has_each_event_once_over_many_batches(auditor: Api) -> None:
    lives(600)
    with unguarded() as beside:
        # Many at one moment: they are told apart by their ids.
        beside.execute("UPDATE audit_events SET timestamp = '2026-01-31T09:00:00Z' WHERE seq < 4")
        wait_until_sealable()
        with CaptureQueriesContext(connection) as asked:
            lines = b"".join(auditor.get("/audit/export").streaming_content).splitlines()
    assert len({json.loads(line)["event_id"] for line in lines}) == len(lines) == 600 * EACH
    assert len(asked) == 3
    assert all("OFFSET" not in query["sql"] and '"body"' not in query["sql"] for query in asked)


# When the database goes away.


def test_an_export_that_cannot_begin_is_a_problem(auditor: Api) -> None:
    for query in ("", "?format=csv"):
        with database_away():
            assert_unavailable(auditor.get(f"/audit/export{query}"))


@pytest.fixture
def served() -> Iterator[str]:
    with serving(WEB_CONCURRENCY="1", WEB_THREADS="2") as base:
        yield base


@contextmanager
def streamed(base: str, query: str = "") -> Iterator[HTTPResponse]:
    """The answer, its body not read yet."""
    with closing(HTTPConnection(urlsplit(base).netloc, timeout=60)) as http:
        http.request("GET", f"/audit/export{query}", headers={"Authorization": f"Bearer {token('ada', 'auditor', '')}"})
        answer = http.getresponse()
        assert answer.status == 200
        yield answer


def lines_of(base: str, query: str) -> int:
    with streamed(base, query) as answer:
        return sum(1 for _ in answer)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?format=csv"])
def test_a_stream_that_is_cut_does_not_end_as_if_it_were_whole(served: str, query: str) -> None:
    lives(5_000)
    whole = lines_of(served, query)
    assert whole == 5_000 * EACH + bool(query)
    with streamed(served, query) as answer:
        answer.read(1000)
        with superuser_connection() as beside:
            ended = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND query LIKE '%audit_events%'"
            )
            assert beside.execute(ended).fetchone() != (0,)
        with pytest.raises((IncompleteRead, ConnectionResetError)):
            answer.read()
    # The next one has a sound connection again.
    assert lines_of(served, query) == whole


# Memory.


def rss(base: str) -> tuple[psutil.Process, int]:
    """The worker that serves an address, and its memory now."""
    port = urlsplit(base).port
    (master,) = [
        process
        for process in psutil.Process().children()
        if process.environ().get("PORT") == str(port) and "gunicorn" in " ".join(process.cmdline())
    ]
    (worker,) = master.children()
    return worker, worker.memory_info().rss


def peak_while(worker: psutil.Process, answer: Any) -> tuple[int, int]:
    """The worker's largest memory while a body is read, and how many lines that had."""
    peak, stop = [0], threading.Event()

    def look() -> None:
        while not stop.is_set():
            peak[0] = max(peak[0], worker.memory_info().rss)
            time.sleep(0.01)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        lines = sum(1 for _ in answer)
    finally:
        stop.set()
        looking.join()
    return peak[0], lines


def assert_flat(base: str, sessions: int) -> None:
    lives(10)
    for query in ("", "?format=csv"):
        assert lines_of(base, query) == 10 * EACH + bool(query)
    lives(sessions)
    for query in ("", "?format=csv"):
        worker, before = rss(base)
        with streamed(base, query) as answer:
            peak, lines = peak_while(worker, answer)
        assert lines == (sessions + 10) * EACH + bool(query)
        print(f"{lines} lines{query}: {before / MIB:.0f} MiB before, {(peak - before) / MIB:.1f} MiB more at most")
        assert peak - before <= 30 * MIB


@pytest.mark.slow
def test_many_events_take_no_more_memory_than_a_batch(served: str) -> None:
    assert_flat(served, 10_000)


@pytest.mark.long
def test_a_million_events_take_no_more_memory_than_a_batch(served: str) -> None:
    assert_flat(served, 250_000)
