"""A superuser rewrites history, every guard of the database lifted: audit_verify finds it and names it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit_app import seal_keys
from audit_app.models import AuditSeal
from sessions_app.models import Session
from tests import work
from tests.audit_app.seals import Place, findings, seal
from tests.audit_app.tampered_work import COLUMNS, RULES, Work, honest_work
from tests.audit_app.tampering import (
    Super,
    delete,
    forge,
    point,
    rewrite,
    said,
    seal_hash,
    set_clock,
    tell_otherwise,
    unguarded,
)

pytestmark = pytest.mark.django_db(transaction=True)

Found = list[tuple[str, str | None, int | None]]


@dataclass(frozen=True)
class Story:
    """What there is to tamper with: sessions that ended before the first of two seals, and one that is not sealed."""

    sealed: Session
    beside: Session
    fresh: Session
    place: Place

    def event(self, seq: int) -> work.Event:
        """One of the four of the sealed session."""
        return work.chain(self.sealed)[seq - 1]

    def times_of(self, row: Session) -> dict[int, datetime]:
        """The times of a row's events, by their `seq`."""
        return {event["seq"]: event["timestamp"] for event in work.chain(row)}

    def seal(self, number: int) -> AuditSeal:
        """One of the two."""
        return AuditSeal.objects.get(pk=number)

    def found(self, *, anchor: bool = True) -> Found:
        """What verification finds, the subjects by name."""
        names = {str(self.sealed.pk): "sealed", str(self.beside.pk): "beside", str(self.fresh.pk): "fresh"}
        told = findings(self.place, anchor=anchor)
        return [(kind, names.get(where or "", where), number) for kind, where, number in told]


@pytest.fixture
def story(place: Place) -> Story:
    sealed = work.amend_session(work.move_session(work.open_session(), "active"), metadata={"quarter": "Q4"})
    sealed = work.move_session(sealed, "completed", reason='"figures" are\nin')
    beside = work.move_session(work.open_session(), "active")
    assert len(seal()) == 1
    beside = work.move_session(beside, "failed", reason="it hangs")
    assert len(seal()) == 1
    fresh = work.move_session(work.open_session(), "active", "completed")
    made = Story(sealed, beside, fresh, place)
    assert made.found() == []
    return made


SEALED = ("seal-events", "seal", 1)


# The twelve, and what each looks like in its variants: what is done, and all that is found, the first thing first.


def edited_body(story: Story, beside: Super) -> Found:
    rewrite(beside, story.event(2), body=said(story.event(2), reason="another"))
    return [("hash", "sealed", 2)]


def edited_body_with_its_hash(story: Story, beside: Super) -> Found:
    event = story.event(2)
    body = said(event, reason="another")
    rewrite(beside, event, body=body, reason="another", hash=work.hash_of(bytes(event["prev_hash"]), body))
    return [("link", "sealed", 3), SEALED]


def edited_metadata(story: Story, beside: Super) -> Found:
    rewrite(beside, story.event(3), metadata=json.dumps({"changes": {"metadata": {"quarter": "Q3"}}}))
    return [("columns", "sealed", 3)]


def deleted_event(story: Story, beside: Super) -> Found:
    delete(beside, story.event(2))
    return [("gap", "sealed", 3), SEALED]


def deleted_first_event(story: Story, beside: Super) -> Found:
    delete(beside, story.event(1))
    return [("gap", "sealed", 2), SEALED]


def deleted_tail(story: Story, beside: Super) -> Found:
    delete(beside, story.event(4))
    return [("tail", "sealed", 4), SEALED]


def deleted_tail_without_a_seal(story: Story, beside: Super) -> Found:
    delete(beside, *work.chain(story.fresh)[1:])
    return [("tail", "fresh", 3)]


def deleted_tail_with_the_row_set_back(story: Story, beside: Super) -> Found:
    last = story.event(3)
    delete(beside, story.event(4))
    set_back(beside, story.sealed, last)
    return [SEALED]


def swapped_order(story: Story, beside: Super) -> Found:
    second, third = story.event(2), story.event(3)
    rewrite(beside, second, seq=3)
    rewrite(beside, third, seq=2)
    return [("columns", "sealed", 2), ("columns", "sealed", 3), ("link", "sealed", 4)]


def swapped_order_among_the_sealed(story: Story, beside: Super) -> Found:
    second, third = story.event(2), story.event(3)
    rewrite(beside, second, xid=third["xid"])
    rewrite(beside, third, xid=second["xid"])
    return [SEALED]


def inserted_event(story: Story, beside: Super) -> Found:
    work.insert(beside, "audit_events", work.written_for(story.fresh))
    return [("head", "fresh", 3), ("move", "fresh", 4)]


def inserted_event_below_a_seal(story: Story, beside: Super) -> Found:
    work.insert(beside, "audit_events", {**work.written(), "xid": story.event(2)["xid"]})
    return [SEALED]


def inserted_event_of_an_era_before_any(story: Story, beside: Super) -> Found:
    work.insert(beside, "audit_events", {**work.written(), "era": -1})
    return [SEALED]


def inserted_second_event_in_one_place(story: Story, beside: Super) -> Found:
    event = story.event(4)
    body = said(event, id=str(uuid4()), reason="another")
    told = {"id": json.loads(body)["id"], "reason": "another", "body": body}
    beside.execute("CREATE TEMPORARY TABLE copy AS SELECT * FROM audit_events WHERE id = %s", [event["id"]])
    beside.execute("UPDATE copy SET id = %(id)s, reason = %(reason)s, body = %(body)s", told)
    beside.execute("UPDATE copy SET hash = %s", [work.hash_of(bytes(event["prev_hash"]), body)])
    beside.execute("INSERT INTO audit_events SELECT * FROM copy")
    beside.execute("DROP TABLE copy")
    return [("link", "sealed", 4), ("head", "sealed", 4), SEALED]


def chain_of_a_row_that_never_was(story: Story, beside: Super) -> Found:
    pk = uuid4()
    first = {"subject_type": "session", "subject_id": pk, "seq": 1, "prev_hash": work.GENESIS, "to_status": "pending"}
    work.insert(beside, "audit_events", work.written(**first))
    return [("gone", str(pk), None)]


def deleted_row(story: Story, beside: Super) -> Found:
    beside.execute("DELETE FROM sessions WHERE id = %s", [story.fresh.pk])
    return [("gone", "fresh", None)]


def row_without_a_chain(story: Story, beside: Super) -> Found:
    delete(beside, *work.chain(story.fresh))
    return [("unrecorded", "fresh", 3)]


def forged_head(story: Story, beside: Super) -> Found:
    point(beside, story.sealed, audit_head=bytes(31) + b"\1")
    return [("head", "sealed", 4)]


def head_without_a_value(story: Story, beside: Super) -> Found:
    point(beside, story.sealed, audit_head=None)
    return [("head", "sealed", 4)]


def row_set_back_alone(story: Story, beside: Super) -> Found:
    point(beside, story.sealed, version=3, status="active", audit_head=story.event(3)["hash"])
    return [("head", "sealed", 3)]


def status_changed(story: Story, beside: Super) -> Found:
    point(beside, story.sealed, status="failed")
    return [("status", "sealed", 4)]


def tenant_changed(story: Story, beside: Super) -> Found:
    point(beside, story.sealed, tenant="another")
    return [("status", "sealed", 4)]


def back_dated_in_its_chain(story: Story, beside: Super) -> Found:
    last = story.times_of(story.fresh)
    set_clock(beside, story.fresh, {**last, 2: last[2] - timedelta(days=20)})
    return [("time", "fresh", 2)]


def back_dated_chain(story: Story, beside: Super) -> Found:
    last = story.times_of(story.fresh)
    set_clock(beside, story.fresh, {seq: at - timedelta(days=20) for seq, at in last.items()})
    return [("time", "fresh", seq) for seq in (1, 2, 3)]


def back_dated_and_sealed_by_the_honest_sealer(story: Story, beside: Super) -> Found:
    back_dated_chain(story, beside)
    assert len(seal()) == 1
    return [("time", "fresh", seq) for seq in (1, 2, 3)]


def event_of_the_future(story: Story, beside: Super) -> Found:
    last = story.times_of(story.fresh)
    set_clock(beside, story.fresh, {**last, 3: last[3] + timedelta(days=1)})
    return [("time", "fresh", 3)]


def back_dated_event_outside_every_chain(story: Story, beside: Super) -> Found:
    event = work.written(timestamp=story.event(1)["timestamp"] - timedelta(days=20))
    work.insert(beside, "audit_events", event)
    return [("time", str(event["id"]), None)]


def recomputed_chain(story: Story, beside: Super) -> Found:
    tell_otherwise(beside, story.sealed, 2, "another")
    return [SEALED]


EVENTS = [
    *(edited_body, edited_body_with_its_hash, edited_metadata, deleted_event, deleted_first_event, deleted_tail),
    *(deleted_tail_without_a_seal, deleted_tail_with_the_row_set_back, swapped_order, swapped_order_among_the_sealed),
    *(inserted_event, inserted_event_below_a_seal, inserted_event_of_an_era_before_any),
    *(inserted_second_event_in_one_place, chain_of_a_row_that_never_was, deleted_row, row_without_a_chain),
    *(forged_head, head_without_a_value, row_set_back_alone, status_changed, tenant_changed, recomputed_chain),
    *(back_dated_in_its_chain, back_dated_chain, back_dated_and_sealed_by_the_honest_sealer, event_of_the_future),
    back_dated_event_outside_every_chain,
]


@pytest.mark.parametrize("tamper", EVENTS, ids=lambda tamper: tamper.__name__)
def test_finds_tampered_events_and_rows(story: Story, tamper: Callable[[Story, Super], Found]) -> None:
    with unguarded() as beside:
        expected = tamper(story, beside)
        assert story.found() == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("event_type", "session.failed"), ("role", "manager"), ("timestamp", timedelta(microseconds=1))),
        *(("trace_id", "another"), ("metadata", "{}"), ("metadata", "[]"), ("metadata", '{"changes": {"a": 1}}')),
        *(("tenant", "another"), ("actor_issuer", "another"), ("actor_subject", "mallory"), ("actor_kind", "person")),
        *(
            ("on_behalf_of_issuer", "another"),
            ("on_behalf_of_subject", "another"),
            ("via", "admin"),
            ("cause", uuid4()),
        ),
        *(("reason", "another"), ("reason", '","request_id":"'), ("request_id", "another"), ("ip", "192.0.2.8")),
        *(
            ("ip", "192.0.2.7/24"),
            ("ip", None),
            ("event_type", 'session.activated","from":"pending'),
            ("id", uuid4()),
            ("reason", None),
        ),
        *(("body", None), ("metadata", None), ("metadata", '{"changes": {}, "more": 1}'), ("to_status", "failed")),
        *(("from_status", None), ("metadata", "[" * 5_000 + "]" * 5_000), ("metadata", "5"), ("metadata", '"changes"')),
        *(("metadata", f'{{"changes": {{"n": {number}}}}}') for number in ("1e400", f"1{'0' * 400}.5", "1e5000")),
    ],
)
def test_finds_another_value_in_any_column(story: Story, column: str, value: Any) -> None:
    event = story.event(2)
    with unguarded() as beside:
        rewrite(beside, event, **{column: event[column] + value if isinstance(value, timedelta) else value})
        first, *_ = story.found()
    assert first == ("hash" if column == "body" else "columns", "sealed", 2)


@pytest.mark.parametrize(
    ("kept", "told"),
    [("x,", "x, "), ("x, ", "x,"), (":x", ": x"), (": x", ":x"), (",", ", "), (", ", ","), (":", ": "), (": ", ":")],
)
def test_finds_a_space_more_or_less_in_a_text(story: Story, kept: str, told: str) -> None:
    session = work.open_session(metadata={"a": kept, "b": [kept, "c"]})
    event = work.chain(session)[0]
    changes = json.loads(event["body"])["changes"]
    otherwise = {**changes, "metadata": {"a": kept, "b": [told, "c"]}}
    with unguarded() as beside:
        assert story.found() == []
        rewrite(beside, event, metadata=json.dumps({"changes": otherwise}))
        assert story.found() == [("columns", str(session.pk), 1)]


# Rules of the work, and columns that are told by several events.


@pytest.fixture
def honest(place: Place) -> Work:
    made = honest_work()
    assert findings(place, anchor=False) == []
    return made


@pytest.mark.parametrize("tamper", [*RULES, *COLUMNS], ids=lambda tamper: tamper.__name__)
def test_finds_broken_rules_and_columns_of_the_work(
    place: Place, honest: Work, tamper: Callable[[Work, Super], Found]
) -> None:
    names = honest.names()
    with unguarded() as beside:
        expected = tamper(honest, beside)
        told = findings(place, anchor=False)
        assert [(kind, names.get(where or "", where), number) for kind, where, number in told] == expected


# The seals.


def forged_seal(story: Story, beside: Super) -> Found:
    one = story.seal(1)
    body = one.body.replace(bytes(one.root).hex(), "00" * 32)
    forge(beside, one, root=bytes(32), body=body, hash=seal_hash(body))
    return [("seal-signature", "seal", 1), ("anchor", "seal", 1), ("seal-link", "seal", 2)]


def forged_column_of_a_seal(story: Story, beside: Super) -> Found:
    forge(beside, story.seal(1), size=5)
    return [("seal-text", "seal", 1)]


def forged_text_of_a_seal(story: Story, beside: Super) -> Found:
    forge(beside, story.seal(1), body=story.seal(1).body + " ")
    return [("seal-text", "seal", 1)]


def seal_of_garbage(story: Story, beside: Super) -> Found:
    forge(beside, story.seal(2), body="[]", hash=seal_hash("[]"))
    return [("seal-text", "seal", 2), ("anchor", "seal", 2)]


def seal_too_deep_to_read(story: Story, beside: Super) -> Found:
    body = "[" * 100_000
    forge(beside, story.seal(2), body=body, hash=seal_hash(body))
    return [("seal-text", "seal", 2), ("anchor", "seal", 2)]


def deleted_first_seal(story: Story, beside: Super) -> Found:
    beside.execute("DELETE FROM audit_seals WHERE number = 1")
    return [("anchor", "seal", 1), ("seal-link", "seal", 2)]


def deleted_last_seal(story: Story, beside: Super) -> Found:
    beside.execute("DELETE FROM audit_seals WHERE number = 2")
    return [("anchor", "seal", 2)]


def replaced_key(story: Story, beside: Super) -> Found:
    sign_with(Ed25519PrivateKey.generate(), story.seal(2), beside)
    return [("seal-key", "seal", 2), ("anchor", "seal", 2)]


def replaced_key_with_a_word_of_its_own(story: Story, beside: Super) -> Found:
    key = Ed25519PrivateKey.generate()
    body = sign_with(key, story.seal(2), beside)
    forge(beside, story.seal(2), endorsement=key.sign(b"seal/v1\0" + body.encode()))
    return [("seal-key", "seal", 2), ("anchor", "seal", 2)]


def sealed_anew_by_another_key(story: Story, beside: Super) -> Found:
    key = Ed25519PrivateKey.generate()
    tell_otherwise(beside, story.sealed, 2, "another")
    beside.execute("DELETE FROM audit_seals")
    story.place.key.unlink()
    anchor = story.place.anchor.read_bytes()
    seal_keys.publish(key.public_key())
    # Elsewhere, since the sealer compares with the anchor.
    story.place.anchor.unlink()
    story.place.checkpoint.unlink()
    seal()
    story.place.anchor.write_bytes(anchor)
    return [("anchor", "seal", 1), ("anchor", "seal", 2)]


def rolled_back_database(story: Story, beside: Super) -> Found:
    """As it was after the first seal, to the last row: in itself it is in order."""
    last = work.chain(story.beside)[1]
    beside.execute("DELETE FROM audit_seals WHERE number = 2")
    delete(beside, work.chain(story.beside)[2], *work.chain(story.fresh))
    set_back(beside, story.beside, last)
    beside.execute("DELETE FROM sessions WHERE id = %s", [story.fresh.pk])
    assert story.found(anchor=False) == []
    return [("anchor", "seal", 2)]


def set_back(beside: Super, row: Session, last: work.Event) -> None:
    """The row as it was when an event was its last."""
    told = {"status": last["to_status"], "audit_head": last["hash"], "updated_at": last["timestamp"], "reason": None}
    point(beside, row, version=last["seq"], **told)


def sign_with(key: Ed25519PrivateKey, one: AuditSeal, beside: Super) -> str:
    """The same seal by another key, whose public half lies with the others. Its text."""
    seal_keys.publish(key.public_key())
    key_id = seal_keys.key_id(key.public_key())
    body = one.body.replace(one.key_id, key_id)
    forge(beside, one, key_id=key_id, body=body, hash=seal_hash(body), signature=key.sign(b"seal/v1\0" + body.encode()))
    return body


def seal_of_no_time(story: Story, beside: Super) -> Found:
    forge(beside, story.seal(1), sealed_at="infinity")
    forge(beside, story.seal(2), sealed_at="20000-01-01 00:00Z")
    return [("seal-text", "seal", 1), ("seal-text", "seal", 2)]


SEALS = [
    *(forged_seal, forged_column_of_a_seal, forged_text_of_a_seal, seal_of_garbage, seal_too_deep_to_read),
    *(deleted_first_seal, deleted_last_seal, replaced_key, replaced_key_with_a_word_of_its_own),
    *(seal_of_no_time, sealed_anew_by_another_key, rolled_back_database),
]


@pytest.mark.parametrize("tamper", SEALS, ids=lambda tamper: tamper.__name__)
def test_finds_tampered_seals(story: Story, tamper: Callable[[Story, Super], Found]) -> None:
    with unguarded() as beside:
        expected = tamper(story, beside)
        assert story.found() == expected


@pytest.mark.parametrize(
    "text", ["not JSON", "", "[" * 100_000, '"x"', "{}", "\\x00", "a\\nb"], ids=lambda text: text[:9]
)
def test_a_text_that_is_garbage_with_a_right_hash_is_found_and_not_stumbled_over(story: Story, text: str) -> None:
    event = work.chain(story.fresh)[2]
    digest = work.hash_of(bytes(event["prev_hash"]), text)
    with unguarded() as beside:
        rewrite(beside, event, body=text, hash=digest)
        point(beside, story.fresh, audit_head=digest)
        assert story.found() == [("columns", "fresh", 3)]


def test_finds_each_of_many(story: Story) -> None:
    with unguarded() as beside:
        beside.execute("UPDATE audit_events SET body = body || ' '")
        found = story.found()
    assert len(found) == len({(where, seq) for _, where, seq in found}) == 10
    assert {kind for kind, _, _ in found} == {"hash"}
