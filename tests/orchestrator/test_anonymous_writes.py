"""Callers who have not logged in write nothing: every path of the URL table is called, and no table gains a row."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admindocs.views import simplify_regex
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from psycopg import sql

from orchestrator.middleware import is_public
from tests.database import superuser_connection
from tests.orchestrator.logging_in import configured

pytestmark = pytest.mark.django_db(transaction=True)

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
STRANGERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "a bad token": {"Authorization": "Bearer abc.def.ghi"},
    "bad cookies": {"Cookie": "sessionid=abcdefghijklmnopqrstuvwxyz012345; csrftoken=a; login=a:b:c"},
}


def paths(patterns: Any = None, before: str = "/") -> Iterator[str]:
    """Each path of the URL table, with an id wherever it takes a parameter."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        pattern = entry.pattern
        part = str(pattern) if isinstance(pattern, RoutePattern) else simplify_regex(str(pattern)).removeprefix("/")
        here = before + re.sub(r"<[^>]*>", ID, part)
        if isinstance(entry, URLResolver):
            yield from paths(entry.url_patterns, here)
        elif isinstance(entry, URLPattern):
            yield here


def rows() -> Counter[str]:
    """How many rows each table has."""
    with superuser_connection() as beside:
        tables = beside.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        count = sql.SQL("SELECT {}, count(*) FROM {}")
        counts = [count.format(sql.Literal(name), sql.Identifier(name)) for (name,) in tables]
        return Counter(dict(beside.execute(sql.SQL(" UNION ALL ").join(counts)).fetchall()))


def test_the_url_table_is_walked_whole() -> None:
    known = set(paths())
    assert {"/", "/status", "/admin/login/", "/oidc/authenticate/", "/oidc/callback/", "/sessions"} <= known
    assert {f"/sessions/{ID}", f"/admin/sessions_app/task/{ID}/change/", "/audit/events"} <= known
    assert len(known) > 60
    assert sum(map(is_public, known)) > 40


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_no_path_lets_a_stranger_write_a_row(settings: Any, method: str, stranger: str) -> None:
    with configured(settings):
        before = rows()
        assert before["django_migrations"] > 0
        for path in sorted(set(paths())):
            # A new client each time: what one answer sets, the next call does not send.
            client = Client(raise_request_exception=False, headers=STRANGERS[stranger])
            answer = client.generic(method, path, b"" if method == "GET" else b"{}", "application/json")
            assert answer.status_code < 500 or path == "/readyz", (path, answer.status_code)
            if hasattr(answer, "streaming_content"):
                answer.close()
        assert rows() - before == Counter()


def test_begun_logins_a_hundred_times_over_leave_no_row(settings: Any) -> None:
    with configured(settings):
        before = rows()
        for _ in range(100):
            assert Client().get("/oidc/authenticate/").status_code == 302
        assert rows() - before == Counter()
