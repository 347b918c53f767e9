"""Approvals: the list, which is everybody's inbox too, and a page with what exactly is asked."""

from typing import Any, ClassVar

from django.contrib.admin import DateFieldListFilter, SimpleListFilter, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from orchestrator import ids
from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.acting import actor_of
from orchestrator.admin.search import exactly
from orchestrator.admin.site import page_of
from orchestrator.problems import InvalidRequest
from sessions_app import inbox
from sessions_app.admin.approval_moves import DECISIONS, MOVES
from sessions_app.admin.approval_parts import agreed, asked, decisions, is_over
from sessions_app.admin.recorded import RecordedAdmin
from sessions_app.models import Approval, Task


class AssigneeFilter(SimpleListFilter):
    """Whose decision it awaits, as the API has it."""

    title = "assignee"
    parameter_name = "assignee"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Nobody looks into the inbox of another."""
        return [("me", "Awaits me")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """All where nothing is chosen. Raises InvalidRequest for somebody else."""
        if self.value() not in (None, "", "me"):
            raise InvalidRequest([(self.parameter_name, "It must be me.")])
        return inbox.among(queryset, actor_of(request)) if self.value() else queryset


class ApprovalAdmin(RecordedAdmin):
    """What people are asked to agree to. Each is looked at before it is decided: nothing is done to many at once."""

    list_display = ("id", "approver_role", "task_page", "state", "agreed", "requester", "ends", "created")
    list_defer = ("reason", "action", "action_digest", "notes", "audit_head")
    list_filter = (AssigneeFilter, "status", exactly("approver_role"), ("created_at", DateFieldListFilter))
    filtered_by = ("assignee", "status__exact", "approver_role", "created_at__gte", "created_at__lt")
    ordering = ("-created_at", "-id")
    search_fields = ("id", "task_id", "approver_role")
    search_help_text = "Id, id of a task, or role"
    moves = MOVES
    actions = None
    called = "request"

    fieldsets: ClassVar = (
        (None, {"fields": (("id", "state"), ("approver_role", "blocking"), ("decided", "consumed"))}),
        (None, {"fields": (("tenant", "version"), ("created", "updated"), "head")}),
    )
    readonly_fields = ("state", "blocking", "decided", "consumed", "created", "updated", "head")

    def condition(self, term: str) -> Q:
        """The id of an approval or a task, or a role."""
        approval, task = ids.read(term, Approval.NOUN), ids.read(term, Task.NOUN)
        if approval or task:
            return Q(pk=approval) | Q(task_id=task)
        return Q(approver_role=term)

    def particulars(self, row: Approval, actor: Actor) -> list[tuple[str, str]]:
        """What exactly is asked."""
        return asked(row, actor)

    def parts(self, row: Approval, actor: Actor) -> list[dict[str, Any]]:
        """Decisions."""
        return [decisions(row)]

    def offers(self, row: Approval, actor: Actor) -> list[str]:
        """To decide only what awaits them: where the transition would refuse them, it is not offered."""
        names = super().offers(row, actor)
        if DECISIONS.isdisjoint(names) or inbox.awaiting(actor).filter(pk=row.pk).exists():
            return names
        return [name for name in names if name not in DECISIONS]

    @display(description="Task")
    def task_page(self, approval: Approval) -> str:
        """Its id, leading to its page; the task itself is not read."""
        return showing.linked(approval.task_id, page_of(Task, approval.task_id))

    @display(description="Agreed")
    def agreed(self, approval: Approval) -> str:
        """How many, and how many have to."""
        return agreed(approval)

    @display(description="Requested by")
    def requester(self, approval: Approval) -> str:
        """Issuer and subject."""
        return str(approval.created_by)

    @display(description="Expires (UTC)")
    def ends(self, approval: Approval) -> str:
        """To the second, and whether that is over."""
        return showing.until(approval.expires_at, over=is_over(approval))

    @display(description="Blocks its task")
    def blocking(self, approval: Approval) -> str:
        """Whether the task was, or is, blocked until it is answered."""
        return "yes" if approval.blocks else "no"

    @display(description="Decided (UTC)")
    def decided(self, approval: Approval) -> str:
        """When people settled it."""
        return showing.moment(approval.decision_at)

    @display(description="Consumed (UTC)")
    def consumed(self, approval: Approval) -> str:
        """When what was agreed to was used."""
        return showing.moment(approval.consumed_at)
