"""The chain of a row: what is hashed, what it names, what it says."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785

from audit_app import trail
from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Identity, Origin, Via
from orchestrator.clock import database_now
from sessions_app.models import Session
from sessions_app.transitions.change import change
from sessions_app.transitions.session import amend
from tests import work

pytestmark = pytest.mark.django_db(transaction=True)

FAR = 2**53


def _lived() -> Session:
    """A session with a life: five events."""
    session = work.move_session(work.open_session(metadata={"quarter": "Q4"}), "active")
    session = work.amend_session(session, metadata={"quarter": "Q4", "total": 1})
    session = work.amend_session(session, task_id=work.new_task().id)
    return work.move_session(session, "completed", reason="all booked")


def _bodies(session: Session) -> list[dict[str, Any]]:
    return [json.loads(event["body"]) for event in work.chain(session)]


def _told(session: Session) -> dict[str, Any]:
    """What the last event says has changed."""
    changes: dict[str, Any] = _bodies(session)[-1]["changes"]
    return changes


def _canonical(value: Any) -> bytes:
    """RFC 8785 for values without fractions and with plain keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_hash_is_of_the_domain_the_hash_before_it_and_the_stored_text() -> None:
    first, *_ = work.chain(_lived())
    text = first["body"].encode("utf-8")
    assert bytes(first["hash"]) == hashlib.sha256(b"audit/v1\x00" + bytes(32) + text).digest()


def test_the_first_event_names_zeros_and_each_other_the_one_before_it() -> None:
    links = work.chain(_lived())
    named = [bytes(event["prev_hash"]) for event in links]
    assert named == [bytes(32), *(bytes(event["hash"]) for event in links[:-1])]


def test_seq_counts_the_versions_of_the_row() -> None:
    session = _lived()
    links = work.chain(session)
    assert [event["seq"] for event in links] == [1, 2, 3, 4, 5]
    assert session.version == 5
    assert bytes(session.audit_head) == bytes(links[-1]["hash"])


def test_the_chain_of_a_lived_row_holds() -> None:
    work.assert_chain_holds(_lived())


def test_says_each_step_by_its_word() -> None:
    steps = [(body["event_type"], body["from"], body["to"]) for body in _bodies(_lived())]
    assert steps == [
        ("session.created", None, "pending"),
        ("session.activated", "pending", "active"),
        ("session.changed", "active", "active"),
        ("session.changed", "active", "active"),
        ("session.completed", "active", "completed"),
    ]


def test_the_text_says_everything_and_nothing_else() -> None:
    for body in _bodies(_lived()):
        assert sorted(body) == [
            "actor",
            "at",
            "cause",
            "changes",
            "event_type",
            "from",
            "id",
            "ip",
            "on_behalf_of",
            "reason",
            "request_id",
            "role",
            "seq",
            "subject",
            "tenant",
            "to",
            "trace_id",
            "version",
            "via",
        ]


def test_the_text_says_who_where_when_and_why() -> None:
    origin = Origin(Via.ADMIN, request_id="request-9", trace_id="trace-9", ip="2001:db8::1")
    by = work.actor("agent-7", on_behalf_of=Identity("https://people.example", "petra"), tenant="acme", origin=origin)
    session = work.open_session(by=by, role="finance")
    session = work.move_session(session, "active", by=by, reason="the books are open")
    event, body = work.chain(session)[-1], _bodies(session)[-1]
    at = body.pop("at")
    assert body == {
        "actor": {"issuer": "https://issuer.example", "kind": "agent", "subject": "agent-7"},
        "cause": None,
        "changes": {},
        "event_type": "session.activated",
        "from": "pending",
        "id": str(event["id"]),
        "ip": "2001:db8::1",
        "on_behalf_of": {"issuer": "https://people.example", "subject": "petra"},
        "reason": "the books are open",
        "request_id": "request-9",
        "role": "finance",
        "seq": 2,
        "subject": {"id": str(session.id), "type": "session"},
        "tenant": "acme",
        "to": "active",
        "trace_id": "trace-9",
        "version": 2,
        "via": "admin",
    }
    assert datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) == event["timestamp"]
    assert event["timestamp"] == session.updated_at


def test_the_columns_beside_the_text_say_the_same() -> None:
    by = work.actor(on_behalf_of=Identity("https://people.example", "petra"))
    session = work.move_session(work.open_session(by=by, metadata={"quarter": "Q4"}), "active", by=by, reason="why")
    for event, body in zip(work.chain(session), _bodies(session), strict=True):
        assert {"issuer": event["actor_issuer"], "subject": event["actor_subject"], "kind": event["actor_kind"]} == (
            body["actor"]
        )
        assert {"issuer": event["on_behalf_of_issuer"], "subject": event["on_behalf_of_subject"]} == (
            body["on_behalf_of"]
        )
        for column, name in {"from_status": "from", "to_status": "to"}.items():
            assert event[column] == body[name]
        for name in ("event_type", "role", "trace_id", "request_id", "seq", "tenant", "via", "reason", "ip"):
            assert str(event[name]) == str(body[name])
        assert json.loads(event["metadata"]) == {"changes": body["changes"]}


def test_the_text_is_canonical() -> None:
    session = work.open_session(metadata={"z": 1, "a": {"ü": "straße", "emoji": "😀"}, "list": [True, None, ""]})
    (event,) = work.chain(session)
    assert event["body"].encode() == _canonical(json.loads(event["body"]))


@pytest.mark.parametrize("seq", [1, 2**31 - 1])
def test_every_character_is_written_as_rfc_8785_writes_it(seq: int) -> None:
    text = "".join(chr(code) for code in [*range(0x2100), 0xFEFF, 0xFFFF, 0x1F600, 0x10FFFF])
    by = work.actor(text, on_behalf_of=Identity(text, text), tenant=text)
    event = trail.Event(
        action=Action.SESSION_CHANGED, tenant=text, actor=by, at=database_now(), seq=seq, role=text, reason=text
    )
    body = trail.link(replace(event, changes={text: [text, 1.5, {"\ufb33": 1, "\U0001f600": 2}]})).body
    assert body.encode() == rfc8785.dumps(json.loads(body))
    told = json.loads(body)
    assert (told["seq"], told["reason"], told["role"], told["actor"]["subject"]) == (seq, text, text, text)


def test_keys_are_ordered_as_rfc_8785_orders_them() -> None:
    # By UTF-16 code units, where the surrogates of U+1F600 come before U+FB33: not by code points.
    session = work.open_session(metadata={"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3})
    (event,) = work.chain(session)
    assert '"metadata":{"\u20ac":3,"\U0001f600":2,"\ufb33":1}' in event["body"]
    work.assert_chain_holds(session)


def test_the_clock_is_the_database_s() -> None:
    before = database_now()
    session = work.open_session()
    (event,) = work.chain(session)
    assert before < event["timestamp"] < database_now()


def test_one_act_on_two_rows_names_its_cause() -> None:
    session = work.open_session()
    (cause,) = work.chain(session)

    def move() -> None:
        with change(session, Action.SESSION_ACTIVATED, actor=work.actor(), cause=cause["id"]) as moving:
            moving.activate()

    boundary.write(move)
    assert work.chain(session)[-1]["cause"] == cause["id"]
    assert _bodies(session)[-1]["cause"] == str(cause["id"])


# What changed.


def test_tells_the_new_values_of_what_changed() -> None:
    task = work.new_task()
    session = work.open_session(metadata={"quarter": "Q4"})
    opened = _told(session)
    assert opened == {"expires_at": trail.instant(session.expires_at), "metadata": {"quarter": "Q4"}, "task_id": None}
    assert _told(work.amend_session(session, task_id=task.id)) == {"task_id": str(task.id)}
    assert _told(work.amend_session(session, metadata={})) == {"metadata": {}}
    assert _told(work.move_session(session, "active")) == {}
    later = boundary.write(lambda: amend(session, actor=work.actor(), lasting=timedelta(days=2)))
    assert _told(later) == {"expires_at": trail.instant(later.expires_at)}


def _document(size: int) -> dict[str, str]:
    """A document whose canonical text has this many bytes."""
    document = {"ü": "x" * (size - len(_canonical({"ü": ""})))}
    assert len(_canonical(document)) == size
    return document


def test_a_value_of_one_kibibyte_enters_as_it_is() -> None:
    document = _document(1024)
    assert _told(work.open_session(metadata=document))["metadata"] == document


@pytest.mark.parametrize("size", [1025, 60_000])
def test_a_longer_value_enters_as_its_digest(size: int) -> None:
    document = _document(size)
    session = work.open_session(metadata=document)
    digest = {"bytes": size, "sha256": hashlib.sha256(_canonical(document)).hexdigest()}
    assert _told(session)["metadata"] == digest
    (event,) = work.chain(session)
    assert json.loads(event["metadata"])["changes"]["metadata"] == digest
    assert "xxx" not in event["body"] + event["metadata"]
    work.assert_chain_holds(session)
    stored = Session.objects.get(pk=session.pk)
    assert stored.metadata == document


# Numbers.

NUMBERS = [
    FAR,
    -FAR,
    FAR - 1,
    1 - FAR,
    1e22,
    -1e22,
    1e21,
    123456789012345680000.0,
    1e16,
    float(FAR),
    1.5,
    0.1,
    1e-7,
    5e-324,
    1.7976931348623157e308,
    1.0,
    0,
    -0.0,
    True,
]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_any_number_can_be_told(number: float) -> None:
    session = work.open_session(metadata={"n": number, "deep": [{"n": number}]})
    session = work.move_session(session, "active")
    session = work.amend_session(session, metadata={"m": number})
    session = work.move_session(session, "completed")
    work.assert_chain_holds(session)
    assert float(Session.objects.get(pk=session.pk).metadata["m"]) == number


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_the_same_number_again_is_no_change(number: float) -> None:
    session = work.open_session(metadata={"n": number})
    again = work.amend_session(session, metadata={"n": number})
    assert again.version == 1
    assert len(work.chain(session)) == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (FAR, "9007199254740992"),
        (-FAR, "-9007199254740992"),
        (1e22, "1e+22"),
        (1e21, "1e+21"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-7, "1e-7"),
        (1.0, "1"),
        (True, "true"),
    ],
    ids=repr,
)
def test_numbers_are_written_as_rfc_8785_writes_them(number: float, text: str) -> None:
    (event,) = work.chain(work.open_session(metadata={"n": number}))
    assert f'"metadata":{{"n":{text}}}' in event["body"]


def test_a_number_and_a_truth_value_differ() -> None:
    session = work.open_session(metadata={"n": 1})
    assert work.amend_session(session, metadata={"n": True}).version == 2
    assert _told(session) == {"metadata": {"n": True}}
