"""Looking at the quarter as lists: filters, pages and cursors."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from checks import Check, expected
from service import Answer, Caller

STATES = ("pending", "active", "completed", "failed", "expired")


def ask(caller: Caller, **filters: object) -> Answer:
    """One page of sessions."""
    return caller.get("/sessions?" + urlencode(filters))


def walk(caller: Caller, **filters: object) -> list[dict[str, Any]]:
    """Every session that passes the filters, by cursor, newest first."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask(caller, **filters, cursor=cursor, page_size=50).body
        found += page["sessions"]
        cursor = page["next_cursor"]
    return found


def counts(caller: Caller, roles: Iterable[str], since: str) -> str:
    """A table of how many sessions each role has in each state, by the totals of its lists."""
    lines = [f"{'role':<14}" + "".join(f"{state:>11}" for state in STATES)]
    for role in roles:
        totals = [
            ask(caller, agent_role=role, status=state, created_after=since, page_size=1).body["total"]
            for state in STATES
        ]
        lines.append(f"{role:<14}" + "".join(f"{total:>11}" for total in totals))
    return "\n".join(lines)


def check_lists(caller: Caller, since: str) -> list[Check]:
    """Pages and cursor tell the same, no session twice; a filter finds what it says; what is no filter is refused."""
    by_cursor = walk(caller, created_after=since)
    total = ask(caller, created_after=since, page_size=1).body["total"]
    quarter = walk(caller, created_after=since, **{"metadata.currency": "EUR"})
    unknown = ask(caller, colour="blue")
    judged = {
        "list: by page and by cursor": len(by_cursor) == total == len({one["session_id"] for one in by_cursor}),
        "list: by metadata": all(one["metadata"]["currency"] == "EUR" for one in quarter),
        "list: newest first": by_cursor == sorted(by_cursor, key=lambda one: str(one["created_at"]), reverse=True),
    }
    told = [Check(path, False, "" if right else f"{path} is not so") for path, right in judged.items()]
    return [*told, Check("list: no such filter", True, expected("list: no such filter", unknown, 400).differs)]
