"""How PostgreSQL goes about the lists of tasks, claims and the sweep, beside many tasks that wait for their time.

Checked of each statement, as the service itself sent it, by EXPLAIN ANALYZE: no table is read as a whole; what is
sorted and what is read is a small part of it; and each index that is ours, and not the seed's, is what one of them goes
by. Counting for pages is exempt: an exact total reads what it counts.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Role
from orchestrator.pagination import LARGEST
from sessions_app import measuring, queue
from sessions_app.duties import CANCEL_OVERDUE, DEADLINE_DUTIES, FAIL_OVERDUE, LEASE_DUTIES
from sessions_app.models import Task
from sessions_app.models.task import TaskStatus
from sessions_app.sweeping import sweep
from sessions_app.transitions import cut_offs, lease
from tests import mere_rows, seeding, task_seeding, work
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
SWEPT = 50
MINUTE = timedelta(minutes=1)
LOOKED_AT = 1_000 + 2 * queue.NEAR
"""What may be read of a role's queue for a claim: what is there at once, what may begin now, and that in its order."""

ROLES = ("archive", "finance", "legal", "manager", "research")
SCHEDULED, BEGUN = "finance", "manager"
"""The role of which ROWS may not begin yet, before all others of theirs; and the one of which a fifth as many have."""
OURS = {index.name for index in Task._meta.indexes if not index.name.startswith("idx_")}
OURS |= {"tasks_retry_of", "task_attempts_epoch", "task_attempts_lost_deliveries"}


@pytest.fixture(scope="module", autouse=True)
def company(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Seeded once, outside the transaction that each test here is rolled back with."""
    with django_db_blocker.unblock():
        with owner_connection() as owner:
            ids = task_seeding.company(owner, ROWS)
            seeding.of_tasks(owner, ROWS // 5, ids)
            task_seeding.later(owner, ROWS, role=SCHEDULED, begins=timedelta(days=1))
            task_seeding.later(owner, ROWS // 5, role=BEGUN, begins=-timedelta(days=1))
        yield
        empty()


def operator(tenant: str = mere_rows.TENANT) -> Api:
    return Api(token("olga", roles="operator", agent_roles="", tenant=tenant))


def pages() -> dict[str, tuple[str, str | None]]:
    """The statement of each page, and the index that it has to go by where there is but one good one."""
    everyone, small = operator(), operator(mere_rows.SMALL_TENANT)
    agent, rare_agent = (Api(token("zoe", agent_roles=role)) for role in ("finance", task_seeding.RARE_ROLE))
    rare_person = Api(token(task_seeding.RARE_PERSON, agent_roles=""))
    middle, small_middle = (
        caller.get(f"/tasks?page={number}&page_size=20").json()["next_cursor"]
        for caller, number in ((everyone, 2_475), (small, 25))
    )
    trace = Task.objects.filter(tenant=mere_rows.TENANT).exclude(trace_id="").values_list("trace_id", flat=True)[0]
    rare_role, rare = task_seeding.RARE_ROLE, f"created_by=local|{task_seeding.RARE_PERSON}"
    asked = (
        ("no filter", everyone, "", None),
        ("the largest page", everyone, "page_size=100", None),
        ("of a small tenant", small, "", "tasks_page"),
        ("the middle", everyone, f"cursor={middle}", None),
        ("the middle of a small tenant", small, f"cursor={small_middle}", "tasks_page"),
        ("by number", everyone, "page=2", None),
        ("a status", everyone, "status=pending", None),
        ("a rare status", everyone, f"status={task_seeding.RARE_STATUS}", "tasks_page_status"),
        ("common statuses", everyone, "status=completed,failed", None),
        ("a role to do it", everyone, "to_role=legal", None),
        ("a rare role to do it", everyone, f"to_role={rare_role}", "tasks_page_to_role"),
        ("by its other name", everyone, f"target={rare_role}", "tasks_page_to_role"),
        ("a role that asked", everyone, "from_role=research", None),
        ("a rare role that asked", everyone, f"from_role={rare_role}", "tasks_page_from_role"),
        ("a type", everyone, "task_type=approval", None),
        ("a rare type", everyone, f"task_type={task_seeding.RARE_TYPE}", "tasks_page_type"),
        ("a type that nothing has", everyone, "task_type=nothing", "tasks_page_type"),
        ("a trace", everyone, f"trace_id={trace}", "idx_tasks_trace_id"),
        ("a maker", everyone, "created_by=local|agent-3", None),
        ("a rare maker", everyone, rare, "tasks_page_created_by"),
        ("after", everyone, f"created_after={hours_ago(20)}", None),
        ("between", everyone, f"created_after={hours_ago(11)}&created_before={hours_ago(10)}", None),
        ("before, of a small tenant", small, f"created_before={hours_ago(20)}", "tasks_page"),
        ("rare and common", everyone, f"{rare}&to_role=finance&status=completed", "tasks_page_created_by"),
        ("what an agent sees", agent, "", None),
        ("what an agent of a rare role sees", rare_agent, "", "tasks_page_to_role"),
        ("what one without a role sees", rare_person, "", "tasks_page_created_by"),
    )
    return {
        what: (page_sql(caller, f"/tasks?{'' if 'cursor=' in query or 'page=' in query else 'cursor=&'}{query}"), index)
        for what, caller, query, index in asked
    }


def claims() -> dict[str, tuple[str, int, str]]:
    """The locking read of each claim, how many roles it is for, and an index that it has to go by."""
    worker = work.actor("w", agent_roles=frozenset(ROLES))
    anybody = work.actor("olga", roles=frozenset({Role.OPERATOR}))
    asked: tuple[tuple[str, Actor, tuple[str, ...], list[str] | None, str], ...] = (
        ("one role", worker, (SCHEDULED,), None, "tasks_claim"),
        ("one role, by an operator", anybody, (SCHEDULED,), None, "tasks_claim"),
        ("where much has begun", worker, (BEGUN,), None, "tasks_claim_many_begun"),
        ("where little has begun", worker, ("research",), None, "tasks_claim_begun"),
        ("a rare role", worker, (task_seeding.RARE_ROLE,), None, "tasks_claim"),
        ("several roles", worker, ROLES, None, "tasks_claim"),
        ("several roles, by an operator", anybody, ROLES, None, "tasks_claim"),
        ("one role and a type", worker, (SCHEDULED,), ["approval"], "tasks_claim"),
        ("several roles and types", worker, ROLES, ["approval", "notification"], "tasks_claim"),
    )
    found: dict[str, tuple[str, int, str]] = {}
    for what, actor, roles, types, index in asked:
        rows = queue.claimable(actor, roles, types, 10)

        # Before it is whether the caller was cut off; after it, whether the caller decided about any of what was found.
        _, sql, _ = sent(partial(boundary.write, partial(lease.claim, rows, actor=actor, lasting=MINUTE)), "SELECT")
        found[what] = (sql, len(roles), index)
    return found


def duties() -> dict[str, tuple[str, str]]:
    """What each duty of the sweep sends, and the index that it has to go by."""
    found: dict[str, tuple[str, str]] = {}
    for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES):
        due = "tasks_deadline" if duty in (FAIL_OVERDUE, CANCEL_OVERDUE) else "tasks_leased"
        # Where tasks end, what is still asked about them is looked for.
        chosen, moved, ended, *_ = sent(partial(sweep, duty, limit=SWEPT), "SELECT", "UPDATE")
        found |= {
            f"what is due to {duty.job}": (chosen, due),
            f"what moves of {duty.job}": (moved, "tasks_pkey"),
            f"what attempts end of {duty.job}": (ended, "task_attempts_epoch"),
        }
    return found


def single() -> dict[str, tuple[str, str]]:
    """What goes along with one task, and the index that it has to go by."""
    everyone = operator()
    failed = Task.objects.filter(status=TaskStatus.FAILED, tenant=mere_rows.TENANT)
    task = failed.exclude(pk__in=Task.objects.filter(retry_of__isnull=False).values("retry_of"))[0]

    def ask() -> None:
        shown = everyone.get(f"/tasks/{task.pk}?include=sessions,attempts")
        retried = everyone.post(f"/tasks/{task.pk}/retry", {"reason": "again"})
        refused = everyone.send("DELETE", f"/tasks/{task.pk}?reason=It+is+old.")
        assert (shown.status_code, retried.status_code, refused.status_code) == (200, 201, 409)

    statements = sent(ask, "SELECT")
    kinds = (('"sessions"', "idx_sessions_task_id"), ('"task_attempts"', "task_attempts_epoch"))
    of = {
        f"{index}, {n}": (sql, index)
        for table, index in (*kinds, ('"retry_of_id" =', "tasks_retry_of"))
        for n, sql in enumerate(sql for sql in statements if table in sql.partition("FROM")[2])
    }
    assert {index for _, index in of.values()} == {index for _, index in kinds} | {"tasks_retry_of"}
    return of


def cut_off() -> dict[str, tuple[str, str]]:
    """How a cut-off looks for what somebody holds, themselves and by others for them, and an index for each."""
    nobody = Identity("https://issuer.example", "nobody")
    held, *_ = sent(partial(cut_offs.would_undo, mere_rows.TENANT, [nobody]), "SELECT")
    return {index: (held, index) for index in ("tasks_held_by", "tasks_held_for")}


def waits() -> dict[str, str]:
    """How the poller looks for what waiting claims wait for."""
    asked: dict[str, list[tuple[str, str, str | None]]] = {
        "any type": [(mere_rows.TENANT, role, None) for role in ROLES],
        "a type": [(mere_rows.TENANT, "finance", "approval"), (mere_rows.TENANT, "legal", "nothing")],
    }
    found: dict[str, str] = {}
    for what, demands in asked.items():
        (found[what],) = sent(partial(queue.waiting_for, demands), "SELECT")
    return found


@pytest.mark.django_db
def test_every_page_goes_by_an_index(subtests: pytest.Subtests) -> None:
    for what, (sql, index) in pages().items():
        plan = explained(sql)
        with subtests.test(what):
            assert not plan.is_whole_scan
            assert plan.sorted <= SORTED
            assert plan.read <= READ
            assert index is None or index in plan.indexes


@pytest.mark.django_db
def test_a_claim_walks_over_nothing_that_waits_further_back_or_for_its_time(subtests: pytest.Subtests) -> None:
    for what, (sql, roles, index) in claims().items():
        plan = explained(sql)
        with subtests.test(what):
            assert not plan.is_whole_scan
            assert plan.sorted <= LOOKED_AT * roles
            assert plan.read <= LOOKED_AT * roles + queue.NEAR
            assert plan.buffers <= 2 * LOOKED_AT * roles
            assert index in plan.indexes


@pytest.mark.django_db
@pytest.mark.parametrize("types", [None, ["approval"]])
@pytest.mark.parametrize("roles", [(SCHEDULED,), (BEGUN,), ("research",), ROLES])
def test_a_claim_gets_what_comes_first_of_all_that_waits(roles: tuple[str, ...], types: list[str] | None) -> None:
    begun = Q(not_before__isnull=True) | Q(not_before__lte=Now())
    open_still = Q(deadline__isnull=True) | Q(deadline__gt=Now())
    waiting = Task.objects.filter(begun, open_still, status="pending", tenant=mere_rows.TENANT, to_role__in=roles)
    if types is not None:
        waiting = waiting.filter(task_type__in=types)
    claimed = queue.claimable(work.actor("w", agent_roles=frozenset(ROLES)), roles, types, 10)
    assert [task.pk for task in claimed] == [task.pk for task in waiting.order_by("-priority", "created_at", "id")[:10]]


@pytest.mark.django_db
def test_looking_for_those_who_wait_stops_where_there_is_enough(subtests: pytest.Subtests) -> None:
    for what, sql in waits().items():
        plan = explained(sql)
        with subtests.test(what):
            assert not plan.is_whole_scan
            assert plan.sorted <= len(ROLES)
            assert plan.read <= 2 * queue.NEAR * len(ROLES)
            assert {"tasks_claim", "tasks_claim_begun"} <= plan.indexes


@pytest.mark.django_db
def test_the_sweep_reads_what_is_due_and_what_it_moves(subtests: pytest.Subtests) -> None:
    lapsed = Task.objects.filter(status=TaskStatus.ACTIVE, lease_expires_at__lte=Now()).count()
    for what, (sql, index) in duties().items():
        plan = explained(sql)
        with subtests.test(what):
            assert not plan.is_whole_scan
            assert plan.sorted <= SWEPT
            assert plan.read <= lapsed + SWEPT
            assert index in plan.indexes


@pytest.mark.django_db
def test_what_belongs_to_a_task_is_found_by_an_index(subtests: pytest.Subtests) -> None:
    for what, (sql, index) in single().items():
        plan = explained(sql)
        with subtests.test(what):
            assert plan.read <= SORTED
            assert index in plan.indexes


@pytest.mark.django_db
def test_what_a_cut_off_releases_is_found_by_an_index() -> None:
    for sql, index in cut_off().values():
        plan = explained(sql)
        assert not plan.is_whole_scan
        assert plan.read <= SORTED
        assert index in plan.indexes


@pytest.mark.django_db
def test_who_decided_about_a_task_can_be_found_by_an_index() -> None:
    """Of a few decisions PostgreSQL rather reads all; of many it does not."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    for sql, *_ in claims().values():
        plan = explained(sql)
        assert not plan.is_whole_scan
        assert "approval_decisions_of" in plan.indexes


@pytest.mark.django_db
def test_each_index_of_ours_earns_its_place() -> None:
    statements = (sql for kind in (pages, claims, duties, single, cut_off) for sql, *_ in kind().values())
    used = {name for sql in statements for name in explained(sql).indexes}
    assert used >= OURS


@pytest.mark.django_db
def test_how_far_the_sweep_lags_is_the_first_entry_of_an_index_each() -> None:
    """Counted is what is open, and nothing else; `tests/orchestrator/test_measuring.py` says what bounds that."""
    (lags,) = [sql for sql in sent(lambda: list(measuring.work()), "SELECT") if "min(deadline)" in sql]
    plan = explained(lags)
    assert {"tasks_leased", "tasks_deadline"} <= plan.indexes, plan
    assert not [node for node in plan.of("Seq Scan") if node["Relation Name"] == "tasks"], plan
    assert plan.read <= SORTED, plan
