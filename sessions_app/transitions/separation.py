"""Who must not decide an approval, and who must not use it, whatever roles they have."""

from orchestrator.actors import Actor, Kind
from sessions_app.models import Approval, Attempt, Task


def barred(approval: Approval, task: Task, actor: Actor) -> str | None:
    """Why this actor must not decide that, or None: separation of duties."""
    if actor.kind is not Kind.PERSON:
        return "Agents and service accounts decide nothing."
    if actor.identity == approval.created_by:
        return "You asked for it yourself."
    if actor.identity == approval.on_behalf_of:
        return "It was asked on your behalf."
    if actor.identity in (task.holder, task.held_for):
        return "You hold the task, or an agent holds it on your behalf."
    return None


def kept_from_using(approval: Approval, task: Task, actor: Actor) -> str | None:
    """Why this actor must not use that, or None. Whoever decided it neither asked nor holds the task."""
    who = actor.identity
    # Along with the person an agent acts for: who decided must not use it through an agent that asked as itself.
    if (who, actor.on_behalf_of) == (task.holder, task.held_for) and not task.is_lapsed():
        return None
    if (who, actor.on_behalf_of) != (approval.created_by, approval.on_behalf_of):
        return "Only whoever asked, or holds the task, may consume it."
    if Attempt.objects.filter(task=task, holder_issuer=who.issuer, holder_subject=who.subject).exists():
        # A late one, who asked before the lease was lost, must not act while another does the task.
        return "You held the task, and hold it no more."
    return None
