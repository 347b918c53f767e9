"""Tasks: how many are claimed a second, and what claiming, doing, routing and reading one costs beside a million."""

from functools import partial
from itertools import count

from benchmarks.bench import SMALL
from benchmarks.measured import claims
from benchmarks.measured.calls import Caller, PlainDjango
from benchmarks.measured.claims import ALIKE, AT_A_TIME, ROLE, TRACE, claim, worker
from benchmarks.measured.databases import LARGE, owner, use
from benchmarks.measured.rounds import ROUNDS, Figure, Variant, at_most, in_turn, multiples
from benchmarks.measured.single import PLAIN
from orchestrator import boundary
from sessions_app.transitions import lease
from tests import task_seeding

CALLS = 20
DONE = {SMALL: 1_000, LARGE: 1_000_000}
ROUTED = {"target": ROLE, "task": {"task_type": "routing", "description": "Close the quarter", "data": {"n": 1}}}
OUTPUT = {"result": "closed"}


class Holder:
    """Claims ten, and completes them one by one."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._worker = worker()
        self._held: list[lease.Grant] = []

    def ready(self) -> None:
        """To claim."""
        use(self._database)

    def claim(self) -> None:
        """Ten."""
        self._held = claim(self._worker)
        assert len(self._held) == AT_A_TIME

    def ready_with_ten(self) -> None:
        """To complete."""
        self.ready()
        self.claim()

    def complete(self) -> None:
        """All ten, each in a transaction of its own."""
        for held in self._held:
            boundary.write(partial(lease.complete, held.task, token=held.token, output=OUTPUT, actor=self._worker))


class Calls:
    """What an agent asks of the service."""

    def __init__(self) -> None:
        self._agent, self._keys = Caller(), count()
        self._id, self._token = "", ""

    def route(self) -> None:
        """A new task, with the key that it takes."""
        self._agent.call("POST", "/tasks/route", ROUTED, status=202, key=f"route-{next(self._keys)}")

    def claim(self) -> None:
        """One."""
        (task,) = self._agent.call("POST", "/tasks/claim", {})["tasks"]
        self._id, self._token = task["task_id"], task["lease"]["token"]

    def ready_to_claim(self) -> None:
        """There is one."""
        self.route()

    def ready_to_complete(self) -> None:
        """It is held."""
        self.route()
        self.claim()

    def read(self) -> None:
        """The last one."""
        self._agent.call("GET", f"/tasks/{self._id}")

    def heartbeat(self) -> None:
        """For the last one."""
        self._agent.call("POST", f"/tasks/{self._id}/heartbeat", {"lease_token": self._token})

    def complete(self) -> None:
        """The last one."""
        self._agent.call("POST", f"/tasks/{self._id}/complete", {"lease_token": self._token, "output": OUTPUT})


def measure() -> list[Figure]:
    """Everything about tasks."""
    for database, done in DONE.items():
        with owner(database) as filler:
            task_seeding.done(filler, done)
    return [*claims.figures(), *_transitions(), *_calls()]


def _transitions() -> list[Figure]:
    """What the database and the one writer take for a task, without a call round them."""
    variants: dict[str, Variant] = {}
    for database, beside in ((SMALL, "a thousand done"), (LARGE, "a million done")):
        with owner(database) as filler:
            task_seeding.waiting(filler, 2 * ROUNDS * CALLS * AT_A_TIME, role=ROLE, trace=TRACE)
        holder = Holder(database)
        variants[f"claiming ten, beside {beside}"] = Variant(holder.claim, holder.ready)
        variants[f"completing ten, beside {beside}"] = Variant(holder.complete, holder.ready_with_ten)
    costs = in_turn(variants, CALLS)
    for database in (SMALL, LARGE):
        with owner(database) as filler:
            task_seeding.forget(filler, TRACE)
    claimed, completed, claimed_of_many, completed_of_many = (cost.wall for cost in costs.values())
    few, many = claimed + completed, claimed_of_many + completed_of_many
    return [
        *(Figure(what, f"{cost.wall * 1000:.2f} ms, {cost.cpu * 1e6:,.0f} µs of CPU") for what, cost in costs.items()),
        Figure("claiming and completing, by the task, beside a million done", f"{many / AT_A_TIME * 1000:.2f} ms"),
        at_most("… against a thousand done", many / few, ALIKE),
    ]


def _calls() -> list[Figure]:
    """Through all of the service, beside a million done."""
    use(LARGE)
    calls = Calls()
    calls.ready_to_complete()
    costs = in_turn(
        {
            PLAIN: Variant(PlainDjango().call),
            "routing a task, with a key": Variant(calls.route),
            "claiming one": Variant(calls.claim, calls.ready_to_claim),
            "reading one": Variant(calls.read),
            "a heartbeat": Variant(calls.heartbeat, calls.ready_to_complete),
            "completing one": Variant(calls.complete, calls.ready_to_complete),
        },
        CALLS,
    )
    return multiples(costs, of=PLAIN)
