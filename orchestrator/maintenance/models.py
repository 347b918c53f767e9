"""Records of maintenance jobs, which every process of the service can read."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class MaintenanceJob(models.Model):
    """One job: when it last ran, when it last succeeded, and why it last failed."""

    name = models.CharField(primary_key=True, max_length=64)
    last_started_at = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)
    last_error_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="", db_default="")
    failures = models.IntegerField(default=0, db_default=0)

    class Meta:
        """By the name of the duty, not of the app."""

        db_table = "maintenance_jobs"


class PoisonRow(models.Model):
    """A row that a job could not move. The job leaves it alone until `retry_at`."""

    pk = models.CompositePrimaryKey("job", "row_id")
    job = models.CharField(max_length=64)
    row_id = models.UUIDField()
    failures = models.IntegerField()
    first_failed_at = models.DateTimeField(db_default=Now())
    retry_at = models.DateTimeField()
    error = models.TextField()

    class Meta:
        """Few rows, looked up by the primary key alone."""

        db_table = "maintenance_poison_rows"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(failures__gte=1), name="maintenance_poison_rows_failures")
        ]
