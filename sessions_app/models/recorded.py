"""Recorded: what every row with a chain of events has."""

from datetime import datetime
from functools import cache
from typing import ClassVar, cast
from uuid import UUID

from django.db import models
from django_fsm import FSMField
from uuid_utils.compat import uuid7

from orchestrator.actors import Actor, Identity


class Recorded(models.Model):
    """A row whose every change leaves an event.

    `version` counts the events, `audit_head` is the hash of the last one (32 bytes): both move in the same UPDATE as
    what they tell of. `created_by` and `on_behalf_of` are identities: issuer and subject.
    """

    NOUN: ClassVar[str]
    """What the trail calls it: its `subject_type`."""

    FILED_UNDER: ClassVar[str]
    """The column of the agent role that the trail files its events under."""

    TOLD: ClassVar[tuple[str, ...]] = ()
    """The columns beside the status whose change is an event, by their names in the database."""

    INITIAL: ClassVar[tuple[str, ...]] = ("pending",)
    """The states in which a row may begin."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.CharField(max_length=64)
    status: FSMField
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    created_by_issuer = models.CharField(max_length=255)
    created_by_subject = models.CharField(max_length=255)
    on_behalf_of_issuer = models.CharField(max_length=255, null=True)
    on_behalf_of_subject = models.CharField(max_length=255, null=True)
    version = models.IntegerField(default=1)
    audit_head = models.BinaryField()

    # The database's clock at the moment the row was read, where it was read by key or under its lock.
    now: datetime
    # The event by which the row last moved in this process: what another event names as its cause.
    last_event: UUID

    class Meta:
        """Has no table of its own."""

        abstract = True

    @property
    def trail_role(self) -> str:
        """The agent role that the trail files its events under."""
        return str(getattr(self, self.FILED_UNDER))

    @property
    def created_by(self) -> Identity:
        """Who made it."""
        return Identity(self.created_by_issuer, self.created_by_subject)

    @property
    def on_behalf_of(self) -> Identity | None:
        """The person for whom an agent made it."""
        return Identity.if_any(self.on_behalf_of_issuer, self.on_behalf_of_subject)

    def is_of(self, actor: Actor) -> bool:
        """Whether this actor made it. The scope is the subject, not the token."""
        return self.created_by == actor.identity and self.tenant == actor.tenant

    @classmethod
    def steps(cls) -> frozenset[tuple[str | None, str | None]]:
        """Return from which state to which an event may lead. None stands for a row that is not there."""
        table = moves(cls)
        legal: set[tuple[str | None, str | None]] = {(None, state) for state in cls.INITIAL}
        for state, targets in table.items():
            legal |= {(state, target) for target in targets}
            legal.add((state, state) if targets else (state, None))
        return frozenset(legal)

    @property
    def is_terminal(self) -> bool:
        """Whether the state is final."""
        return not moves(type(self))[self.status]

    def allowed_transitions(self) -> tuple[str, ...]:
        """The states it may move to from where it is."""
        return moves(type(self))[self.status]


@cache
def moves(model: type[Recorded]) -> dict[str, tuple[str, ...]]:
    """The table of legal moves, state by state, as django-fsm has it. A terminal state has none."""
    field = cast(type[models.Model], model)._meta.get_field("status")
    assert isinstance(field, FSMField)
    table: dict[str, list[str]] = {str(value): [] for value, _ in field.choices or ()}
    for transition in field.get_all_transitions(model):
        table[str(transition.source)].append(str(transition.target))
    order = list(table)
    return {state: tuple(sorted(targets, key=order.index)) for state, targets in table.items()}
