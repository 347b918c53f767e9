"""Person: the user model."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models

from orchestrator.actors import Role

LOCAL_ISSUER = "local"

TOLD = ("roles", "agent_roles", "is_active", "is_staff", "is_superuser", "alias_of_id")
"""The columns that the events of a person tell of: no change of one without an event."""


class PersonManager(UserManager["Person"]):
    """Makes people. Those made here, by `createsuperuser`, are of the issuer `local`."""

    def create_user(
        self, username: str, email: str | None = None, password: str | None = None, **extra_fields: Any
    ) -> "Person":
        """Somebody of the issuer `local` who may do nothing yet."""
        extra_fields.setdefault("subject", username)
        return super().create_user(username, email, password, **extra_fields)

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra_fields: Any
    ) -> "Person":
        """An operator of the tenant `default` who may use the admin."""
        extra_fields.setdefault("subject", username)
        extra_fields.setdefault("roles", [Role.OPERATOR])
        return super().create_superuser(username, email, password, **extra_fields)


class Person(AbstractUser):
    """A person who logged in or was cut off, known by tenant, issuer and subject; never by e-mail or user name.

    One identity has one row in each tenant, so that an operator of one tenant cannot cut it off in another.
    """

    # Read by Django and by the break-glass login only. For people of an identity provider it is a digest.
    username = models.CharField(max_length=520, unique=True)
    issuer = models.CharField(max_length=255, default=LOCAL_ISSUER)
    subject = models.CharField(max_length=255)
    tenant = models.CharField(max_length=64, default="default")
    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list, blank=True)
    agent_roles = ArrayField(models.CharField(max_length=50), default=list, blank=True)

    # The row that represents all linked identities of one person. That row is of the same tenant and has no alias_of.
    alias_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="aliases"
    )

    # The chain of events: the subject id in the trail, how many events, and the hash of the last one. A row without a
    # chain has version 0; a maintenance job begins its chain.
    trail_id = models.UUIDField(null=True, editable=False)
    version = models.IntegerField(default=0, db_default=0, editable=False)
    audit_head = models.BinaryField(null=True)

    TOLD: ClassVar[tuple[str, ...]] = TOLD

    objects: ClassVar[PersonManager] = PersonManager()

    class Meta:
        """One row for each identity in each tenant."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "issuer", "subject"], name="people_person_identity"),
            models.UniqueConstraint(fields=["trail_id"], name="people_person_trail_id"),
            models.CheckConstraint(
                name="people_person_not_alias_of_itself", condition=~models.Q(alias_of=models.F("id"))
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=models.Q(version=0), name="people_person_unrecorded"),
        ]
        verbose_name_plural = "people"
