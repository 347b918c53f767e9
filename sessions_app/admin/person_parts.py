"""What operators read about a person: their linked identities, and what a cut-off undoes or has undone."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.html import format_html

from orchestrator.actors import Actor, Identity
from orchestrator.admin import showing
from orchestrator.admin.site import page_of
from orchestrator.people import permissions
from orchestrator.people.models import Person
from sessions_app.models import Approval, Task
from sessions_app.transitions.cut_offs import MOST as UNDONE_AT_ONCE
from sessions_app.transitions.cut_offs import Undone

MOST = 20
"""How many rows of each kind are listed."""

Particulars = list[tuple[str, str]]


def others(person: Person, actor: Actor) -> QuerySet[Person]:
    """Return the rows of the person's other identities, which are linked with this one."""
    main = person.alias_of_id or person.pk
    same = Q(pk=main) | Q(alias_of=main)
    return permissions.visible(actor).filter(same).exclude(pk=person.pk).order_by("issuer", "subject")


def linked(rows: Sequence[Person]) -> Particulars:
    """Return a person's other identities, each with a link to its page."""
    lines = [showing.linked(identity_of(one), page_of(Person, one.pk)) for one in rows]
    return [("Linked identities", showing.listed(lines))] if lines else []


def consequences(undone: Undone, beside: Sequence[Identity]) -> Particulars:
    """Return what a cut-off will undo, and which other identities it cuts off; nothing where it is nothing."""
    entries: Particulars = []
    if beside:
        entries.append(("Also cuts off", showing.listed(beside[:MOST])))
    if undone.released:
        entries.append(("Releases", _rows(_tasks(undone.released), undone.released, Task)))
    if undone.set_aside:
        title = f"approvals of {_requests(undone.set_aside)}"
        entries.append(("Sets aside", _rows(title, undone.set_aside, Approval)))
    if undone.cancelled:
        entries.append(("Cancels", _rows(_requests(undone.cancelled), undone.cancelled, Approval)))
    if undone.may_leave_some:
        entries.append(
            ("Afterwards", f"More may be open. The rest is undone within minutes, {UNDONE_AT_ONCE:,} at a time.")
        )
    return entries


def sentence(undone: Undone) -> str:
    """Return what a cut-off has undone, by counts; an empty text where it is nothing."""
    counts = {
        f"{_tasks(undone.released)} released": undone.released,
        f"approvals of {_requests(undone.set_aside)} set aside": undone.set_aside,
        f"{_requests(undone.cancelled)} cancelled": undone.cancelled,
    }
    done = ", ".join(words for words, pks in counts.items() if pks)
    rest = " The rest is undone within minutes." if undone.may_leave_some else ""
    return f"{done[0].upper()}{done[1:]}.{rest}" if done else ""


def identity_of(person: Person) -> Identity:
    """Return issuer and subject."""
    return Identity(person.issuer, person.subject)


def _tasks(pks: Sequence[UUID]) -> str:
    return f"{len(pks)} task{'' if len(pks) == 1 else 's'}"


def _requests(pks: Sequence[UUID]) -> str:
    return f"{len(pks)} open request{'' if len(pks) == 1 else 's'}"


def _rows(title: str, pks: Sequence[UUID], model: type[Task | Approval]) -> str:
    """Return a count and the first rows, each with a link to its page."""
    lines: list[str] = [showing.linked(pk, page_of(model, pk)) for pk in pks[:MOST]]
    if len(pks) > MOST:
        lines.append(f"and {len(pks) - MOST} more")
    return format_html("{}{}", title, showing.listed(lines))
