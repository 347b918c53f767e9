"""`make demo`: a company's fourth quarter, a month of its work, and a purchase, through the running service.

The 120 budget sessions of finance-quarter.json are opened by agents of five roles, taken along every legal path, pushed
along every illegal one, and called by those who may not. Forty more are left to run out of time, which sweeps at once
find. Meanwhile the roles route a month of tasks to each other, and three workers do them, of which one is killed. Last
comes a purchase that two of three managers must agree to, and a payment run that an agent gates without a task; the
trail of the purchase is sealed, verified and printed.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from checks import Check, table
from expiry import let_expire, open_waning
from gate import gate_an_act
from journeys import LEGAL, Journey, travel_all
from lists import check_lists, counts
from month import WORKERS, run_month
from proof import seal_and_verify, show_purchase
from purchase import MANAGERS, Late, ask_for_the_late_one, buy, come_too_late
from refusals import Cast, all_refusals
from service import Caller, CannotGoOn, insist_on_service, issue_token, manage

QUARTER = Path(__file__).with_name("finance-quarter.json")


def main() -> int:
    """Run it, and say how it went: 0 if everything is as expected."""
    base = (os.environ.get("ORCHESTRATOR_URL") or f"http://127.0.0.1:{os.environ.get('PORT') or 8088}").rstrip("/")
    try:
        insist_on_service(base)
        return demonstrate(base, json.loads(QUARTER.read_text(encoding="utf-8")))
    except CannotGoOn as problem:
        print(f"make demo: {problem}", file=sys.stderr)
        return 1


def demonstrate(base: str, quarter: dict[str, Any]) -> int:
    """Take the quarter through the service at that address, and print what happened."""
    plans = quarter["sessions"]
    roles = sorted({plan["agent_role"] for plan in plans})
    print(f"{quarter['company']}, {quarter['quarter']}: {len(plans)} budget sessions of {', '.join(roles)} at {base}\n")
    agents = agents_of(base, roles)
    insist_on_tokens(agents[roles[0]])
    waning = open_waning(agents[roles[0]], roles[0])
    late = ask_for_the_late_one(agents["procurement"])
    journeys = travel_all(agents, plans)
    checks = [check for journey in journeys for check in journey.checks]
    left_open = next((one for one in journeys if one.session.get("status") == "pending"), None)
    if left_open is not None:
        checks += all_refusals(cast(agents, left_open), left_open)
    more, work = "", None
    if waning is not None:
        operator = call_in(base, {"operator": ("--roles", "operator")})["operator"]
        work = run_month(agents, workers_of(base, roles), operator)
        checks += [*work.checks, *let_expire(agents[roles[0]], waning), *check_lists(operator, waning.since)]
        more = f"\nThe sessions of this run, by the lists:\n\n{counts(operator, roles, waning.since)}\n"
        more += f"\n{work.told}" if work.told else ""
    print(table(in_order(checks)) + "\n" + more)
    if work is not None and work.taken_over is not None:
        checks.append(show_task(work.taken_over))
    opened = [journey for journey in journeys if "session_id" in journey.session]
    checks += [show_trail(longest(opened))] if opened else []
    if late is not None:
        checks += make_purchase(agents["procurement"], late)
    return verdict(checks)


def make_purchase(buyer: Caller, late: Late) -> list[Check]:
    """Buy something, come too late for something else, and look at what is remembered."""
    approving = ("--roles", "approver", "--agent-roles", "manager")
    managers = call_in(buyer.base, dict.fromkeys(MANAGERS, approving))
    others = {"procurement-agent": (*approving, "--service-account"), "operator": ("--roles", "operator,approver")}
    asker, operator = call_in(buyer.base, others).values()
    purchase = buy(buyer, managers, {"buyer as approver": asker, "operator": operator})
    gated = list(gate_an_act(buyer, managers, operator))
    lateness = list(come_too_late(late, buyer, managers))
    print("\nA purchase that two of three managers must agree to:\n\n" + table([*purchase.checks, *lateness]))
    print(f"\n{purchase.told}")
    print("\nA payment run that its agent gates, without a task:\n\n" + table(gated))
    checks = [*purchase.checks, *gated, *lateness]
    if not any(check.differs for check in purchase.checks):
        auditor = call_in(buyer.base, {"auditor": ("--roles", "auditor")})["auditor"]
        checks += [*show_purchase(purchase, auditor), *seal_and_verify(purchase, auditor)]
    return checks


def call_in(base: str, people: Mapping[str, tuple[str, ...]]) -> dict[str, Caller]:
    """Callers by name, each with a token that `issue_token` makes with these options."""
    with ThreadPoolExecutor(4) as pool:
        tokens = pool.map(lambda name: issue_token(name, *people[name]), people)
        return {name: Caller(base, token) for name, token in zip(people, tokens, strict=True)}


def agents_of(base: str, roles: list[str]) -> dict[str, Caller]:
    """An agent for each role: a service account."""
    wanted = {f"{role}-agent": ("--agent-roles", role, "--service-account") for role in roles}
    return dict(zip(roles, call_in(base, wanted).values(), strict=True))


def workers_of(base: str, roles: list[str]) -> dict[str, Caller]:
    """Workers, each of which does the work of every role."""
    return call_in(base, {name: ("--agent-roles", ",".join(roles), "--service-account") for name in WORKERS})


def insist_on_tokens(agent: Caller) -> None:
    """Raises CannotGoOn where the service does not know the key that our tokens are signed with."""
    if agent.get("/sessions/00000000-0000-7000-8000-000000000000").status == 401:
        raise CannotGoOn(f"the service at {agent.base} has another data folder. Set ORCHESTRATOR_VAR as for make run.")


def cast(agents: dict[str, Caller], journey: Journey) -> Cast:
    """Who is who for one session: its agent, and those who may look but not move, or not even look."""
    role = journey.session["agent_role"]
    owner = agents[role]
    others = {
        "approver": ("--roles", "approver", "--agent-roles", role),
        "auditor": ("--roles", "auditor"),
        "foreigner": ("--agent-roles", role, "--tenant", "another-company"),
        "guest": ("--roles", "guest", "--agent-roles", role),
    }
    colleague = next(agent for name, agent in agents.items() if name != role)
    return Cast(owner=owner, stranger=Caller(owner.base), colleague=colleague, **call_in(owner.base, others))


def in_order(checks: Iterable[Check]) -> list[Check]:
    """Moves by the states they begin and end with, and after them the rest as it came."""
    states = list(LEGAL)

    def place(check: Check) -> list[int]:
        words = check.path.replace(":", "").split()
        return [states.index(word) for word in words[:3:2] if word in states] or [len(states)]

    return sorted(checks, key=place)


def longest(journeys: list[Journey]) -> Journey:
    """The session with the most to tell."""
    return max(journeys, key=lambda journey: int(journey.session["version"]))


def show_trail(journey: Journey) -> Check:
    """Print the chain of one session, and see that it has an event for each version."""
    session = journey.session
    title = f"{session['metadata']['reference']}, {session['metadata']['title']}"
    return _show("session", session["session_id"], title, session["version"])


def show_task(task: dict[str, Any]) -> Check:
    """The same of a task."""
    return _show("task", task["task_id"], f"the task “{task['description']}”", task["version"])


def _show(noun: str, pk: str, title: str, version: int) -> Check:
    trail = manage("audit_trail", noun, pk).rstrip("\n")
    print(f"\nThe trail of {title}:\n\n{trail}\n")
    told = len(trail.splitlines())
    differs = "" if told == version else f"the trail has {told} events for version {version}"
    return Check("trail", is_refusal=False, differs=differs)


def verdict(checks: list[Check]) -> int:
    """The last sentence."""
    differing = [check.differs for check in checks if check.differs]
    if not differing:
        print(f"All {len(checks)} came out as expected.")
        return 0
    print(f"make demo: {len(differing)} of {len(checks)} came out otherwise, first {differing[0]}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
