"""Rules of the work that a superuser breaks, with events that are true to their hashes and rows that agree."""

import json
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from typing import Any

from orchestrator import boundary
from orchestrator.actors import Role
from sessions_app.models import Approval, Session, Task
from sessions_app.transitions import person as people
from tests import work
from tests.audit_app.tampering import Super, append, point, retell
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ACTION, agree, approver, ask, consume

Found = list[tuple[str, str | None, int | None]]


@dataclass(frozen=True)
class Work:
    """Honest work: a session that ended, tasks that are done, given up and held, and requests that were decided."""

    ended: Session
    done: Task
    given_up: Task
    held: Task
    about_held: Approval
    agreed: Approval
    by_two: Approval
    voted: Approval
    used: Approval

    def names(self) -> dict[str, str]:
        """The names of the rows by their ids."""
        return {str(getattr(self, one.name).pk): one.name for one in fields(self)}


def honest_work() -> Work:
    """Made by the transitions. Petra, Paul and Pia are managers; `p.two` is another name of Petra's."""
    operator = replace(approver("olga"), roles=frozenset({Role.OPERATOR}))
    petra, two = approver("petra").identity, approver("p.two").identity
    boundary.write(partial(people.link, two, petra, tenant="default", actor=operator, reason="One person."))
    held = task_states.active()
    return Work(
        ended=work.move_session(work.open_session(), "active", "completed", reason="done"),
        done=task_states.completed(),
        given_up=task_states.failed(),
        held=held,
        about_held=agree(ask(held)),
        agreed=agree(ask()),
        by_two=agree(ask(required_approvals=2), "petra", "paul"),
        voted=agree(ask(required_approvals=2)),
        used=consume(agree(ask(action=ACTION))),
    )


# Decisions.


def _decided_by(beside: Super, asked: Approval, subject: str, *, seq: int = 2, kind: str = "person") -> None:
    """As if somebody else had decided, in the event and in the decision."""
    was = work.chain(asked)[seq - 1]["actor_subject"]
    retell(beside, asked, seq, actor_subject=subject, actor_kind=kind)
    changed = beside.execute(
        "UPDATE approval_decisions SET decider_subject = %s, decider_kind = %s"
        " WHERE approval_id = %s AND decider_subject = %s",
        [subject, kind, asked.pk, was],
    )
    assert changed.rowcount == 1


def approved_by_its_requester(story: Work, beside: Super) -> Found:
    """What is left of guards that were dropped, a self-approval, and guards that were restored."""
    _decided_by(beside, story.agreed, "alice")
    return [("own-matter", "agreed", 2)]


def approved_by_the_creator_of_the_task(story: Work, beside: Super) -> Found:
    _decided_by(beside, story.agreed, "mona")
    return [("own-matter", "agreed", 2)]


def approved_by_the_holder_of_the_task(story: Work, beside: Super) -> Found:
    _decided_by(beside, story.about_held, "finn")
    return [("own-matter", "about_held", 2)]


def approved_by_an_agent(story: Work, beside: Super) -> Found:
    _decided_by(beside, story.agreed, "robot", kind="agent")
    return [("own-matter", "agreed", 2)]


def approved_twice_by_one_person(story: Work, beside: Super) -> Found:
    # The decision stays Paul's: an index keeps two of one person apart, and what is wrong first is told.
    retell(beside, story.by_two, 3, actor_subject="petra")
    return [("quorum", "by_two", 3)]


def approved_twice_by_one_person_of_two_names(story: Work, beside: Super) -> Found:
    _decided_by(beside, story.by_two, "p.two", seq=3)
    return [("quorum", "by_two", 3)]


def approved_by_fewer_than_have_to(story: Work, beside: Super) -> Found:
    vote = work.chain(story.voted)[1]
    changes = {**json.loads(vote["body"])["changes"], "notes": ""}
    told: dict[str, Any] = {"event_type": "approval.approved", "to_status": "approved"}
    retell(beside, story.voted, 2, **told, metadata=json.dumps({"changes": changes}))
    point(beside, story.voted, status="approved", decision_at=vote["timestamp"])
    return [("quorum", "voted", 2)]


def copied_requester_changed(story: Work, beside: Super) -> Found:
    beside.execute(
        "UPDATE approval_decisions SET requester_subject = 'mallory' WHERE approval_id = %s", [story.agreed.pk]
    )
    return [("decisions", "agreed", 2)]


def copied_holder_changed(story: Work, beside: Super) -> Found:
    beside.execute(
        "UPDATE approval_decisions SET holder_subject = 'mallory' WHERE approval_id = %s", [story.about_held.pk]
    )
    return [("decisions", "about_held", 2)]


def copied_holder_removed(story: Work, beside: Super) -> Found:
    beside.execute(
        "UPDATE approval_decisions SET holder_issuer = NULL, holder_subject = NULL WHERE approval_id = %s",
        [story.about_held.pk],
    )
    return [("decisions", "about_held", 2)]


def grant_used_twice(story: Work, beside: Super) -> Found:
    append(beside, story.used, "approved", event_type="approval.consumed", role="manager")
    return [("use", "used", 4)]


def grant_used_by_another(story: Work, beside: Super) -> Found:
    retell(beside, story.used, 3, actor_subject="mallory")
    return [("use", "used", 3)]


def grant_used_without_an_approval(story: Work, beside: Super) -> Found:
    append(beside, story.voted, "pending", event_type="approval.consumed", role="manager")
    return [("use", "voted", 3)]


# Tasks and sessions.


def finished_task_made_open_again(story: Work, beside: Super) -> Found:
    append(beside, story.done, "pending", event_type="task.requeued", role="finance")
    return [("move", "done", 4)]


def finished_session_made_active_again(story: Work, beside: Super) -> Found:
    append(beside, story.ended, "active", event_type="session.activated")
    return [("move", "ended", 4)]


def rejected_request_after_its_approval(story: Work, beside: Super) -> Found:
    append(beside, story.agreed, "rejected", event_type="approval.cancelled", role="manager")
    return [("move", "agreed", 3)]


def running_lease_given_to_another(story: Work, beside: Super) -> Found:
    point(beside, story.held, lease_subject="mallory")
    return [("lease", "held", 2)]


def running_lease_given_to_another_with_its_attempt(story: Work, beside: Super) -> Found:
    point(beside, story.held, lease_subject="mallory")
    beside.execute("UPDATE task_attempts SET holder_subject = 'mallory' WHERE task_id = %s", [story.held.pk])
    return [("lease", "held", 2)]


def running_lease_for_another_person(story: Work, beside: Super) -> Found:
    point(beside, story.held, lease_for_issuer="local", lease_for_subject="mallory")
    return [("lease", "held", 2)]


def running_lease_of_another_token(story: Work, beside: Super) -> Found:
    point(beside, story.held, lease_token_hash=b"\1" * 32)
    return [("lease", "held", 2)]


def running_lease_that_lasts_for_a_month(story: Work, beside: Super) -> Found:
    point(beside, story.held, lease_expires_at=work.chain(story.held)[1]["timestamp"] + timedelta(days=30))
    return [("lease", "held", 2)]


def task_completed_by_another(story: Work, beside: Super) -> Found:
    retell(beside, story.done, 3, actor_subject="mallory")
    return [("holder", "done", 3)]


def lease_that_is_not_counted(story: Work, beside: Super) -> Found:
    claim = work.chain(story.held)[1]
    changes = {**json.loads(claim["body"])["changes"], "lease_epoch": 7}
    retell(beside, story.held, 2, metadata=json.dumps({"changes": changes}))
    point(beside, story.held, lease_epoch=7)
    beside.execute("UPDATE task_attempts SET epoch = 7 WHERE task_id = %s", [story.held.pk])
    return [("holder", "held", 2)]


def outcome_of_an_attempt(story: Work, beside: Super) -> Found:
    beside.execute("UPDATE task_attempts SET outcome = 'released' WHERE task_id = %s", [story.given_up.pk])
    return [("attempts", "given_up", 3)]


def outcome_of_a_completed_attempt(story: Work, beside: Super) -> Found:
    beside.execute("UPDATE task_attempts SET outcome = 'lease-lost' WHERE task_id = %s", [story.done.pk])
    return [("attempts", "done", 3)]


def error_of_an_attempt(story: Work, beside: Super) -> Found:
    beside.execute("UPDATE task_attempts SET error = '{}' WHERE task_id = %s", [story.given_up.pk])
    return [("attempts", "given_up", 3)]


def end_of_an_attempt(story: Work, beside: Super) -> Found:
    beside.execute("UPDATE task_attempts SET ended_at = now() + interval '1 h' WHERE task_id = %s", [story.done.pk])
    return [("attempts", "done", 3)]


def attempt_that_never_ended(story: Work, beside: Super) -> Found:
    ended = "UPDATE task_attempts SET ended_at = NULL, outcome = NULL, ended_by = NULL WHERE task_id = %s"
    beside.execute(ended, [story.done.pk])
    return [("attempts", "done", 3)]


def reason_of_a_session(story: Work, beside: Super) -> Found:
    point(beside, story.ended, reason="cancelled by the customer")
    return [("told", "ended", 3)]


def trace_of_a_task(story: Work, beside: Super) -> Found:
    point(beside, story.done, trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
    return [("told", "done", 3)]


RULES = [
    *(approved_by_its_requester, approved_by_the_creator_of_the_task, approved_by_the_holder_of_the_task),
    *(approved_by_an_agent, approved_twice_by_one_person, approved_twice_by_one_person_of_two_names),
    *(approved_by_fewer_than_have_to, grant_used_twice, grant_used_by_another, grant_used_without_an_approval),
    *(finished_task_made_open_again, finished_session_made_active_again, rejected_request_after_its_approval),
    *(task_completed_by_another, lease_that_is_not_counted),
]
"""Rules that are broken, event and row alike."""

COLUMNS = [
    *(copied_requester_changed, copied_holder_changed, copied_holder_removed),
    *(running_lease_given_to_another, running_lease_given_to_another_with_its_attempt),
    *(running_lease_for_another_person, running_lease_of_another_token, running_lease_that_lasts_for_a_month),
    *(outcome_of_an_attempt, outcome_of_a_completed_attempt, error_of_an_attempt, end_of_an_attempt),
    *(attempt_that_never_ended, reason_of_a_session, trace_of_a_task),
]
"""Columns that differ from the events, which are honest."""
