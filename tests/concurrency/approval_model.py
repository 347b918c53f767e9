"""The rules of agreement once more, in a few lines and without a database: what each request must be by what was done.

Nothing here calls the service. A person is a name; times are hours of a clock that goes both ways.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from tests.concurrency.tasks import TERMINAL
from tests.concurrency.test_task_machine import Known

OVER = TERMINAL
"""States in which a task asks nothing more."""


@dataclass
class Opened:
    """A session as it must be."""

    creator: str
    until: float
    ended: bool = False


@dataclass
class Asked:
    """A request as it must be."""

    pk: UUID
    task: UUID | None
    session: UUID | None
    asker: str
    role: str
    needed: int
    act: int | None
    """Which action it is about."""
    blocks: bool
    required: bool
    at: int
    """Which step made it: requests that were made together have the same."""
    until: float
    good_for: float
    """For how many hours a grant of it can be used."""
    reopens: UUID | None = None
    replaces: UUID | None = None
    status: str = "pending"
    good_until: float = 0.0
    used: bool = False
    refusals: int = 0
    was_decided: bool = False
    closed: bool = False
    """Whether it was cancelled with its task or session, or in the moment in which its task failed."""
    votes: list[str] = field(default_factory=list)
    """The people whose approvals count, first to last."""

    @property
    def subject(self) -> tuple[UUID | None, UUID | None]:
        """What it is about."""
        return self.task, self.session


class Rules:
    """All that is known, and what follows from it."""

    def __init__(self) -> None:
        self.hours = 0
        self.tasks: dict[UUID, Known] = {}
        self.sessions: dict[UUID, Opened] = {}
        self.asked: dict[UUID, Asked] = {}
        self.main: dict[str, str] = {}
        self.cut: set[str] = set()

    # People.

    def same(self, name: str) -> set[str]:
        """All names of one person."""
        main = self.main.get(name, name)
        return {main} | {alias for alias, of in self.main.items() if of == main}

    def may_be_linked(self, name: str, same_as: str) -> bool:
        """Whether a name can become that of another person; a name that is one already can be linked again."""
        main = self.main.get(same_as, same_as)
        if name == same_as:
            return False
        if self.main.get(name) == main:
            return True
        is_free = name not in self.main and name not in self.main.values()
        return is_free and (name in self.cut) == (main in self.cut)

    def barred(self, one: Asked, name: str) -> bool:
        """Whether a person must not decide a request."""
        me, line = self.same(name), set(self.line(one.task))
        involved = {one.asker} | {former.asker for former in self.formers(one)}
        for pk in line:
            involved |= {self.tasks[pk].creator, *self.tasks[pk].holders}
        if one.session is not None:
            involved.add(self.sessions[one.session].creator)
        for other in self.asked.values():
            near = other.task in line if one.task is not None else one.session is not None
            near = near and (one.task is not None or other.session == one.session)
            is_repeated = one.task is not None and other.blocks and other.task != one.task
            if near and ((other.role, other.act) == (one.role, one.act) or is_repeated):
                involved.add(other.asker)
        return not me.isdisjoint(involved)

    def counts_on(self, one: Asked, name: str) -> Asked | None:
        """The request on which an approval of this person counts: this one, or another that the same task awaits."""
        me = self.same(name)
        beside = [other for other in self.waited_for(one.task) if other is not one] if one.blocks else []
        for other in [one, *beside]:
            is_live = other is one or other.status in ("pending", "approved")
            if is_live and not me.isdisjoint(other.votes):
                return other
        return None

    # Subjects.

    def line(self, task: UUID | None) -> Iterator[UUID]:
        """A task, and those whose work it repeats."""
        while task is not None:
            yield task
            task = self.tasks[task].retry_of

    def waited_for(self, task: UUID | None) -> list[Asked]:
        """The requests that a task waits or waited for."""
        return [one for one in self.asked.values() if one.task == task and one.blocks] if task is not None else []

    def session_is_over(self, pk: UUID | None) -> bool:
        """Whether a session ended, or its time passed."""
        return pk is not None and (self.sessions[pk].ended or self.sessions[pk].until <= self.hours)

    # Requests.

    def formers(self, one: Asked) -> list[Asked]:
        """The requests about the same subject that led to this one by being reopened or replaced."""
        found = []
        while (before := one.reopens or one.replaces) is not None and self.asked[before].subject == one.subject:
            one = self.asked[before]
            found.append(one)
        return found

    def reopening_lives(self, one: Asked) -> bool:
        """Whether a request that reopens a rejected one, or follows such a request, is open or was approved."""
        for other in self.asked.values():
            if one.pk in (other.reopens, other.replaces):
                is_alive = other.status == "approved" or (other.status == "pending" and not self.is_late(other))
                if is_alive or self.reopening_lives(other):
                    return True
        return False

    def first(self, one: Asked) -> Asked:
        """The first of the requests that led to this one."""
        return [one, *self.formers(one)][-1]

    def is_late(self, one: Asked) -> bool:
        """Whether its time to be decided has passed."""
        return one.until <= self.hours

    def has_lapsed(self, one: Asked) -> bool:
        """Whether a grant can be used no more."""
        return one.good_until <= self.hours

    def granted_beside(self, asked: Asked) -> list[Asked]:
        """The other unused grants of the same task for the same action."""
        same = [one for one in self.asked.values() if one.task == asked.task and one.act == asked.act]
        granted = [one for one in same if one.status == "approved" and not one.used and one is not asked]
        return granted if asked.task is not None else []

    def is_out_of_reach(self, one: Asked) -> bool:
        """Whether a grant cannot be used, since what it is about is over, or waits for other requests."""
        if one.task is not None:
            return self.tasks[one.task].status in {*OVER, "blocked"}
        return self.session_is_over(one.session)

    def obstacle(
        self,
        subject: tuple[UUID | None, UUID | None],
        role: str,
        act: int | None,
        requester: str,
        *,
        beside: UUID | None = None,
        reopening: UUID | None = None,
    ) -> str | None:
        """Why a question is not asked: it was rejected, or it is open or granted already."""
        same = {pk: one for pk, one in self.asked.items() if one.subject == subject and one.act == act}
        if subject == (None, None):
            same = {
                pk: one
                for pk, one in same.items()
                if not self.same(requester).isdisjoint({one.asker, self.first(one).asker})
            }
        lifted = [] if reopening is None else [reopening, *(one.pk for one in self.formers(self.asked[reopening]))]
        others = [one for pk, one in same.items() if pk != beside and pk not in lifted]
        rejected = [one for one in others if one.status == "rejected" and one.role == role]
        if not all(map(self.reopening_lives, rejected)):
            return "already-rejected"
        if act is not None and any(self.is_live(one) and not self.belong(one, beside, role) for one in others):
            return "already-requested"
        return None

    def belong(self, one: Asked, replaced: UUID | None, role: str) -> bool:
        """Whether the replacement of a request, to this role, and another request stem from the same creation."""
        if replaced is None or one.role == role:
            return False
        return self.were_together(one, self.asked[replaced])

    def were_together(self, one: Asked, other: Asked) -> bool:
        """Whether a task was created with both requests, or with those that they replace."""
        return one.required and other.required and self.replaced_first(one).at == self.replaced_first(other).at

    def replaced_first(self, one: Asked) -> Asked:
        """The first of the requests that were replaced down to this one."""
        while one.replaces is not None:
            one = self.asked[one.replaces]
        return one

    def is_live(self, one: Asked) -> bool:
        """Whether it may still be granted, or used."""
        if one.status == "pending":
            return not self.is_late(one)
        return one.status == "approved" and not one.used and not self.has_lapsed(one)

    def asked_again(self, task: UUID) -> list[tuple[str, int, int | None, UUID | None]]:
        """The requests of a task that repeats this one: role, number, action, and the rejection that is reopened."""
        asked = self.waited_for(task)
        wanted = [one for one in asked if one.required or one.status != "cancelled" or one.closed]
        replaced = {one.replaces for one in wanted}
        groups: dict[object, list[Asked]] = {}
        for one in sorted(wanted, key=lambda one: (one.at, one.pk)):
            if one.pk not in replaced:
                groups.setdefault(one.pk if one.act is None else (one.role, one.act), []).append(one)
        return [
            (
                same[0].role,
                max(one.needed for one in same),
                same[0].act,
                ([None] + [one.pk for one in same if one.status == "rejected"])[-1],
            )
            for same in groups.values()
        ]

    # What follows.

    def goes_on(self, pk: UUID) -> None:
        """Move a task on that waits for no open request any more."""
        task, requests = self.tasks[pk], self.waited_for(pk)
        if task.status != "blocked" or any(one.status == "pending" for one in requests):
            return
        if not all(self.is_answered(one, requests) for one in requests):
            task.status = "cancelled"
        else:
            task.status = "failed" if task.overdue else "pending"

    def is_answered(self, one: Asked, requests: list[Asked]) -> bool:
        """Whether a task may go on as far as this request goes."""
        if one.status == "approved" or (one.status == "cancelled" and not one.required):
            return True
        return any(other.replaces == one.pk and self.is_answered(other, requests) for other in requests)

    def ends_what_it_waited_for(self, one: Asked) -> None:
        """A blocked task fails with a request that it waited for."""
        if one.task is not None and one.blocks and self.tasks[one.task].status == "blocked":
            self.tasks[one.task].status = "failed"

    def closes_what_is_over(self) -> None:
        """Cancel the open requests about what ended."""
        for one in self.asked.values():
            task_is_over = one.task is not None and self.tasks[one.task].status in OVER
            session_is_over = one.session is not None and self.sessions[one.session].ended
            if one.status == "pending" and (task_is_over or session_is_over):
                one.status, one.closed = "cancelled", True

    def undo(self, people: set[str]) -> None:
        """What the cut-off of a person undoes."""
        open_ones = [one for one in self.asked.values() if one.status == "pending"]
        for one in open_ones:
            one.votes = [name for name in one.votes if name not in people]
        own = [one for one in open_ones if self.first(one).asker in people]
        for one in own:
            one.status = "cancelled"
        for pk in {one.task for one in own if one.blocks and one.task is not None}:
            self.goes_on(pk)
        for task in self.tasks.values():
            if task.status == "active" and task.holder in people:
                task.status = "cancelled" if task.called_off else "failed" if task.overdue else "pending"

    def merge(self, people: set[str]) -> None:
        """What the link of two names undoes: approvals that count twice now, or in the person's own matter."""
        open_ones = [one for one in self.asked.values() if one.status == "pending"]
        for one in sorted(open_ones, key=lambda one: one.pk):
            theirs = [name for name in one.votes if name in people]
            if not theirs:
                continue
            others = one.votes
            one.votes = [name for name in others if name not in people]
            counts_elsewhere = self.counts_on(one, theirs[0]) is not None
            kept = [] if counts_elsewhere or self.barred(one, theirs[0]) else theirs[:1]
            one.votes = [name for name in others if name not in people or name in kept]
