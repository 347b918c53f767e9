"""Requests about each kind of subject, cut-offs and links, for the tests of the rules of agreement."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import pytest
from django.conf import settings

from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Role
from orchestrator.people.models import Person
from sessions_app.models import Approval, Session, Task
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import lease, person
from sessions_app.transitions import session as sessions
from sessions_app.transitions import task as tasks
from sessions_app.transitions.person import CutOff
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ACTION, approver, ask, ask_for_action
from tests.sessions_app.session_calls import session_in, somebody

OTHER_ACTION = {"pay": "Olsen Tools", "amount": 1}


class Asking(Protocol):
    """Requests agreement to ACTION, of the managers, as alice by default."""

    def __call__(self, *, by: Actor | None = None, **question: Any) -> Approval:
        """Return the request."""


def _about_task(*, by: Actor | None = None, **question: Any) -> Approval:
    return ask(task_states.active(), by=by, **{"action": ACTION, **question})


def _in_session(*, by: Actor | None = None, **question: Any) -> Approval:
    session = session_in("active", by or somebody())
    return ask_for_action(question.pop("action", ACTION), session, by=by, **question)


def _alone(*, by: Actor | None = None, **question: Any) -> Approval:
    return ask_for_action(question.pop("action", ACTION), by=by, **question)


SUBJECTS: Mapping[str, Asking] = {"task": _about_task, "session": _in_session, "alone": _alone}
"""A request about a task that finn holds, one in a session of the requester, and one of the requester alone."""

ACTIONS: Mapping[str, Asking] = {"session": _in_session, "alone": _alone}
"""The requests about an action without a task."""


def body_of(approval: Approval, **more: Any) -> dict[str, Any]:
    """Return the body of `POST /approvals` that asks the same again; None leaves a member out."""
    whole = {
        "task_id": str(approval.task_id) if approval.task_id else None,
        "session_id": str(approval.session_id) if approval.session_id else None,
        "approver_role": approval.approver_role,
        "action": approval.action,
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


def made_by(answer: Any) -> Approval:
    """Return the request that a call made. Fails if it made none."""
    assert answer.status_code == 201, answer.content
    return Approval.objects.get(pk=answer.json()["approval_id"])


def ask_again(approval: Approval, *, by: Actor | None = None, **question: Any) -> Approval:
    """Request the same again by the transition, as alice by default."""
    actor, known = by or somebody(), {"action": approval.action, **question}
    if approval.task_id is not None:
        return ask(Task.objects.get(pk=approval.task_id), by=actor, **known)
    session = None if approval.session_id is None else Session.objects.get(pk=approval.session_id)
    return ask_for_action(known.pop("action"), session, by=actor, **known)


def operator_actor(name: str = "olga", *, tenant: str = "default") -> Actor:
    """An operator as the transitions know one."""
    return replace(somebody(name, tenant=tenant, agent_roles=()), roles=frozenset({Role.OPERATOR}))


def bella() -> Api:
    """An agent who is an approver of the managers as well."""
    return Api(token("bella", "agent,approver", "finance,manager"))


def identity(name: str) -> Identity:
    """An identity of the local issuer."""
    return Identity(settings.LOCAL_ISSUER, name)


def cut_off(name: str, *, by: str = "olga", tenant: str = "default") -> CutOff:
    """Cut an identity off, as an operator of its tenant."""
    actor = operator_actor(by, tenant=tenant)
    return boundary.write(lambda: person.cut_off(identity(name), actor=actor, reason="The laptop was stolen."))


def link(name: str, to: str) -> Person:
    """Record that two identities of the local issuer belong to one person."""
    linking = partial(person.link, identity(name), identity(to), tenant="default", actor=operator_actor())
    return boundary.write(partial(linking, reason="One person."))


def known_person(name: str, *agent_roles: str, roles: tuple[str, ...] = ("approver",)) -> Person:
    """A person of whom the directory knows the roles."""
    return Person.objects.create_user(name, None, subject=name, roles=[*roles], agent_roles=[*agent_roles])


def take_back(approval: Approval, name: str = "petra") -> Approval:
    """The approval after a person withdrew their decision."""
    actor = approver(name, role=approval.approver_role)
    return boundary.write(lambda: transitions.withdraw(approval, comments="Too early.", actor=actor))


def retry(task: Task, name: str = "olga") -> Task:
    """The task that repeats a failed one."""
    return boundary.write(lambda: tasks.retry(task, actor=operator_actor(name), reason="Again."))


def end_session(session_id: UUID | None, status: str = "completed") -> Session:
    """The session after its end."""
    assert session_id is not None
    session = Session.objects.get(pk=session_id)
    return boundary.write(partial(sessions.amend, session, actor=somebody(), status=status))


def released(task: Task, lease_token: str, *, by: Actor) -> Task:
    """A task that its holder handed back."""
    return boundary.write(partial(lease.release, task, token=lease_token, actor=by))


each_subject = pytest.mark.parametrize("asking", SUBJECTS.values(), ids=SUBJECTS)
each_action = pytest.mark.parametrize("asking", ACTIONS.values(), ids=ACTIONS)
