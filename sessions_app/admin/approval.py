"""Approvals: the list, which is everybody's inbox too, and a page with what exactly is asked."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.admin import DateFieldListFilter, SimpleListFilter, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from orchestrator import ids
from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.acting import actor_of
from orchestrator.admin.paging import BoundedList
from orchestrator.admin.search import exactly, identified
from orchestrator.names import normal
from orchestrator.problems import InvalidRequest
from sessions_app import approvers, inbox, steering
from sessions_app.admin.approval_moves import DECISIONS, MOVES
from sessions_app.admin.approval_parts import about, agreed, asked, decisions, decisions_in_short, is_over
from sessions_app.admin.recorded import RecordedAdmin
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import ApprovalKind
from sessions_app.transitions.approvals.decisions import decisions_of


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


class KindFilter(SimpleListFilter):
    """What a request is about."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kinds as the API names them."""
        return [(kind.value, kind.value.capitalize()) for kind in ApprovalKind]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return all rows where nothing is chosen. Raises InvalidRequest for another kind."""
        if not self.value():
            return queryset
        if self.value() not in ApprovalKind.values:
            raise InvalidRequest([(self.parameter_name, f"It must be one of {', '.join(ApprovalKind.values)}.")])
        return queryset.filter(task__isnull=self.value() == ApprovalKind.ACTION)


class ApprovalList(BoundedList):
    """A page of requests, for the open ones of which known approvers are counted."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, then count; two queries however many rows it has."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        approvers.look_up(self.result_list)


class ApprovalAdmin(RecordedAdmin):
    """What people are asked to agree to. Each is looked at before it is decided: nothing is done to many at once."""

    list_display = ("id", "approver_role", "about", "state", "agreed", "requester", "ends", "created")
    list_defer = ("reason", "action", "action_digest", "notes", "audit_head")
    list_filter = (
        *(AssigneeFilter, "status", KindFilter, exactly("approver_role"), identified("session_id", Session.NOUN)),
        ("created_at", DateFieldListFilter),
    )
    filtered_by = (
        *("assignee", "status__exact", "kind", "approver_role", "session_id"),
        *("created_at__gte", "created_at__lt"),
    )
    ordering = ("-created_at", "-id")
    search_fields = ("id", "task_id", "session_id", "approver_role")
    search_help_text = "Id, id of a task or a session, or role"
    moves = MOVES
    actions = None
    called = "request"

    fieldsets: ClassVar = (
        (None, {"fields": (("id", "state"), ("approver_role", "blocking"), ("decided", "consumed"))}),
        (None, {"fields": (("tenant", "version"), ("created", "updated"), "head")}),
    )
    readonly_fields = ("state", "blocking", "decided", "consumed", "created", "updated", "head")

    def condition(self, term: str) -> Q:
        """The id of an approval, a task or a session, or a role."""
        named = {"pk": Approval.NOUN, "task_id": Task.NOUN, "session_id": Session.NOUN}
        condition = Q()
        for column, noun in named.items():
            # Without an id a nullable column would be compared with NULL.
            if (pk := ids.read(term, noun)) is not None:
                condition |= Q(**{column: pk})
        return condition or Q(approver_role=normal(term))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ApprovalList]:
        """Return the list that counts known approvers."""
        return ApprovalList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return one row with its known approvers counted. Raises NotFound."""
        row = super().get_object(request, object_id, from_field)
        approvers.look_up([row])
        return row

    def particulars(self, row: Approval, actor: Actor) -> list[tuple[str, str]]:
        """What exactly is asked, and what was decided about it before."""
        return asked(row, actor)

    def briefing(self, row: Approval, actor: Actor) -> list[tuple[str, str]]:
        """Return what the row's page shows, with the decisions."""
        approvers.look_up([row])
        return [*asked(row, actor), *decisions_in_short(row)]

    def parts(self, row: Approval, actor: Actor) -> list[dict[str, Any]]:
        """Decisions."""
        return [decisions(row)]

    def offers(self, row: Approval, actor: Actor) -> list[str]:
        """Return what this actor may do: what the transition would refuse is not offered."""
        names = super().offers(row, actor)
        awaits = not DECISIONS.isdisjoint(names) and inbox.awaiting(actor).filter(pk=row.pk).exists()
        checks: dict[str, Callable[[], bool]] = {
            **dict.fromkeys(DECISIONS, lambda: awaits),
            # What awaits a person's decision has none of theirs that counts.
            "withdraw": lambda: not awaits and row.granted > 0 and decisions_of(row, actor).exists(),
            "reopen": lambda: steering.can_be_reopened(row),
            "replace": lambda: steering.can_be_replaced(row),
        }
        return [name for name in names if name not in checks or checks[name]()]

    @display(description="About")
    def about(self, approval: Approval) -> str:
        """Return its kind, and the id of its task or session, leading to its page."""
        return about(approval)

    @display(description="Agreed")
    def agreed(self, approval: Approval) -> str:
        """How many, how many have to, and a warning where too few known people can."""
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
