"""The guards on moves, origins and deletions in the database: the same as the models have, for every writer."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from psycopg.errors import IntegrityConstraintViolation, RestrictViolation

from sessions_app.models import Approval, Session, Task
from sessions_app.models.recorded import moves
from sessions_app.transitions.approvals.separation_of_duties import REASONS
from tests import work
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    agree,
    ask,
    ask_at_creation,
    ask_for_action,
    now,
    question,
    task_of,
)
from tests.sessions_app.approval_sql import Beside, move, refused

pytestmark = pytest.mark.django_db(transaction=True)


def definition(function: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [function])
        return str(cursor.fetchone()[0])


def test_the_database_and_the_models_have_the_same_moves() -> None:
    there = set(re.findall(r"\('(\w+)', '(\w+)', '(\w+)'\)", definition("work_moves_are_legal")))
    models: tuple[Any, ...] = (Session, Task, Approval)
    here = {
        (model._meta.db_table, before, after)
        for model in models
        for before, targets in moves(model).items()
        for after in targets
    }
    assert there == here


def test_each_reason_of_the_database_has_a_sentence() -> None:
    there = set(re.findall(r"RETURN '([a-z-]+)'", definition("work_barred")))
    assert there - {"unknown"} == set(REASONS)


def test_no_task_gets_past_its_requests_by_way_of_another_state(beside: Beside) -> None:
    task, _ = ask_at_creation(question())
    with beside.transaction():
        move(beside, task, status="failed")
    with refused(beside, IntegrityConstraintViolation, "no move leads from failed to pending"):
        move(beside, Task.objects.get(pk=task.pk), status="pending")


def test_no_request_is_deleted_while_its_subject_is_there(beside: Beside) -> None:
    for approval in (ask(), ask_for_action()):
        with refused(beside, RestrictViolation, "deleted with its task or session only"):
            beside.execute("DELETE FROM approvals WHERE id = %s", [approval.pk])
            work.insert(
                beside, "audit_events", work.written_for(approval, event_type="approval.deleted", to_status=None)
            )


def test_nobody_changes_who_created_a_task_or_when_a_grant_began(beside: Beside) -> None:
    task, grant = task_states.pending(), agree(ask(task_states.active(), action=ACTION))
    with refused(beside, RestrictViolation, "its origin does not change"):
        move(beside, task, created_by_subject="alan")
    with refused(beside, RestrictViolation, "its origin does not change"):
        move(beside, now(grant), decision_at=datetime.now(UTC))
    assert task_of(grant).status == "active"
