"""Each session from its opening to where the quarter leaves it, with a move that is none at every stop."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from checks import Check, expected, refused
from service import Caller

LEGAL = {
    "pending": ["active", "expired"],
    "active": ["completed", "failed", "expired"],
    "completed": [],
    "failed": [],
    "expired": [],
}
"""The states a session can be in, and where it may go from each."""


@dataclass
class Journey:
    """A session as the service last told it, and what was checked on its way."""

    session: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"/sessions/{self.session['session_id']}"


def travel_all(agents: dict[str, Caller], plans: list[dict[str, Any]]) -> list[Journey]:
    """All sessions, the agents of the roles side by side, each going through its own in order."""
    turns = takes_turns(plans)

    def work(role: str) -> list[Journey]:
        chosen = [(plan, turn) for plan, turn in zip(plans, turns, strict=True) if plan["agent_role"] == role]
        return [travel(agents[role], plan, turn) for plan, turn in chosen]

    roles = sorted({plan["agent_role"] for plan in plans})
    with ThreadPoolExecutor(len(roles)) as pool:
        return list(chain.from_iterable(pool.map(work, roles)))


def takes_turns(plans: list[dict[str, Any]]) -> list[int]:
    """For each session how many before it come to the same end."""
    seen: Counter[str] = Counter()
    turns = []
    for plan in plans:
        end = plan["moves"][-1]["status"] if plan["moves"] else "pending"
        turns.append(seen[end])
        seen[end] += 1
    return turns


def travel(agent: Caller, plan: dict[str, Any], turn: int) -> Journey:
    """Open a session of the plan and take it along. What comes out otherwise than planned ends the journey.

    `turn` says which of the moves that are none it tries at each stop: sessions of the same end take turns.
    """
    journey = Journey()
    for check in _steps(agent, plan, journey, turn):
        journey.checks.append(check)
        if check.differs and not check.is_refusal:
            break
    return journey


def _steps(agent: Caller, plan: dict[str, Any], journey: Journey, turn: int) -> Iterator[Check]:
    yield _open(agent, plan, journey)
    yield _stay(agent, journey, turn)
    for move in plan["moves"]:
        yield _move(agent, journey, move)
        if "revision" in plan and move["status"] == "active":
            yield _revise(agent, journey, plan["revision"])
        yield _stay(agent, journey, turn)
    # Whole and unchanged: not one of the refused moves left a trace.
    yield expected("read again", agent.get(journey.address), 200, **journey.session)


def _open(agent: Caller, plan: dict[str, Any], journey: Journey) -> Check:
    body = {name: plan[name] for name in ("agent_role", "metadata", "ttl_seconds") if name in plan}
    answer = agent.post("/sessions", body)
    journey.session = answer.body
    told = {"agent_role": plan["agent_role"], "metadata": plan["metadata"], "status": "pending", "version": 1}
    return expected("open → pending", answer, 201, **told, allowed_transitions=LEGAL["pending"])


def _move(agent: Caller, journey: Journey, move: dict[str, str]) -> Check:
    before, version = journey.session["status"], journey.session["version"]
    answer = agent.put(journey.address, move, if_match=f'"{version}"')
    journey.session = answer.body
    told = {"status": move["status"], "reason": move["reason"], "version": version + 1}
    path = f"{before} → {move['status']}"
    return expected(path, answer, 200, **told, allowed_transitions=LEGAL[move["status"]])


def _revise(agent: Caller, journey: Journey, revision: dict[str, Any]) -> Check:
    version, metadata = journey.session["version"], {**journey.session["metadata"], **revision}
    answer = agent.put(journey.address, {"metadata": metadata}, if_match=f'"{version}"')
    journey.session = answer.body
    return expected("revise what it carries", answer, 200, status="active", version=version + 1, metadata=metadata)


def _stay(agent: Caller, journey: Journey, turn: int) -> Check:
    """Try a state that cannot be reached from here. Its own is no move, and refused only where it is final."""
    here = journey.session["status"]
    unreachable = [state for state in LEGAL if state not in LEGAL[here]]
    there = unreachable[turn % len(unreachable)]
    answer = agent.put(journey.address, {"status": there})
    if there == here and LEGAL[here]:
        return expected(f"{here} → {there}: nothing to do", answer, 200, **journey.session)
    told = {"from": here, "to": there, "allowed": LEGAL[here]}
    return refused(f"{here} → {there}", answer, 409, "illegal-transition", **told)
