"""The trail: the list of events, and an event's page."""

from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin import DateFieldListFilter, SimpleListFilter, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from audit_app import finding, permissions
from audit_app.models import AuditEvent
from audit_app.trail import Action
from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.looking import Looking
from orchestrator.admin.search import as_uuid, exactly, terms
from orchestrator.admin.site import page_of_subject, site

_UNINDEXED = frozenset({"role", "via__exact"})
"""The filters that no index serves."""


class TypeFilter(SimpleListFilter):
    """By event type, out of the vocabulary."""

    title = "event type"
    parameter_name = "event_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every word there is."""
        return [(str(action), str(action)) for action in Action]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """All where none is chosen."""
        return queryset.filter(event_type=self.value()) if self.value() else queryset


class AuditEventAdmin(Looking):
    """What happened. Auditors and operators see it."""

    list_display = ("when", "event_type", "subject", "seq", "before", "after", "who", "via", "why")
    list_display_links = ("when",)
    list_defer = ("metadata", "body", "hash", "prev_hash")
    list_filter = (TypeFilter, "via", exactly("role"), ("timestamp", DateFieldListFilter))
    filtered_by = ("event_type", "via__exact", "role", "timestamp__gte", "timestamp__lt")
    ordering = ("-timestamp", "-id")
    search_fields = ("id", "subject_id", "trace_id", "role", "metadata")
    search_help_text = "Id of an event, subject or trace; role; key=value"
    actions = None

    fieldsets: ClassVar = (
        (None, {"fields": (("id", "when"), ("event_type", "seq"), ("subject", "role"), ("before", "after"))}),
        (None, {"fields": (("who", "for_whom"), ("actor_kind", "via"), ("tenant", "ip"), ("request_id", "trace_id"))}),
        (None, {"fields": ("reason", "changes", "cause", "text", "chained", "chained_to")}),
    )
    readonly_fields = (
        *("when", "subject", "before", "after", "who", "for_whom"),
        *("changes", "text", "chained", "chained_to"),
    )

    def visible(self, actor: Actor) -> QuerySet[AuditEvent]:
        """As the rights have it."""
        return permissions.visible(actor)

    def may_look(self, actor: Actor) -> bool:
        """Auditors and operators."""
        return permissions.may_read(actor)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The events that answer to every word."""
        words = list(terms(search_term))
        ids = {word: pk for word in words if (pk := as_uuid(word))}
        wide = len(ids) < len(words) or _UNINDEXED.intersection(request.GET)
        newest = self._newest(request) if wide and not ids else Q()
        if _UNINDEXED.intersection(request.GET):
            queryset = queryset.filter(newest)
        for word in words:
            queryset = queryset.filter(finding.by_id(ids[word], word) if word in ids else finding.by_word(word, newest))
        return queryset, False

    def _newest(self, request: HttpRequest) -> Q:
        """The condition to be among the newest; where it leaves anything out, that is told."""
        oldest = finding.edge(self.get_queryset(request))
        if oldest is None:
            return Q()
        text = f"Roles, ways in and metadata are looked for in the newest {finding.NEWEST:,} events."
        self.message_user(request, text, messages.INFO)
        return Q(timestamp__gte=oldest)

    @display(description="When (UTC)")
    def when(self, event: AuditEvent) -> str:
        """To the second."""
        return showing.moment(event.timestamp)

    @display(description="Subject")
    def subject(self, event: AuditEvent) -> str:
        """Noun and id, leading to its page where it has one."""
        if event.subject_id is None:
            return "–"
        name = f"{event.subject_type} {event.subject_id}"
        page = page_of_subject(event.subject_type, event.subject_id)
        return showing.linked(name, page)

    @display(description="From")
    def before(self, event: AuditEvent) -> str:
        """The state before, as a badge."""
        return showing.badge(event.from_status)

    @display(description="To")
    def after(self, event: AuditEvent) -> str:
        """The state after, as a badge."""
        return showing.badge(event.to_status)

    @display(description="Who")
    def who(self, event: AuditEvent) -> str:
        """Issuer and subject of the actor."""
        return showing.identity(event.actor_issuer, event.actor_subject)

    @display(description="On behalf of")
    def for_whom(self, event: AuditEvent) -> str:
        """Issuer and subject, where an agent acted for a person."""
        return showing.identity(event.on_behalf_of_issuer, event.on_behalf_of_subject)

    @display(description="Reason")
    def why(self, event: AuditEvent) -> str:
        """Its beginning."""
        return Truncator(event.reason).chars(60) or "–"

    @display(description="Changes")
    def changes(self, event: AuditEvent) -> str:
        """Old columns' new values."""
        return showing.document(event.metadata.get("changes", {}))

    @display(description="Text that the hash is of")
    def text(self, event: AuditEvent) -> str:
        """As it is stored."""
        return showing.code(event.body)

    @display(description="Hash")
    def chained(self, event: AuditEvent) -> str:
        """In hex."""
        return showing.code(bytes(event.hash).hex())

    @display(description="Hash of the event before")
    def chained_to(self, event: AuditEvent) -> str:
        """In hex."""
        return showing.code(bytes(event.prev_hash).hex() if event.prev_hash else "–")


site.register(AuditEvent, AuditEventAdmin)
