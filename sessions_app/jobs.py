"""The maintenance jobs: what `manage.py sweep` does, each by itself, and how often."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from audit_app.management.commands.audit_seal import seal
from audit_app.sealing import seal_due
from orchestrator.idempotency.management.commands import purge_idempotency_records
from orchestrator.idempotency.purge import purge
from orchestrator.maintenance.jobs import Incomplete, Job
from orchestrator.people.logins import end_expired
from orchestrator.problems import ServiceUnavailable
from sessions_app import duties
from sessions_app.duties import (
    DEADLINE_DUTIES,
    EXPIRE_APPROVALS,
    EXPIRE_SESSIONS,
    LEASE_DUTIES,
    LEFT_OVER_DUTIES,
    RECORD_PEOPLE,
)
from sessions_app.management.commands.expire_sessions import sentence
from sessions_app.sweeping import Duty, sweep
from sessions_app.unfinished_cut_offs import finish_cut_offs


def expire_sessions() -> str:
    """Expire the sessions past their time. Raises Incomplete."""
    return sentence(sweep(EXPIRE_SESSIONS))


def expire_approvals() -> str:
    """Expire the approvals past their time. Raises Incomplete."""
    return _settled("Approvals", [(EXPIRE_APPROVALS, "expired")])


def end_overdue_tasks() -> str:
    """End the tasks past their deadline. Raises Incomplete."""
    return _settled("Tasks", DEADLINE_DUTIES)


def settle_lapsed_leases() -> str:
    """Put back or end the tasks whose lease ran out. Raises Incomplete."""
    return _settled("Leases", LEASE_DUTIES)


def close_left_over_approvals() -> str:
    """Cancel the open approvals of tasks and sessions that ended without them. Raises Incomplete."""
    return _settled("Left over", LEFT_OVER_DUTIES)


def undo_cut_offs() -> str:
    """Undo what a cut-off left, where it had more to undo than one transaction does."""
    return f"{finish_cut_offs()} rows of people who were cut off undone."


def record_refusals() -> str:
    """Record the refusals that were repeated within minutes that are over. Raises Incomplete."""
    recorded: list[int] = []
    outcome = sweep(duties.record_refusals(recorded.append))
    return _whole(f"{sum(recorded)} repeated refusal{'' if sum(recorded) == 1 else 's'} recorded", outcome.poison)


def record_people() -> str:
    """Begin the chains of people of the version before, or made by createsuperuser. Raises Incomplete."""
    outcome = sweep(RECORD_PEOPLE)
    return _whole(f"{outcome.moved} {'person' if outcome.moved == 1 else 'people'} recorded", outcome.poison)


def end_logins() -> str:
    """End the logins of the admin past their time, and those that were begun and never finished."""
    count = end_expired()
    return f"{count} login{'' if count == 1 else 's'} ended."


def purge_records() -> str:
    """Delete the remembered answers past their time."""
    return purge_idempotency_records.sentence(purge())


def seal_trail() -> str:
    """Seal the trail where a seal is due. Raises CommandError where that cannot be done."""
    return seal(seal_due)


def _settled(noun: str, parts: Iterable[tuple[Duty, str]]) -> str:
    """Do these duties in their order, and say what became of the rows. A duty that fails keeps no other from its rows.

    Raises Incomplete; ServiceUnavailable where a duty failed.
    """
    counts, poison, failure = [], dict[UUID, str](), None
    for duty, became in parts:
        try:
            outcome = sweep(duty)
        except ServiceUnavailable as problem:
            failure = problem
            continue
        poison.update(outcome.poison)
        counts.append(f"{outcome.moved} {became}")
    if failure is not None:
        raise failure
    return _whole(f"{noun}: {', '.join(counts)}", poison)


def _whole(done: str, poison: Mapping[UUID, str]) -> str:
    """Say what was done. Raises Incomplete where some rows could not be moved."""
    if not poison:
        return f"{done}."
    listed = "; ".join(f"{pk}: {why}" for pk, why in poison.items())
    raise Incomplete(f"{done}, {len(poison)} could not be: {listed}.")


def _names(parts: Iterable[tuple[Duty, str]]) -> tuple[str, ...]:
    return tuple(duty.job for duty, _ in parts)


JOBS: tuple[Job, ...] = (
    Job("expire_sessions", expire_sessions, moves_as=(EXPIRE_SESSIONS.job,)),
    Job("expire_approvals", expire_approvals, moves_as=(EXPIRE_APPROVALS.job,)),
    Job("end_overdue_tasks", end_overdue_tasks, moves_as=_names(DEADLINE_DUTIES)),
    Job("settle_lapsed_leases", settle_lapsed_leases, moves_as=_names(LEASE_DUTIES)),
    Job("close_left_over_approvals", close_left_over_approvals, 60.0, moves_as=_names(LEFT_OVER_DUTIES)),
    Job("undo_cut_offs", undo_cut_offs, interval_seconds=60.0),
    Job("record_refusals", record_refusals, moves_as=(duties.RECORD_REFUSALS,)),
    Job("record_people", record_people, moves_as=(RECORD_PEOPLE.job,)),
    Job("end_logins", end_logins),
    Job("purge_idempotency_records", purge_records),
    Job("seal_trail", seal_trail),
)
"""Every job. What each says is printed in this order; they run at the same time."""
