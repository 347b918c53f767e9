"""What the lists and pages of sessions, tasks and approvals have in common."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import display
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.acting import actor_of
from orchestrator.admin.search import terms
from orchestrator.filters import Refused
from sessions_app import permissions
from sessions_app.admin.moving import Moving
from sessions_app.admin.timeline import timeline
from sessions_app.models import Recorded


class RecordedAdmin(Moving):
    """Rows with a chain of events, and moves."""

    change_form_template = "sessions_app/recorded_page.html"

    def visible(self, actor: Actor) -> QuerySet[Any]:
        """As the API has it."""
        return permissions.visible(self.model, actor)

    def condition(self, term: str) -> Q:
        """What one word of a search asks for. Raises Refused."""
        raise NotImplementedError

    def parts(self, row: Any, actor: Actor) -> list[dict[str, Any]]:
        """The tables of what belongs to a row, each with its title."""
        return []

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that answer to every word."""
        try:
            for term in terms(search_term):
                queryset = queryset.filter(self.condition(term))
        except Refused as refusal:
            self.message_user(request, f"{search_term}: {refusal}", messages.ERROR)
            return queryset.none(), False
        return queryset, False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """The page, with what belongs to the row, what happened and what can be done."""
        row, actor = kwargs["obj"], actor_of(request)
        told = {
            **timeline(row, actor=actor),
            "particulars": self.particulars(row, actor),
            "parts": self.parts(row, actor),
            "actions_detail": self.buttons(row, actor),
        }
        return super().render_change_form(request, {**context, **told}, **kwargs)

    @display(description="Status")
    def state(self, row: Recorded) -> str:
        """As a badge."""
        return showing.badge(row.status)

    @display(description="Created (UTC)")
    def created(self, row: Recorded) -> str:
        """To the second."""
        return showing.moment(row.created_at)

    @display(description="Updated (UTC)")
    def updated(self, row: Recorded) -> str:
        """To the second."""
        return showing.moment(row.updated_at)

    @display(description="Created by")
    def creator(self, row: Recorded) -> str:
        """Issuer and subject."""
        return str(row.created_by)

    @display(description="On behalf of")
    def for_whom(self, row: Recorded) -> str:
        """Issuer and subject, where an agent acted for a person."""
        return showing.identity(row.on_behalf_of_issuer, row.on_behalf_of_subject)

    @display(description="Hash of the last event")
    def head(self, row: Recorded) -> str:
        """In hex."""
        return showing.code(bytes(row.audit_head).hex())
