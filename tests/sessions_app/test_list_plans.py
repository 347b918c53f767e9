"""How PostgreSQL goes about the lists and the sweep at a hundred thousand sessions.

Checked of each statement, as the service itself sent it, by EXPLAIN ANALYZE: no table is read as a whole; what is
sorted is a page's worth; what is read to find the page is a small part of the table; and each index that is ours, and
not the seed's, is what one of them goes by. Counting is exempt: an exact total reads what it counts.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from orchestrator.pagination import LARGEST
from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.models import Session
from sessions_app.sweeping import BATCH, sweep
from tests import mere_rows, seeding
from tests.api import Api, token
from tests.database import owner_connection
from tests.emptying import empty
from tests.plans import explained, hours_ago, page_sql, sent

pytestmark = pytest.mark.slow

ROWS = 100_000
SORTED = LARGEST + 2
"""What may be sorted: the largest page, the row that tells of another, and the one that ends a group of equals."""
READ = ROWS // 100
"""What may be read for a page."""

OURS = {
    "sessions_page",
    "sessions_page_role",
    "sessions_page_status",
    "sessions_page_created_by",
    "sessions_metadata",
    "sessions_due",
}


@pytest.fixture(scope="module", autouse=True)
def company(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Seeded once, outside the transaction that each test here is rolled back with."""
    with django_db_blocker.unblock():
        with owner_connection() as owner:
            seeding.company(owner, ROWS)
        yield
        empty()


def unsampled_metadata() -> tuple[int, str]:
    """An invoice, and a cost, as a session in the middle has them.

    The planner believes a document to be common that is among the hundred which it keeps as bounds of its histogram,
    and that is a matter of luck.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT histogram_bounds::text::jsonb[] FROM pg_stats WHERE attname = 'metadata' AND tablename = 'sessions'"
        )
        bounds = {bound["cost"]["centre"] for bound in map(json.loads, cursor.fetchone()[0])}
    middle = Session.objects.filter(tenant=mere_rows.TENANT).order_by("created_at")[ROWS // 2 :]
    found = next(row.metadata for row in middle[:1_000] if row.metadata["cost"]["centre"] not in bounds)
    return found["invoice"], json.dumps(found["cost"])


def _swept() -> tuple[list[str], list[str]]:
    """What expiring a batch sends: what it looks for, and what it changes."""

    def expire() -> None:
        assert sweep(EXPIRE_SESSIONS, limit=BATCH).moved == BATCH

    return sent(expire, "SELECT"), sent(expire, "UPDATE")


@pytest.mark.django_db
def test_every_page_and_the_sweep_go_by_an_index(subtests: pytest.Subtests) -> None:
    operator = Api(token("olga", roles="operator", agent_roles=""))
    small = Api(token("olga", roles="operator", agent_roles="", tenant=mere_rows.SMALL_TENANT))
    agent = Api(token("zoe", agent_roles="finance"))
    rare_agent = Api(token("zoe", agent_roles=seeding.RARE_ROLE))
    rare_person = Api(token(seeding.RARE_PERSON, agent_roles=""))
    task = Session.objects.filter(task__isnull=False).values_list("task", flat=True)[0]
    middle, small_middle = (
        caller.get(f"/sessions?page={number}&page_size=20").json()["next_cursor"]
        for caller, number in ((operator, 2_475), (small, 25))
    )
    invoice, cost = unsampled_metadata()
    rare = f"created_by=local|{seeding.RARE_PERSON}"
    used: set[str] = set()
    for what, caller, query, index in (
        ("no filter", operator, "", None),
        ("the largest page", operator, "page_size=100", None),
        ("no filter, of a small tenant", small, "", "sessions_page"),
        ("the middle", operator, f"cursor={middle}", None),
        ("the middle of a small tenant", small, f"cursor={small_middle}", "sessions_page"),
        ("by number", operator, "page=2", None),
        ("a status", operator, "status=pending", None),
        ("a rare status", operator, f"status={seeding.RARE_STATUS}", "sessions_page_status"),
        ("common statuses", operator, "status=pending,active", None),
        ("rare statuses", operator, f"status={seeding.RARE_STATUS},expired", "sessions_page_status"),
        ("a common role", operator, "agent_role=finance", None),
        ("a role", operator, "agent_role=legal", None),
        ("a rare role", operator, f"agent_role={seeding.RARE_ROLE}", "sessions_page_role"),
        ("a role that nobody has", operator, "agent_role=nobody", "sessions_page_role"),
        ("a task", operator, f"task_id={task}", "idx_sessions_task_id"),
        ("an opener", operator, "created_by=local|agent-3", "sessions_page_created_by"),
        ("a rare opener", operator, rare, "sessions_page_created_by"),
        ("after", operator, f"created_after={hours_ago(20)}", None),
        ("before", operator, f"created_before={hours_ago(20)}", None),
        ("between", operator, f"created_after={hours_ago(11)}&created_before={hours_ago(10)}", None),
        ("before, of a small tenant", small, f"created_before={hours_ago(20)}", "sessions_page"),
        ("rare metadata", operator, f"metadata.invoice={invoice}", "sessions_metadata"),
        ("rare metadata as an object", operator, f"metadata.cost={quote(cost)}", "sessions_metadata"),
        ("metadata that nothing has", operator, "metadata.quarter=Q9", "sessions_metadata"),
        ("common metadata", operator, "metadata.quarter=Q1", None),
        ("common metadata and a role", operator, "metadata.quarter=Q1&agent_role=legal", None),
        ("rare and common", operator, f"{rare}&agent_role=finance&status=pending", "sessions_page_created_by"),
        ("what an agent sees", agent, "", None),
        ("what an agent of a rare role sees", rare_agent, "", "sessions_page_role"),
        ("what one without a role sees", rare_person, "", "sessions_page_created_by"),
        ("rare metadata that an agent sees", agent, f"metadata.invoice={invoice}", "sessions_metadata"),
    ):
        cursor = "" if "cursor=" in query or "page=" in query else "cursor=&"
        plan = explained(page_sql(caller, f"/sessions?{cursor}{query}"))
        used |= plan.indexes
        with subtests.test(what):
            assert not plan.is_whole_scan
            assert plan.sorted <= SORTED
            assert plan.read <= READ
            assert index is None or index in plan.indexes

    # What is still asked about the sessions that expire is looked for too, and what could not be moved before.
    (chosen, _, _), (moved,) = _swept()
    for what, sql in (("what is due", chosen), ("moving what is due", moved)):
        plan = explained(sql)
        used |= plan.indexes
        with subtests.test(what):
            assert not plan.is_whole_scan
            assert plan.sorted == 0
            assert plan.read <= BATCH
    with subtests.test("each index of ours"):
        assert used >= OURS
