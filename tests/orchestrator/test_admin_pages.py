"""What is true of every page of the admin, and of no other path."""

import re

import pytest
from django.db import connection

from tests.admin import APPROVALS, SESSIONS, TASKS, Browser, person, statements, text
from tests.api import Api
from tests.sessions_app.approval_states import requested
from tests.sessions_app.task_states import active

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = {
    "/admin/nothing": (404, "There is no such thing"),
    f"{SESSIONS}00000000-0000-0000-0000-000000000000/change/": (404, "There is no such thing"),
    f"{SESSIONS}not-an-id/change/": (404, "There is no such thing"),
    f"{SESSIONS}00000000-0000-0000-0000-000000000000/move/active/": (404, "There is no such thing"),
    f"{SESSIONS}add/": (403, "You may not do that"),
    f"{SESSIONS}?reason__icontains=a": (400, "cannot be understood"),
    f"{SESSIONS}?role=%00": (400, "role: It has a NUL character."),
    f"{SESSIONS}?status__exact=%00": (400, "status__exact: It has a NUL character."),
    f"{TASKS}00000000-0000-0000-0000-000000000000/change/": (404, "There is no such thing"),
    f"{TASKS}not-an-id/change/": (404, "There is no such thing"),
    f"{TASKS}00000000-0000-0000-0000-000000000000/move/cancel/": (404, "There is no such thing"),
    f"{TASKS}add/": (403, "You may not do that"),
    f"{TASKS}?data__contains=a": (400, "cannot be understood"),
    f"{APPROVALS}00000000-0000-0000-0000-000000000000/change/": (404, "There is no such thing"),
    f"{APPROVALS}not-an-id/change/": (404, "There is no such thing"),
    f"{APPROVALS}00000000-0000-0000-0000-000000000000/move/approve/": (404, "There is no such thing"),
    f"{APPROVALS}add/": (403, "You may not do that"),
    f"{APPROVALS}?action__contains=a": (400, "cannot be understood"),
    f"{APPROVALS}?assignee=%00": (400, "assignee: It has a NUL character."),
    f"{TASKS}?to_role=%00": (400, "to_role: It has a NUL character."),
}


@pytest.mark.parametrize(("path", "status", "words"), [(path, *told) for path, told in REFUSED.items()])
def test_a_refusal_is_a_page(path: str, status: int, words: str) -> None:
    answer = Browser(person()).get(path)
    assert answer.status_code == status
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert words in text(answer)
    assert answer["X-Request-Id"] in text(answer)


def test_elsewhere_a_refusal_stays_a_problem_document(agent: Api) -> None:
    for path in ("/nothing", "/administration", "/static/nothing.css"):
        answer = agent.get(path)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json"), path


def test_a_body_too_large_is_a_page_too() -> None:
    answer = Browser(person()).forge(f"{SESSIONS}", {"reason": "x" * 1_100_000})
    assert (answer.status_code, answer["Content-Type"]) == (413, "text/html; charset=utf-8")


def test_without_a_database_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(person())
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    answer = browser.get(SESSIONS)
    assert (answer.status_code, answer["Content-Type"], answer["Retry-After"]) == (503, "text/html; charset=utf-8", "1")
    assert "The database cannot be reached" in text(answer)


def test_the_theme_has_the_policy_it_needs_and_nobody_else(agent: Api) -> None:
    policy = Browser(person()).get(SESSIONS)["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval';" in policy
    assert "default-src 'none';" in policy
    assert "frame-ancestors 'none'" in policy
    for path in ("/sessions", "/status", "/problems", "/nothing", "/static/nothing.css"):
        assert "script" not in agent.get(path)["Content-Security-Policy"], path


def test_a_page_has_no_script_in_it_and_asks_for_nothing_elsewhere() -> None:
    browser = Browser(person())
    where = f"{APPROVALS}{requested().pk}/"
    rows = (f"{TASKS}{active().pk}/change/", f"{where}change/", f"{where}move/cancel/")
    for path in ("/admin/", SESSIONS, TASKS, APPROVALS, *rows, "/admin/password_change/"):
        page = browser.get(path).content.decode()
        assert re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")[^>]*>", page) == [], path
        assert re.findall(r'<[^>]+\son\w+="', page) == [], path
        assert re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', page) == [], path


def test_a_browser_may_say_where_a_form_comes_from() -> None:
    # With no-referrer it would send `Origin: null` along with every form, which the CSRF check refuses.
    assert Browser().get("/admin/login/")["Referrer-Policy"] == "same-origin"


def test_what_a_page_needs_is_served_by_the_service_itself() -> None:
    page = Browser().get("/admin/login/").content.decode()
    needed = set(re.findall(r'(?:src|href)="(/static/[^"?]+)"', page))
    assert len(needed) > 5
    for path in needed:
        answer = Api(None).get(path)
        assert answer.status_code == 200, path
        assert answer["Cache-Control"] == "max-age=60, public"
        assert "Access-Control-Allow-Origin" not in answer
        assert b"".join(answer.streaming_content)


def test_elsewhere_no_cookie_is_read_and_none_is_set() -> None:
    browser = Browser(person())
    with statements():
        for path in ("/status", "/sessions", "/problems", "/nothing"):
            answer = browser.get(path)
            assert not answer.cookies
            assert "Cookie" not in answer.get("Vary", "")


def test_the_overview_leads_to_the_lists() -> None:
    page = Browser(person()).get("/admin/")
    assert f'href="{SESSIONS}"' in page.content.decode()
    assert f'href="{TASKS}"' in page.content.decode()
    assert f'href="{APPROVALS}"' in page.content.decode()
    assert 'href="/admin/audit_app/auditevent/"' in page.content.decode()
    assert "Groups" not in text(page)
