"""Person: the user model."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models

from orchestrator.actors import Role

LOCAL_ISSUER = "local"


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
    """Somebody who logged in or was cut off, known by issuer and subject; never by e-mail or user name."""

    username = models.CharField(max_length=520, unique=True)
    issuer = models.CharField(max_length=255, default=LOCAL_ISSUER)
    subject = models.CharField(max_length=255)
    tenant = models.CharField(max_length=64, default="default")
    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list, blank=True)
    agent_roles = ArrayField(models.CharField(max_length=50), default=list, blank=True)

    objects: ClassVar[PersonManager] = PersonManager()

    class Meta:
        """One row for each issuer and subject."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="people_person_issuer_subject"),
        ]
        verbose_name_plural = "people"
