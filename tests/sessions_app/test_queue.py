"""What a claim reads."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.db.models import QuerySet

from sessions_app import queue
from sessions_app.models import Task
from tests.concurrency import tasks
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)

ROLES = ("finance", "legal", "research")


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
