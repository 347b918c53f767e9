"""Names: two that look the same are the same, and none has anything that cannot be seen."""

import re
import unicodedata
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import names
from orchestrator.people.models import Person
from sessions_app.models import Session, Task
from tests import seeding
from tests.api import Api, errors, token
from tests.contract.pages import page
from tests.orchestrator.tokens import saying

COMPOSED, DECOMPOSED = "pr\u00fcfung", "pru\u0308fung"
UNSEEN = {
    "a zero width space": "finance\u200b",
    "a zero width joiner": "fin\u200dance",
    "a word joiner": "fin\u2060ance",
    "a byte order mark": "\ufefffinance",
    "a soft hyphen": "fin\u00adance",
    "a mark that turns the direction": "\u202efinance",
    "a grapheme joiner": "fin\u034fance",
    "a Hangul filler": "finance\u3164",
    "a half width Hangul filler": "finance\uffa0",
    "a Hangul choseong filler": "finance\u115f",
    "a Hangul jungseong filler": "finance\u1160",
    "a Khmer vowel that is not written": "finance\u17b4",
    "a Mongolian variation selector": "finance\u180b",
    "a variation selector": "finance\ufe0f",
    "a supplementary variation selector": "finance\U000e0100",
    "a letter of the tags block": "finance\U000e0061",
    "a blank Braille pattern": "finance\u2800",
    "a null notehead": "finance\U0001d159",
    "private use": "finance\ue000",
    "an unassigned character": "finance\U000e0fff",
    "a no-break space": "fin\u00a0ance",
    "a line separator": "fin\u2028ance",
    "a control character": "fin\u0007ance",
    "a filler alone": "\u3164",
    "a mark without a letter": "\u0301",
}
unseen = pytest.mark.parametrize("name", UNSEEN.values(), ids=UNSEEN)
database = pytest.mark.django_db(transaction=True)


@unseen
def test_what_cannot_be_seen_is_not_clear(name: str) -> None:
    assert not names.is_clear(name)


@pytest.mark.parametrize(
    "name", ["finance", COMPOSED, "會計", "финансы", "مالية", "वित्त", "R&D", "a b", "_", "😀", "7"]
)
def test_what_can_be_seen_is_clear(name: str) -> None:
    assert names.is_clear(name)


def test_nothing_and_a_space_are_not_clear() -> None:
    assert not names.is_clear("")
    assert not names.is_clear(" ")


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=40))
def test_the_normal_form_is_the_same_for_all_spellings_and_stays_as_it_is(text: str) -> None:
    normal = names.normal(text)
    assert names.normal(normal) == normal
    assert names.normal(unicodedata.normalize("NFD", text)) == normal


def test_a_text_too_long_for_a_name_is_left_as_it_is() -> None:
    marks = "a" + "\u0301\u0316" * 600_000
    assert names.normal(marks) is marks


# In bodies.


@database
def test_a_role_is_stored_composed(operator: Api) -> None:
    sent = operator.post("/sessions", {"agent_role": DECOMPOSED})
    assert (sent.status_code, sent.json()["agent_role"]) == (201, COMPOSED)
    assert Session.objects.get().role == COMPOSED


@database
@unseen
def test_a_body_with_a_name_that_cannot_be_seen_is_refused(operator: Api, name: str) -> None:
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("/sessions", {"agent_role": name}, "agent_role"),
        ("/tasks", {"to_role": name, "task_type": "routing"}, "to_role"),
        ("/tasks", {"to_role": "finance", "task_type": name}, "task_type"),
        ("/tasks", {**WORK, "requires_approval": {"approver_role": name}}, "requires_approval.0.approver_role"),
    ]
    for path, body, field in asked:
        answer = operator.post(path, body)
        assert (answer.status_code, list(errors(answer))) == (400, [field]), (path, answer.content)
    assert not Session.objects.exists()
    assert not Task.objects.exists()


WORK = {"to_role": "finance", "task_type": "routing"}


# In tokens and filters.


@database
def test_a_role_in_one_spelling_meets_the_same_role_in_another() -> None:
    mona = Api(token("mona", agent_roles="manager"))
    mona.post("/tasks", {"to_role": COMPOSED, "task_type": DECOMPOSED})
    finn = Api(token("finn", agent_roles=DECOMPOSED))
    assert [task["to_role"] for task in finn.get("/tasks").json()["tasks"]] == [COMPOSED]
    [got] = finn.post("/tasks/claim", {"roles": [DECOMPOSED], "task_types": [COMPOSED]}).json()["tasks"]
    assert (got["to_role"], got["task_type"]) == (COMPOSED, COMPOSED)


@database
@pytest.mark.parametrize("spelling", [COMPOSED, DECOMPOSED])
def test_filters_find_a_name_in_any_spelling(operator: Api, spelling: str) -> None:
    author = Api(token(DECOMPOSED, roles="operator"))
    author.post("/sessions", {"agent_role": COMPOSED})
    author.post("/tasks", {"to_role": COMPOSED, "task_type": COMPOSED, "from_role": COMPOSED})
    for path, name, text in (
        ("sessions", "agent_role", spelling),
        ("sessions", "created_by", f"local|{spelling}"),
        *(("tasks", name, spelling) for name in ("to_role", "target", "from_role", "task_type")),
    ):
        answer = operator.get(f"/{path}?{urlencode({name: text})}")
        assert (answer.status_code, answer.json()["total"]) == (200, 1), (name, answer.content)
    events = operator.get(f"/audit/events?{urlencode({'actor': f'local|{spelling}'})}").json()["events"]
    assert {event["actor"] for event in events} == {f"local|{COMPOSED}"}


@database
def test_a_cursor_is_good_for_the_same_filter_in_another_spelling(operator: Api) -> None:
    for _ in range(3):
        operator.post("/sessions", {"agent_role": COMPOSED})
    first = operator.get(f"/sessions?{urlencode({'agent_role': DECOMPOSED, 'cursor': '', 'page_size': 2})}").json()
    following = urlencode({"agent_role": COMPOSED, "cursor": first["next_cursor"]})
    assert len(operator.get(f"/sessions?{following}").json()["sessions"]) == 1


@database
@unseen
def test_a_filter_by_a_name_that_cannot_be_seen_is_refused(operator: Api, name: str) -> None:
    for path, filtered, text in (
        ("sessions", "agent_role", name),
        ("sessions", "created_by", f"local|{name}"),
        ("tasks", "task_type", name),
        ("approvals", "approver_role", name),
    ):
        if text == f"local|{UNSEEN['a mark without a letter']}":
            continue  # the bar before it is what the mark stands on
        answer = operator.get(f"/{path}?{urlencode({filtered: text})}")
        assert (answer.status_code, list(errors(answer))) == (400, [filtered])


@database
@unseen
def test_a_role_of_a_token_that_cannot_be_seen_is_ignored(name: str) -> None:
    caller = Api(saying(agent_roles=["finance", name])())
    assert caller.post("/sessions", {"agent_role": "finance"}).status_code == 201
    caller = Api(saying(agent_roles=[name])())
    assert caller.post("/sessions", {"agent_role": "finance"}).status_code == 403


@unseen
def test_a_token_with_a_subject_that_cannot_be_seen_is_refused(name: str) -> None:
    assert Api(saying(sub=name)()).get("/nowhere").status_code == 401
    assert Api(saying(act={"sub": name})()).get("/nowhere").status_code == 401


@unseen
def test_a_token_with_a_tenant_that_cannot_be_seen_may_do_nothing(name: str) -> None:
    assert Api(saying(tenant=name)()).get("/nowhere").status_code == 403


@database
def test_rows_of_an_older_version_are_found_as_upgrading_says(operator: Api) -> None:
    for role in (COMPOSED, DECOMPOSED):
        seeding.sessions(role=role)
        Person.objects.create(username=role, issuer="local", subject=role)
    statements = re.findall(r"^SELECT [^;]+", page("docs/upgrading.md"), re.MULTILINE)
    rows = []
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            rows.append([names for _, *names in cursor.fetchall()])
    assert rows == [[[DECOMPOSED]], [], [], [["local", DECOMPOSED]]]


@database
def test_a_subject_and_a_tenant_in_two_spellings_are_one_caller() -> None:
    one, other = (Api(saying(sub=name, tenant=name)()) for name in (DECOMPOSED, COMPOSED))
    made = one.post("/sessions", {"agent_role": "finance"}, Idempotency_Key="same").json()
    assert made["created_by"] == f"local|{COMPOSED}"
    again = other.post("/sessions", {"agent_role": "finance"}, Idempotency_Key="same")
    assert again.json() == made
    assert Session.objects.get().tenant == COMPOSED
