"""manage.py audit_trail"""

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests import work
from tests.api import Api, token

pytestmark = pytest.mark.django_db(transaction=True)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def trail_of(session: dict[str, Any], kind: str = "session") -> list[str]:
    """The printed lines, with the columns a single space apart and the times as `T`."""
    printed = io.StringIO()
    call_command("audit_trail", kind, session["session_id"], stdout=printed)
    return [TIME.sub("T", " ".join(line.split())) for line in printed.getvalue().splitlines()]


def opened(caller: Api) -> dict[str, Any]:
    answer = caller.post("/sessions", {"agent_role": "finance"})
    assert answer.status_code == 201
    return dict(answer.json())


def amended(caller: Api, session: dict[str, Any], **body: Any) -> None:
    assert caller.put(f"/sessions/{session['session_id']}", body).status_code == 200


def test_prints_the_chain_of_one_subject_in_order(agent: Api) -> None:
    session, other = opened(agent), opened(agent)
    amended(agent, session, status="active", reason="the figures are in")
    amended(agent, other, status="expired")
    amended(agent, session, metadata={"quarter": "2026-Q4"})
    amended(agent, session, status="completed")
    assert trail_of(session) == [
        "1 T session.created - → pending local|alice",
        "2 T session.activated pending → active local|alice the figures are in",
        "3 T session.changed active → active local|alice",
        "4 T session.completed active → completed local|alice",
    ]


def test_prints_more_than_nine_events_by_number(agent: Api) -> None:
    session = opened(agent)
    for turn in range(10):
        amended(agent, session, metadata={"turn": turn})
    assert [line.split()[0] for line in trail_of(session)] == [str(seq) for seq in range(1, 12)]


def test_names_each_actor_and_for_whom_they_acted(agent: Api, operator: Api) -> None:
    session = opened(agent)
    amended(Api(token("alice", act_subject="assistant")), session, status="active")
    amended(operator, session, status="failed")
    actors = [line.partition(" → ")[2].partition(" ")[2] for line in trail_of(session)]
    assert actors == ["local|alice", "local|assistant for local|alice", "local|olga"]


def test_prints_a_reason_on_one_line_whatever_is_in_it(agent: Api) -> None:
    session = opened(agent)
    amended(agent, session, status="active", reason="done\n  9  forged\x1b[2J\u2028 für Zürich")
    assert trail_of(session)[1:] == [
        r"2 T session.activated pending → active local|alice done\n 9 forged\x1b[2J\u2028 für Zürich",
    ]


def test_leaves_out_what_stands_outside_the_chain(agent: Api) -> None:
    session = opened(agent)
    chain = trail_of(session)
    refused = Api(token("mallory", "auditor")).put(f"/sessions/{session['session_id']}", {"status": "active"})
    assert refused.status_code == 403
    assert [event["event_type"] for event in work.events("seq IS NULL")] == ["session.refused"]
    assert trail_of(session) == chain


@pytest.mark.parametrize(
    ("kind", "pk"),
    [("task", None), ("Session", None), ("session", "00000000-0000-7000-8000-000000000000")],
    ids=["another kind", "in capitals", "another id"],
)
def test_fails_where_there_are_no_events(agent: Api, kind: str, pk: str | None) -> None:
    session = opened(agent)
    asked = pk or session["session_id"]
    assert len(trail_of(session)) == 1
    with pytest.raises(CommandError, match=f"^There are no events of {kind} {asked}.$"):
        trail_of({"session_id": asked}, kind)


def test_fails_on_an_id_that_is_no_uuid() -> None:
    with pytest.raises(CommandError, match="invalid UUID value: 'first'"):
        trail_of({"session_id": "first"})
