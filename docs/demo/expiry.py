"""Sessions whose time runs out, and two sweeps that find them at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from checks import Check, expected
from service import Caller, manage

COUNT = 40
SHORTEST_SECONDS = 60


@dataclass(frozen=True)
class Waning:
    """Sessions opened for the shortest time there is, and when that will have passed."""

    ids: list[str]
    over_at: float


def open_waning(agent: Caller, role: str) -> Waning:
    """Open them."""
    body = {"agent_role": role, "metadata": {"title": "A question that nobody answers in time"}, "ttl_seconds": 60}
    ids = [str(agent.post("/sessions", body).body["session_id"]) for _ in range(COUNT)]
    return Waning(ids, time.monotonic() + SHORTEST_SECONDS + 1)


def let_expire(agent: Caller, waning: Waning) -> list[Check]:
    """Wait for their time, sweep twice at once, and see each of them expired exactly once."""
    left = waning.over_at - time.monotonic()
    if left > 0:
        print(f"Waiting {left:.0f} seconds for {COUNT} sessions to run out of time.", flush=True)
        time.sleep(left)
    late = agent.put(f"/sessions/{waning.ids[0]}", {"status": "active"})
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: manage("sweep").splitlines()[0], range(2)))
    print("Two sweeps at once: " + " ".join(said))
    swept = sum(int(sentence.split()[0]) for sentence in said)
    each = [
        expected("expired by a sweep, once", agent.get(f"/sessions/{pk}"), 200, status="expired", version=2)
        for pk in waning.ids
    ]
    differs = "" if swept >= COUNT else f"the sweeps tell of {swept} sessions, there were {COUNT}"
    refused = "" if late.slug == "session-expired" else f"a move past its time answered {late.status} {late.slug}"
    return [Check("two sweeps at once", False, differs), Check("past its time: move", True, refused), *each]
