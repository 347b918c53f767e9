"""What the service's role may send as SQL, and what the database refuses of it."""

import pytest
from django.db import DatabaseError, connection, transaction

from sessions_app.models import Attempt, Task

HASH = "decode(repeat('ab', 32), 'hex')"


def run(sql: str, task: Task) -> None:
    """One statement about one task, in a transaction of its own."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, [task.pk])
        assert cursor.rowcount == 1


def assert_refused(sql: str, task: Task, why: str) -> None:
    before = list(Attempt.objects.values()), list(Task.objects.values())
    with pytest.raises(DatabaseError, match=why):
        run(sql, task)
    assert (list(Attempt.objects.values()), list(Task.objects.values())) == before
