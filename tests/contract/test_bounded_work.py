"""docs/threat-model.md lists what a caller can multiply in each call, page and command, and the bounds hold."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.core.management import get_commands
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver

from orchestrator.admin.search import MOST_WORDS
from orchestrator.admin.showing import LONGEST
from orchestrator.routes import template
from sessions_app.models import Session
from tests.admin import APPROVALS, EVENTS, SESSIONS, TASKS, Browser, person, text
from tests.api import Api, token
from tests.contract.api_document import operations
from tests.contract.pages import page, section, table
from tests.contract.test_security_documents import not_there
from tests.sessions_app.task_calls import task_in
from tests.work import move_session, open_session

LISTED = table(section(page("docs/threat-model.md"), "What a caller can multiply"))
NAMES = re.compile(r"`([^`]+)`")
OURS = ("orchestrator", "people", "idempotency", "sessions_app", "audit_app")
# Django's own pages that lead to others, or that a list without such rights refuses.
LEADS_ELSEWHERE = re.compile(r"/(add|history|delete)/$|<path:object_id>/$|^admin/(autocomplete|r/|\^|\(\?P)")


def listed() -> set[str]:
    return {name for row in LISTED for name in NAMES.findall(row[0])}


def _paths(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for one in patterns:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from _paths(one.url_patterns, path)
        else:
            yield path


def pages() -> set[str]:
    """The pages of the admin and of its login."""
    found = (path for path in _paths(get_resolver().url_patterns) if path.startswith(("admin/", "oidc/")))
    return {path for path in found if not LEADS_ELSEWHERE.search(path)}


def calls() -> set[str]:
    """The calls of the API, and the other paths that are not the admin's."""
    there = {str(operation) for operation in operations()}
    known = {operation.path for operation in operations()}
    paths = (path for path in _paths(get_resolver().url_patterns) if not path.startswith(("admin/", "oidc/")))
    return there | {f"GET {path}" for path in map(template, paths) if path not in known}


def commands() -> set[str]:
    return {name for name, app in get_commands().items() if str(app).rpartition(".")[2] in OURS}


def test_every_call_page_and_command_has_a_row() -> None:
    assert listed() == calls() | pages() | commands()


def test_each_row_has_a_bound_and_a_test_that_there_is() -> None:
    for what, grows, bound, shown in LISTED:
        assert grows, what
        assert bound, what
        assert re.search(r"`test_\w+\.py", shown), what
        assert not_there(shown) == []


pytestmark = pytest.mark.django_db(transaction=True)


def statements(api: Api, path: str) -> tuple[int, int]:
    """Return the status of a GET and how many statements it took."""
    with CaptureQueriesContext(
        connection,
    ) as sent:
        answer = api.get(path)
    return answer.status_code, len(sent)


@pytest.mark.parametrize(
    ("plain", "hostile"),
    [
        ("/sessions", f"status={','.join(['pending'] * 500)}"),
        ("/sessions", "&".join(f"metadata.a{n}={n}" for n in range(300))),
        ("/sessions", f"metadata.{'.'.join(['a'] * 2000)}=1"),
        ("/sessions", f"created_by={'|'.join(['a'] * 2000)}"),
        ("/sessions", "&".join(["status=pending"] * 500)),
        ("/sessions", f"page={'9' * 3000}&page_size={'9' * 3000}"),
        ("/tasks", f"status={','.join(['pending', 'active'] * 300)}"),
        ("/approvals", f"status={','.join(['pending'] * 500)}&assignee=me"),
        ("/audit/events", f"event_type={','.join(['session.created'] * 300)}"),
        ("/audit/events", f"actor={'|'.join(['a'] * 2000)}"),
        ("task", f"include={','.join(['approvals'] * 380)}"),
        ("task", f"include={','.join(['sessions', 'approvals', 'attempts'] * 100)}"),
    ],
)
def test_a_hostile_query_costs_no_more_statements_than_a_plain_one(plain: str, hostile: str) -> None:
    api = Api(token("olga", "operator"))
    where = f"/tasks/{task_in('pending').pk}" if plain == "task" else plain
    status, allowed = statements(api, where)
    assert status == 200
    status, taken = statements(api, f"{where}?{hostile}")
    assert status in (200, 400)
    assert taken <= allowed


@pytest.mark.parametrize(
    "path",
    [path for row in LISTED if "touch no database" in row[2] for path in re.findall(r"`GET ([^`]+)`", row[0])],
)
def test_pages_for_anybody_touch_no_database(path: str) -> None:
    assert statements(Api(None), path.replace("{slug}", "not-found")) == (200, 0)


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_probes_take_a_fixed_number_of_statements(path: str) -> None:
    Api(None).get(path)
    status, before = statements(Api(None), path)
    assert status == 200
    for _ in range(5):
        task_in("pending")
        open_session()
    assert statements(Api(None), path) == (200, before)


@pytest.mark.parametrize("where", [SESSIONS, TASKS, APPROVALS, EVENTS, "/admin/people/person/"])
def test_a_search_in_the_admin_has_at_most_ten_words(where: str) -> None:
    browser = Browser(person())
    assert browser.get(f"{where}?q={'+'.join(['a'] * MOST_WORDS)}").status_code == 200
    refused = browser.get(f"{where}?q={'+'.join(['a'] * (MOST_WORDS + 1))}")
    assert refused.status_code == 400
    assert "Search for at most 10 words." in refused.content.decode()


def test_an_action_in_the_admin_takes_a_page_of_rows() -> None:
    session = open_session()
    browser = Browser(person())
    form = {"action": "cancel_sessions", "_selected_action": [str(session.pk), *(str(uuid4()) for _ in range(50))]}
    refused = browser.send(SESSIONS, form, token_of="/admin/")
    assert refused.status_code == 400
    assert "at most 50" in refused.content.decode()
    assert Session.objects.get(pk=session.pk).status == session.status


def test_a_page_of_the_admin_shows_the_first_rows_of_a_long_history() -> None:
    task = task_in("pending")
    for _ in range(LONGEST + 5):
        # A task has so many sessions only over time: not all of them are open at once.
        move_session(open_session(task=task), "active", "completed")
    shown = Browser(person()).get(f"{TASKS}{task.pk}/change/")
    assert shown.status_code == 200
    assert (
        len(re.findall(r'href="/admin/sessions_app/session/[0-9a-f-]{36}/change/"', shown.content.decode())) == LONGEST
    )
    assert "Sessions" in text(shown)
