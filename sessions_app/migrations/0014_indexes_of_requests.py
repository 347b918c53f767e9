"""Build the indexes of requests, decisions and leases while the version before serves.

Each statement is a transaction of its own. The migration may be run again after it was interrupted: an unfinished index
is dropped first.
"""

from typing import ClassVar

from django.db import migrations, models

PENDING = models.Q(status="pending")
ACTIVE = models.Q(status="active")

INDEXES = (
    (
        "approval",
        models.Index(
            fields=["session", "-created_at", "-id"],
            condition=models.Q(session__isnull=False),
            name="approvals_session",
        ),
        "approvals (session_id, created_at DESC, id DESC) WHERE session_id IS NOT NULL",
    ),
    (
        "approval",
        models.Index(fields=["action_digest"], condition=models.Q(task__isnull=True), name="approvals_action_asked"),
        "approvals (action_digest) WHERE task_id IS NULL",
    ),
    (
        "approval",
        models.Index(fields=["created_by_subject", "created_by_issuer"], condition=PENDING, name="approvals_open_by"),
        "approvals (created_by_subject, created_by_issuer) WHERE status = 'pending'",
    ),
    (
        "approval",
        models.Index(
            fields=["on_behalf_of_subject", "on_behalf_of_issuer"],
            condition=models.Q(status="pending", on_behalf_of_subject__isnull=False),
            name="approvals_open_for",
        ),
        (
            "approvals (on_behalf_of_subject, on_behalf_of_issuer)"
            " WHERE on_behalf_of_subject IS NOT NULL AND status = 'pending'"
        ),
    ),
    (
        "decision",
        models.Index(fields=["approval", "decided_at"], name="approval_decisions_of"),
        "approval_decisions (approval_id, decided_at)",
    ),
    (
        "decision",
        models.Index(fields=["decider_subject", "decider_issuer"], name="approval_decisions_by"),
        "approval_decisions (decider_subject, decider_issuer)",
    ),
    (
        "task",
        models.Index(fields=["lease_subject", "lease_issuer"], condition=ACTIVE, name="tasks_held_by"),
        "tasks (lease_subject, lease_issuer) WHERE status = 'active'",
    ),
    (
        "task",
        models.Index(
            fields=["lease_for_subject", "lease_for_issuer"],
            condition=models.Q(status="active", lease_for_subject__isnull=False),
            name="tasks_held_for",
        ),
        "tasks (lease_for_subject, lease_for_issuer) WHERE lease_for_subject IS NOT NULL AND status = 'active'",
    ),
)

COUNTED_ONCE = models.UniqueConstraint(
    fields=["approval", "decider_issuer", "decider_subject"],
    condition=models.Q(set_aside_at__isnull=True),
    name="approval_decisions_counted_once",
)
COUNTED_ONCE_SQL = "approval_decisions (approval_id, decider_issuer, decider_subject) WHERE set_aside_at IS NULL"


def _built(state: object, name: str, on: str, unique: str = "") -> migrations.SeparateDatabaseAndState:
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name};"
    build = f"CREATE {unique}INDEX CONCURRENTLY IF NOT EXISTS {name} ON {on};"
    return migrations.SeparateDatabaseAndState(
        database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (drop, build)],
        state_operations=[state],
    )


class Migration(migrations.Migration):
    """Indexes only."""

    atomic = False
    dependencies: ClassVar = [("sessions_app", "0013_requests_about_an_action")]
    operations: ClassVar = [
        *(_built(migrations.AddIndex(model, index), index.name, on) for model, index, on in INDEXES),
        _built(
            migrations.AddConstraint("decision", COUNTED_ONCE), COUNTED_ONCE.name, COUNTED_ONCE_SQL, unique="UNIQUE "
        ),
    ]
