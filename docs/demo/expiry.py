"""Sessions whose time runs out, and sweeps that find them at once: two of ours, and that of `make run`."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from checks import Check, expected
from service import Caller, manage

COUNT = 40
SHORTEST_SECONDS = 60


@dataclass(frozen=True)
class Waning:
    """Sessions opened for the shortest time there is, since when, and when that will have passed."""

    ids: list[str]
    since: str
    over_at: float


def open_waning(agent: Caller, role: str) -> Waning | None:
    """Open them; None where the service opens none, which the journeys will tell of."""
    metadata = {"title": "A question that nobody answers in time"}
    body = {"agent_role": role, "metadata": metadata, "ttl_seconds": SHORTEST_SECONDS}
    opened = [agent.post("/sessions", body) for _ in range(COUNT)]
    if any(answer.status != 201 for answer in opened):
        return None
    ids = [str(answer.body["session_id"]) for answer in opened]
    return Waning(ids, str(opened[0].body["created_at"]), time.monotonic() + SHORTEST_SECONDS + 1)


def let_expire(agent: Caller, waning: Waning) -> list[Check]:
    """Wait for their time, sweep twice at once, and see each of them expired exactly once.

    What the two find is what the service's own sweep left them.
    """
    left = waning.over_at - time.monotonic()
    if left > 0:
        print(f"Waiting {left:.0f} seconds for {COUNT} sessions to run out of time.", flush=True)
        time.sleep(left)
    late = agent.put(f"/sessions/{waning.ids[0]}", {"status": "active"})
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: manage("sweep").splitlines()[0], range(2)))
    print("Two sweeps at once, beside that of make run: " + " ".join(said))
    each = [
        expected("expired by a sweep, once", agent.get(f"/sessions/{pk}"), 200, status="expired", version=2)
        for pk in waning.ids
    ]
    refused = "" if late.slug == "session-expired" else f"a move past its time answered {late.status} {late.slug}"
    return [Check("past its time: move", True, refused), *each]
