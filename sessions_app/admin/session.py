"""Sessions: the list, and a session's page with its timeline."""

from functools import partial
from typing import Any, ClassVar

from django.contrib.admin import DateFieldListFilter, action, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from orchestrator import names
from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.search import as_uuid, exactly
from orchestrator.admin.site import page_of
from sessions_app import permissions
from sessions_app.admin.approval_parts import requests
from sessions_app.admin.moves import Move
from sessions_app.admin.recorded import RecordedAdmin
from sessions_app.filters import contained
from sessions_app.models import Approval, Session, Task
from sessions_app.models.session import SessionStatus
from sessions_app.transitions import session as transitions


def _move(to: SessionStatus, verb: str, past: str, *, ends: bool = False) -> Move[Session]:
    return Move(
        model=Session,
        verb=verb,
        past=past,
        ends=ends,
        insist=permissions.insist_may_move,
        is_legal=lambda session: to in session.allowed_transitions(),
        make=partial(transitions.amend, status=to),
        tell=lambda session: f"The session is {session.status}.",
    )


MOVES = {
    "active": _move(SessionStatus.ACTIVE, "Activate", "activated"),
    "completed": _move(SessionStatus.COMPLETED, "Complete", "completed"),
    "failed": _move(SessionStatus.FAILED, "Fail", "failed", ends=True),
    "expired": _move(SessionStatus.EXPIRED, "Expire", "expired", ends=True),
}
"""By the state that they lead to."""


class SessionAdmin(RecordedAdmin):
    """Agents' pieces of work."""

    list_display = ("id", "role", "state", "created", "expires", "creator")
    list_defer = ("metadata", "reason", "audit_head")
    list_filter = ("status", exactly("role"), ("created_at", DateFieldListFilter))
    filtered_by = ("status__exact", "role", "created_at__gte", "created_at__lt")
    ordering = ("-created_at", "-id")
    search_fields = ("id", "role", "metadata")
    search_help_text = "Id, role, or key=value of the metadata"
    moves = MOVES
    actions = ("expire",)

    fieldsets: ClassVar = (
        (None, {"fields": (("id", "state"), ("role", "for_task"), ("creator", "for_whom"), ("tenant", "version"))}),
        (None, {"fields": (("created", "expires"), ("updated", "head"), "why", "metadata")}),
    )
    readonly_fields = ("state", "creator", "for_whom", "for_task", "created", "updated", "expires", "head", "why")

    def condition(self, term: str) -> Q:
        """An id, a value of the metadata or a role. Raises Refused."""
        if pk := as_uuid(term):
            return Q(pk=pk)
        key, equals, value = term.partition("=")
        return contained(key, value) if equals else Q(role=names.normal(term))

    def parts(self, row: Session, actor: Actor) -> list[dict[str, Any]]:
        """Return the requests about actions of the session, as far as this actor sees them."""
        return [requests(permissions.visible(Approval, actor).filter(session=row))]

    @action(description="Expire the selected sessions", permissions=["steer"])
    def expire(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Those that were ticked."""
        return self.make_of_ticked(request, "expired", action="expire")

    @display(description="Expires (UTC)")
    def expires(self, session: Session) -> str:
        """To the second, and whether that is over."""
        return showing.until(session.expires_at, over=session.is_overdue() and not session.is_terminal)

    @display(description="Reason")
    def why(self, session: Session) -> str:
        """Line by line."""
        return showing.text(session.reason)

    @display(description="Task")
    def for_task(self, session: Session) -> str:
        """Its id, leading to its page; the task itself is not read."""
        return showing.linked(session.task_id, page_of(Task, session.task_id)) if session.task_id else "–"
