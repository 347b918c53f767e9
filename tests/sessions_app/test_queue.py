"""What a claim reads."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.db.models import QuerySet

from sessions_app import queue
from sessions_app.models import Task
from tests.api import Api, token
from tests.concurrency import tasks
from tests.database import owner_connection
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)

ROLES = ("finance", "legal", "research")


def test_a_claim_looks_past_all_that_others_are_just_taking() -> None:
    routed = tasks.many_routed(queue.NEAR + 15)
    free = {
        str(task.pk) for task in sorted(routed, key=lambda task: (-task.priority, task.created_at))[queue.NEAR + 5 :]
    }
    with owner_connection() as others, others.transaction():
        taking = "SELECT id FROM tasks ORDER BY priority DESC, created_at, id LIMIT %s FOR NO KEY UPDATE"
        others.execute(taking, [queue.NEAR + 5])
        claimed = Api(token("finn")).post("/tasks/claim", {"max": 10}).json()["tasks"]
    assert {task["task_id"] for task in claimed} == free


def pages_read(rows: QuerySet[Task]) -> int:
    """How many pages of the database a locking read of these rows looks at."""
    with transaction.atomic():
        locking = rows.select_for_update(no_key=True, skip_locked=True, of=("self",))
        plan: Any = json.loads(locking.explain(format="json", analyze=True, buffers=True))
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("roles", [ROLES[:1], ROLES])
def test_a_claim_walks_the_queue_once_even_where_statistics_know_nothing_of_it(roles: tuple[str, ...]) -> None:
    # So many tasks at once are news to the planner, who believes in one.
    tasks.many_routed(1_000, to_roles=ROLES)
    assert pages_read(queue.claimable(somebody(agent_roles=roles), roles, None, 10)) < 4_000
