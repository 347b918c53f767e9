"""Sessions: the list, and a session's page with its timeline."""

from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin import DateFieldListFilter, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.acting import actor_of
from orchestrator.admin.search import Exactly, as_uuid, terms
from orchestrator.filters import Refused
from sessions_app import permissions
from sessions_app.admin.moving import Moving
from sessions_app.admin.timeline import timeline
from sessions_app.filters import contained
from sessions_app.models import Session


class RoleFilter(Exactly):
    """By agent role."""

    title = "role"
    parameter_name = "role"


class SessionAdmin(Moving):
    """Agents' pieces of work."""

    list_display = ("id", "role", "state", "created", "expires", "creator")
    list_defer = ("metadata", "reason", "audit_head")
    list_filter = ("status", RoleFilter, ("created_at", DateFieldListFilter))
    filtered_by = ("status__exact", "role", "created_at__gte", "created_at__lt")
    ordering = ("-created_at", "-id")
    search_fields = ("id", "role", "metadata")
    search_help_text = "Id, role, or key=value of the metadata"

    change_form_template = "sessions_app/session_page.html"
    fieldsets: ClassVar = (
        (None, {"fields": (("id", "state"), ("role", "for_task"), ("creator", "for_whom"), ("tenant", "version"))}),
        (None, {"fields": (("created", "expires"), ("updated", "head"), "reason", "metadata")}),
    )
    readonly_fields = ("state", "creator", "for_whom", "for_task", "created", "updated", "expires", "head")

    def visible(self, actor: Actor) -> QuerySet[Session]:
        """As the API has it."""
        return permissions.visible(Session, actor)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The sessions that answer to every word."""
        try:
            for term in terms(search_term):
                queryset = queryset.filter(_condition(term))
        except Refused as refusal:
            self.message_user(request, f"{search_term}: {refusal}", messages.ERROR)
            return queryset.none(), False
        return queryset, False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """The page, with what happened and what can be done."""
        session, actor = kwargs["obj"], actor_of(request)
        told = {**timeline(session, actor=actor), "actions_detail": self.buttons(session, actor)}
        return super().render_change_form(request, {**context, **told}, **kwargs)

    @display(description="Status")
    def state(self, session: Session) -> str:
        """As a badge."""
        return showing.badge(session.status)

    @display(description="Created (UTC)")
    def created(self, session: Session) -> str:
        """To the second."""
        return showing.moment(session.created_at)

    @display(description="Updated (UTC)")
    def updated(self, session: Session) -> str:
        """To the second."""
        return showing.moment(session.updated_at)

    @display(description="Expires (UTC)")
    def expires(self, session: Session) -> str:
        """To the second, and whether that is over."""
        overdue = session.is_overdue() and not session.is_terminal
        return format_html("{}{}", showing.moment(session.expires_at), " (over)" if overdue else "")

    @display(description="Created by")
    def creator(self, session: Session) -> str:
        """Issuer and subject."""
        return str(session.created_by)

    @display(description="On behalf of")
    def for_whom(self, session: Session) -> str:
        """Issuer and subject, where an agent acted for a person."""
        return showing.identity(session.on_behalf_of_issuer, session.on_behalf_of_subject)

    @display(description="Task")
    def for_task(self, session: Session) -> str:
        """Its id; the task itself is not read."""
        return showing.code(session.task_id or "–")

    @display(description="Hash of the last event")
    def head(self, session: Session) -> str:
        """In hex."""
        return showing.code(bytes(session.audit_head).hex())


def _condition(term: str) -> Q:
    """What one word of a search asks for. Raises Refused."""
    if pk := as_uuid(term):
        return Q(pk=pk)
    key, equals, value = term.partition("=")
    return contained(key, value) if equals else Q(role=term)
