"""Tasks: the list, and a task's page with its approvals, its attempts, its sessions and its timeline."""

from typing import Any, ClassVar

from django.contrib.admin import DateFieldListFilter, action, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from orchestrator import ids, names
from orchestrator.actors import Actor, Role
from orchestrator.admin import showing
from orchestrator.admin.acting import actor_of
from orchestrator.admin.search import exactly
from orchestrator.admin.site import page_of
from sessions_app.admin.recorded import RecordedAdmin
from sessions_app.admin.task_moves import MOVES
from sessions_app.admin.task_parts import parts
from sessions_app.models import Task


class TaskAdmin(RecordedAdmin):
    """Work that one role routes to another."""

    list_display = ("id", "task_type", "route", "state", "priority", "tries", "holder", "created")
    list_defer = ("description", "data", "context", "progress", "output", "error", "audit_head", "lease_token_hash")
    list_filter = (
        *("status", exactly("to_role"), exactly("from_role"), exactly("task_type")),
        ("created_at", DateFieldListFilter),
    )
    filtered_by = ("status__exact", "to_role", "from_role", "task_type", "created_at__gte", "created_at__lt")
    ordering = ("-created_at", "-id")
    search_fields = ("id", "to_role", "from_role", "trace_id")
    search_help_text = "Id, role or trace id"
    moves = MOVES
    actions = ("cancel", "force_release")

    fieldsets: ClassVar = (
        (None, {"fields": (("id", "state"), ("task_type", "route"), ("priority", "tries"), "wording")}),
        (None, {"fields": (("creator", "for_whom"), ("tenant", "version"), "trace_id", "origin")}),
        ("Lease", {"fields": (("holder", "held_for"), ("lease_epoch", "lease_ends"), "to_be_cancelled", "reached")}),
        ("Times", {"fields": (("created", "updated"), ("earliest", "latest"))}),
        ("Work", {"fields": ("given", "around", "result", "failure", "head")}),
    )
    readonly_fields = (
        *("route", "state", "tries", "creator", "for_whom", "origin", "holder", "held_for", "lease_ends"),
        *("to_be_cancelled", "reached", "created", "updated", "earliest", "latest"),
        *("wording", "given", "around", "result", "failure", "head"),
    )

    def condition(self, term: str) -> Q:
        """An id, a role or a trace id, which may look like an id."""
        trace = Q(trace_id=term)
        if pk := ids.read(term, Task.NOUN):
            return Q(pk=pk) | trace
        role = names.normal(term)
        return Q(to_role=role) | Q(from_role=role) | trace

    def parts(self, row: Task, actor: Actor) -> list[dict[str, Any]]:
        """Approvals, attempts, sessions, and what retries it."""
        return parts(row, actor)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whoever can have made a task is offered it as well; whether a row may be cancelled is judged row by row."""
        return actor_of(request).has(Role.OPERATOR, Role.AGENT)

    @action(description="Cancel the selected tasks", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Those that were ticked."""
        return self.make_of_ticked(request, "cancel", action="cancel")

    @action(description="Force-release the selected tasks", permissions=["steer"])
    def force_release(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Those that were ticked."""
        return self.make_of_ticked(request, "force-release", action="force_release")

    @display(description="From → to")
    def route(self, task: Task) -> str:
        """The roles."""
        return f"{task.from_role} → {task.to_role}"

    @display(description="Attempt")
    def tries(self, task: Task) -> str:
        """Its number, and how many there may be."""
        return f"{task.attempt}/{task.max_attempts}"

    @display(description="Description")
    def wording(self, task: Task) -> str:
        """Line by line."""
        return showing.text(task.description)

    @display(description="Retry of")
    def origin(self, task: Task) -> str:
        """The failed task, leading to its page."""
        return showing.linked(task.retry_of_id, page_of(Task, task.retry_of_id)) if task.retry_of_id else "–"

    @display(description="Holder")
    def holder(self, task: Task) -> str:
        """Issuer and subject, and whether the lease is over."""
        told = showing.identity(task.lease_issuer, task.lease_subject)
        return f"{told} (over)" if task.is_lapsed() else told

    @display(description="Held on behalf of")
    def held_for(self, task: Task) -> str:
        """Issuer and subject, where an agent holds it for a person."""
        return showing.identity(task.lease_for_issuer, task.lease_for_subject)

    @display(description="Lease ends (UTC)")
    def lease_ends(self, task: Task) -> str:
        """To the second, and whether that is over."""
        return showing.until(task.lease_expires_at, over=task.is_lapsed())

    @display(description="To be cancelled")
    def to_be_cancelled(self, task: Task) -> str:
        """Whether its holder was told to stop."""
        return "yes" if task.cancel_requested else "no"

    @display(description="Progress")
    def reached(self, task: Task) -> str:
        """As its holder told last."""
        return showing.document(task.progress)

    @display(description="Not before (UTC)")
    def earliest(self, task: Task) -> str:
        """To the second."""
        return showing.moment(task.not_before)

    @display(description="Deadline (UTC)")
    def latest(self, task: Task) -> str:
        """To the second, and whether that is over."""
        return showing.until(task.deadline, over=task.is_past_deadline() and not task.is_terminal)

    @display(description="Data")
    def given(self, task: Task) -> str:
        """What there is to be done."""
        return showing.document(task.data)

    @display(description="Context")
    def around(self, task: Task) -> str:
        """What there is to be known."""
        return showing.document(task.context)

    @display(description="Output")
    def result(self, task: Task) -> str:
        """What came of it."""
        return showing.document(task.output)

    @display(description="Error")
    def failure(self, task: Task) -> str:
        """Why it, or its last attempt, failed."""
        return showing.document(task.error)
