"""Moves that a person asks for, each row in a write boundary of its own, and what to tell of them."""

import time
from collections.abc import Iterable, Iterator
from uuid import UUID

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from orchestrator import boundary
from orchestrator.actors import Actor
from orchestrator.problems import Forbidden, Problem
from sessions_app import permissions
from sessions_app.models import Session
from sessions_app.models.session import SessionStatus
from sessions_app.transitions import session as transitions

PATIENCE_SECONDS = 10
"""How long a batch goes on. A row that somebody holds takes seconds to be refused."""

WORDS = {
    SessionStatus.ACTIVE: "Activate",
    SessionStatus.COMPLETED: "Complete",
    SessionStatus.FAILED: "Fail",
    SessionStatus.EXPIRED: "Expire",
}
"""What the move to each state is called on a button."""


class ReasonForm(forms.Form):
    """Why; it is kept with the event."""

    reason = forms.CharField(max_length=4000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}))

    def clean_reason(self) -> str:
        """Lines end as they were typed; a browser sends CR LF."""
        return str(self.cleaned_data["reason"]).replace("\r\n", "\n")


def move(pk: UUID, to: str, *, actor: Actor, reason: str) -> Session:
    """Move one session. Raises what the right to it or the transition refuses."""

    def moving() -> Session:
        session = permissions.find(Session, pk, actor)
        permissions.insist_may_move(actor, session)
        return transitions.amend(session, actor=actor, status=to, reason=reason)

    return boundary.write(moving)


def expire_each(pks: Iterable[UUID], *, actor: Actor, reason: str) -> Iterator[tuple[UUID, str | None]]:
    """Expire one session after the other; with each id comes the refusal, or None where it was expired."""
    until = time.monotonic() + PATIENCE_SECONDS
    for pk in pks:
        if time.monotonic() > until:
            yield pk, "Not tried: the others took too long."
            continue
        try:
            move(pk, SessionStatus.EXPIRED, actor=actor, reason=reason)
        except Problem as refusal:
            yield pk, refusal.detail
        else:
            yield pk, None


def offered(session: Session, *, actor: Actor) -> tuple[str, ...]:
    """The states that this actor may move a session to now."""
    try:
        permissions.insist_may_move(actor, session)
    except Forbidden:
        return ()
    return session.allowed_transitions()
