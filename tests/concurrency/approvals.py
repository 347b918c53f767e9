"""Calls on approvals to race with, and what holds of every approval whatever has happened to it."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings

from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Role
from orchestrator.people.models import Person
from orchestrator.problems import Problem
from sessions_app.duties import EXPIRE_APPROVALS
from sessions_app.models import Approval, Decision, Session, Task
from sessions_app.models.clock import with_clock
from sessions_app.models.recorded import moves
from sessions_app.sweeping import sweep
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import person
from tests.api import Api
from tests.concurrency.racing import Call, at_once, bearer
from tests.concurrency.tasks import TERMINAL as OVER
from tests.concurrency.tasks import assert_chain
from tests.concurrency.told import chains_of
from tests.database import superuser_connection
from tests.sessions_app.approval_calls import ACTION, approver, question, where
from tests.sessions_app.session_calls import somebody
from tests.work import Event

LEGAL = {**moves(Approval)}
TERMINAL = {state for state, targets in LEGAL.items() if not targets}
KEEPING = {
    "approval.voted": "pending",
    "approval.decision_withdrawn": "pending",
    "approval.decision_set_aside": "pending",
    "approval.consumed": "approved",
}
"""What moves an approval to no other state, and in which."""


def identity(name: str) -> Identity:
    """A person of the local issuer."""
    return Identity(settings.LOCAL_ISSUER, name)


def operator(name: str = "olga", tenant: str = "default") -> Actor:
    """An operator as the transitions know one."""
    return replace(somebody(name, tenant=tenant, agent_roles=()), roles=frozenset({Role.OPERATOR}))


def decider(name: str) -> Api:
    """An approver of the role manager."""
    return Api(bearer(name, "approver", "manager"))


def approve(approval: Approval, by: str = "petra") -> Call:
    return lambda: decider(by).post(where(approval, "approve"), {"comments": f"Fine, says {by}."})


def reject(approval: Approval, by: str = "rita") -> Call:
    return lambda: decider(by).post(where(approval, "reject"), {"comments": f"No, says {by}."})


def withdraw(approval: Approval) -> Call:
    return lambda: Api(bearer("alice")).post(where(approval, "cancel"))


def consume(approval: Approval, by: str = "alice") -> Call:
    return lambda: Api(bearer(by)).post(where(approval, "consume"), {"action": ACTION})


# The same without HTTP, by the transitions: what each came to is a word.


def outcome(work: Callable[[], object]) -> str:
    """What a transition came to in a transaction of its own: done, or the slug of its refusal."""
    try:
        boundary.write(work)
    except Problem as refusal:
        return refusal.slug
    return "done"


def outcomes(*works: Callable[[], object]) -> list[str]:
    """What transitions came to that started at about the same moment."""
    return at_once(*(partial(outcome, work) for work in works))


def by_person(verb: Callable[..., Approval], approval: Approval, name: str) -> Callable[[], Approval]:
    """A person approves, rejects or withdraws."""
    actor = approver(name, role=approval.approver_role, tenant=approval.tenant)
    return lambda: verb(Approval.objects.get(pk=approval.pk), actor=actor)


def asks(subject: Task | Session | None, name: str = "alice", **asked: Any) -> Callable[[], Approval]:
    """A request about a task, or about an action in a session or alone."""
    asked = {"action": ACTION, **asked}
    actor = asked.pop("actor", None) or somebody(name)
    if isinstance(subject, Task):
        return lambda: transitions.request(subject, question(**asked), actor=actor)
    return lambda: transitions.request_action(subject, question(**asked), actor=actor)


def asked(subject: Task | Session | None, name: str = "alice", **more: Any) -> Approval:
    """The request that `asks()` makes."""
    return boundary.write(asks(subject, name, **more))


def uses(approval: Approval, name: str = "alice") -> Callable[[], Approval]:
    """An agent consumes a grant of the usual action."""
    return lambda: transitions.consume(approval, ACTION, actor=somebody(name))


def cuts_off(name: str, by: str = "olga") -> Callable[[], Any]:
    """An operator cuts a person off."""
    return lambda: person.cut_off(identity(name), actor=operator(by), reason="a stolen laptop")


def links(name: str, same_as: str) -> Callable[[], Any]:
    """An operator links two identities."""
    known: Any = {"tenant": "default", "actor": operator(), "reason": "one person"}
    return lambda: person.link(identity(name), identity(same_as), **known)


def expire() -> int:
    """How many the sweep found past their time."""
    outcome = sweep(EXPIRE_APPROVALS)
    assert outcome.poison == {}
    return outcome.moved


_GUARDS = (
    ("approvals", "approvals_keep_their_question"),
    ("approvals", "approvals_complete_update"),
    ("approvals", "approvals_z_settled_once"),
    ("sessions", "sessions_complete_update"),
)


@contextmanager
def unguarded() -> Iterator[psycopg.Connection[Any]]:
    """A connection that moves the times of approvals and sessions, which no caller can."""
    with superuser_connection() as beside, beside.transaction():
        for table, guard in _GUARDS:
            beside.execute(f"ALTER TABLE {table} DISABLE TRIGGER {guard}")
        yield beside
        beside.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, guard in _GUARDS:
            beside.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}")


def lapse_grant(approval: Approval, after: timedelta = timedelta(0)) -> Approval:
    """A grant that can be used until `after` from now."""
    until = "clock_timestamp() + %s - make_interval(secs => use_within_seconds)"
    with unguarded() as beside:
        beside.execute(f"UPDATE approvals SET decision_at = {until} WHERE id = %s", [after, approval.pk])
    return Approval.objects.get(pk=approval.pk)


# What holds, whatever happened.


def assert_approvals_hold(tenant: str = "default") -> None:
    """Of every approval there is, and of every one there was: its chain, its path, its decisions and its task."""
    told = chains_of("approval", tenant)
    rows = {approval.pk: approval for approval in Approval.objects.filter(tenant=tenant)}
    said: dict[UUID, list[Decision]] = defaultdict(list)
    for decision in Decision.objects.filter(approval__tenant=tenant):
        said[decision.approval_id].append(decision)
    assert rows.keys() == {pk for pk, trail_of in told.items() if trail_of[-1]["event_type"] != "approval.deleted"}
    for pk, trail_of in told.items():
        assert_chain(trail_of)
        _assert_path(trail_of)
        if pk in rows:
            assert (rows[pk].version, rows[pk].status) == (len(trail_of), trail_of[-1]["to_status"])
            assert bytes(rows[pk].audit_head) == bytes(trail_of[-1]["hash"])
            _assert_decisions(rows[pk], trail_of, said[pk])
    _assert_tasks(tenant, rows)
    _assert_people(tenant, rows, said)


def _assert_path(trail_of: Sequence[Event]) -> None:
    """Each event leads from where the last led by a legal move; at most one leads to an end, and one uses it."""
    assert (trail_of[0]["event_type"], trail_of[0]["from_status"]) == ("approval.created", None)
    for before, after in pairwise(trail_of):
        assert after["from_status"] == before["to_status"]
        if after["event_type"] == "approval.deleted":
            assert after is trail_of[-1]
        elif after["event_type"] in KEEPING:
            assert after["from_status"] == after["to_status"] == KEEPING[after["event_type"]]
        else:
            assert after["to_status"] in LEGAL[before["to_status"]], (before["to_status"], after["event_type"])
    assert sum(event["from_status"] == "pending" and event["to_status"] in TERMINAL for event in trail_of) <= 1
    assert sum(event["event_type"] == "approval.consumed" for event in trail_of) <= 1


def _assert_decisions(row: Approval, trail_of: Sequence[Event], said: Sequence[Decision]) -> None:
    """An event for each, by its decider; enough of them count where it was approved, and none against."""
    counting = [decision for decision in said if decision.set_aside_at is None]
    verdicts = Counter(decision.decision for decision in counting)
    assert verdicts["approved"] == row.granted <= row.required_approvals
    assert verdicts["rejected"] == (row.status == "rejected")
    assert (row.status == "approved") == (row.granted == row.required_approvals)
    assert set(Counter(decision.decider_subject for decision in counting).values()) <= {1}
    voices = {"approval.voted", "approval.approved", "approval.rejected"}
    told = Counter(event["actor_subject"] for event in trail_of if event["event_type"] in voices)
    assert told == Counter(decision.decider_subject for decision in said)
    named = [json.loads(event["body"])["changes"].get("set_aside", []) for event in trail_of]
    aside = Counter(decision.decider_subject for decision in said if decision.set_aside_at is not None)
    assert Counter(person["subject"] for people in named for person in people) == aside
    for decision in said:
        others = ("requester_subject", "requester_for_subject", "holder_subject", "holder_for_subject")
        assert decision.decider_subject not in [getattr(decision, other) for other in others]


def _assert_tasks(tenant: str, rows: Mapping[UUID, Approval]) -> None:
    """Nothing is open about what is over, and a task waits as long as a question is open that it waits for."""
    states: dict[UUID, Any] = dict(Task.objects.filter(tenant=tenant).values_list("pk", "status"))
    waiting = {row.task_id for row in rows.values() if row.status == "pending" and row.blocks}
    assert waiting == {pk for pk, status in states.items() if status == "blocked"}
    sessions: dict[UUID, Any] = dict(Session.objects.filter(tenant=tenant).values_list("pk", "status"))
    for row in rows.values():
        if row.status == "pending":
            assert row.task_id is None or states[row.task_id] not in OVER
            assert row.session_id is None or sessions[row.session_id] in ("pending", "active")


def _assert_people(tenant: str, rows: Mapping[UUID, Approval], said: Mapping[UUID, Sequence[Decision]]) -> None:
    """A person who is cut off has no open matter, and counts nowhere; any person counts once for one task."""
    people = list(Person.objects.filter(tenant=tenant).select_related("alias_of"))
    main = {one.subject: (one.alias_of or one).subject for one in people}
    out = {one.subject for one in people if not one.is_active}
    held = set(Task.objects.filter(tenant=tenant, status="active").values_list("lease_subject", flat=True))
    assert not out & held
    counting: dict[UUID | None, set[tuple[str, UUID]]] = defaultdict(set)
    for pk, row in rows.items():
        names = {one.decider_subject for one in said.get(pk, ()) if one.set_aside_at is None}
        if row.status == "pending":
            assert row.created_by_subject not in out
            assert not names & out
        if row.blocks and row.status in ("pending", "approved"):
            counting[row.task_id] |= {(name, pk) for name in names}
    for votes in counting.values():
        assert len({name for name, _ in votes}) == len(votes)
        for name, pk in votes:
            if rows[pk].status == "pending":
                same = {other for other in votes if main.get(other[0], other[0]) == main.get(name, name)}
                assert same == {(name, pk)}


# What holds as long as no clock is put back.


def assert_one_live_grant_per_act(tenant: str = "default") -> None:
    """Of one subject and action, at most one request is open or granted and unused, but for those made together."""
    rows = {row.pk: row for row in Approval.objects.filter(tenant=tenant)}
    live: dict[tuple[object, ...], list[Approval]] = defaultdict(list)
    for row in with_clock(Approval.objects.filter(pk__in=rows)):
        open_now = row.status == "pending" and not row.is_overdue()
        granted = row.status == "approved" and row.consumed_at is None and not row.has_lapsed()
        if row.action_digest is not None and (open_now or granted):
            first = row
            while former := first.reopens_id or first.replaces_id:
                first = rows[former]
            whose = (first.created_by, first.on_behalf_of) if row.task_id is row.session_id is None else ()
            live[row.task_id, row.session_id, *whose, bytes(row.action_digest)].append(row)
    for same in live.values():
        together = all(row.required for row in same) and len({_first_made(row, rows) for row in same}) == 1
        assert len(same) == 1 or (together and len({row.approver_role for row in same}) == len(same))


def _first_made(row: Approval, rows: Mapping[UUID, Approval]) -> datetime:
    """When the first of the requests was made that were replaced down to this one."""
    while row.replaces_id is not None:
        row = rows[row.replaces_id]
    return row.created_at
