"""One session: what reading, opening and moving it costs, and what multiple of a plain Django view that is."""

from benchmarks.measured.calls import Caller, PlainDjango
from benchmarks.measured.databases import LARGE, use
from benchmarks.measured.rounds import ROUNDS, Figure, Variant, in_turn, multiples

CALLS = 60
NEW = {"agent_role": "finance", "metadata": {"quarter": "Q4"}}
ACTIVE = {"status": "active"}
PLAIN = "a plain Django view, without a middleware"


def measure() -> list[Figure]:
    """Everything about one session."""
    use(LARGE)
    agent = Caller()
    # Each is moved once; the first is left, to be read.
    waiting = [agent.call("POST", "/sessions", NEW, status=201)["session_id"] for _ in range(ROUNDS * CALLS + 1)]
    costs = in_turn(
        {
            PLAIN: Variant(PlainDjango().call),
            "reading one": Variant(lambda: agent.call("GET", f"/sessions/{waiting[0]}")),
            "opening one": Variant(lambda: agent.call("POST", "/sessions", NEW, status=201)),
            "moving one": Variant(lambda: agent.call("PUT", f"/sessions/{waiting.pop()}", ACTIVE)),
        },
        CALLS,
    )
    return multiples(costs, of=PLAIN)
