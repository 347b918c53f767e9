"""What must be refused whatever the state: strangers, other roles and tenants, stale versions, bad bodies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checks import Check, expected, refused
from journeys import Journey
from service import Answer, Caller

_MOVE = {"status": "active"}
_NOWHERE = "/sessions/00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Cast:
    """Who calls beside the owner of the session, who is an agent of its role."""

    owner: Caller
    stranger: Caller
    guest: Caller
    colleague: Caller
    approver: Caller
    auditor: Caller
    foreigner: Caller


def all_refusals(cast: Cast, journey: Journey) -> Iterator[Check]:
    """Everything that must not move this session, which is pending. Last of all it is read again."""
    yield from _callers(cast, journey.address, journey.session["agent_role"])
    yield from _versions(cast.owner, journey.address, journey.session["version"])
    yield from _fields(cast.owner, journey.session["agent_role"])
    yield from _bytes(cast.owner)
    yield from _addresses(cast.owner, journey.address)
    yield expected("read again", cast.owner.get(journey.address), 200, **journey.session)


def _callers(cast: Cast, address: str, role: str) -> Iterator[Check]:
    garbled = Caller(cast.owner.base, cast.owner.token[:-4] + "AAAA")
    body = {"agent_role": role}
    yield refused("no token", cast.stranger.put(address, _MOVE), 401, "unauthenticated")
    yield refused("a token with another signature", garbled.put(address, _MOVE), 401, "unauthenticated")
    yield refused("a token without a known role", cast.guest.put(address, _MOVE), 403, "forbidden")
    yield refused("another role opens one of this role", cast.colleague.post("/sessions", body), 403, "forbidden")
    yield refused("another role reads it", cast.colleague.get(address), 404, "not-found")
    yield refused("another role moves it", cast.colleague.put(address, _MOVE), 404, "not-found")
    yield refused("another tenant reads it", cast.foreigner.get(address), 404, "not-found")
    yield refused("another tenant moves it", cast.foreigner.put(address, _MOVE), 404, "not-found")
    yield expected("an approver of the role reads it", cast.approver.get(address), 200)
    yield refused("an approver of the role moves it", cast.approver.put(address, _MOVE), 403, "forbidden")
    yield expected("an auditor reads it", cast.auditor.get(address), 200)
    yield refused("an auditor moves it", cast.auditor.put(address, _MOVE), 403, "forbidden")


def _versions(owner: Caller, address: str, version: int) -> Iterator[Check]:
    stale = owner.put(address, _MOVE, if_match=f'"{version + 1}"')
    yield refused("If-Match with another version", stale, 412, "precondition-failed", current_version=version)
    both = owner.put(address, {"status": "completed"}, if_match=f'"{version + 1}"')
    yield refused("the same with an illegal move", both, 412, "precondition-failed", current_version=version)
    malformed = owner.put(address, _MOVE, if_match=str(version))
    yield refused("If-Match without quotes", malformed, 400, "invalid-request")
    yield expected("If-None-Match with this version", owner.get(address, if_none_match=f'"{version}"'), 304)


def _fields(owner: Caller, role: str) -> Iterator[Check]:
    wrong: dict[str, Any] = {
        "a body without agent_role": {"metadata": {}},
        "a body that is a list": [role],
        "a role of 51 characters": {"agent_role": "f" * 51},
        "a role that is a number": {"agent_role": 4100},
        "metadata that is a list": {"agent_role": role, "metadata": []},
        "metadata above 64 KiB": {"agent_role": role, "metadata": {"notes": "x" * 65536}},
        "a number given as text": {"agent_role": role, "ttl_seconds": "3600"},
        "a time below a minute": {"agent_role": role, "ttl_seconds": 59},
        "a task that there is not": {"agent_role": role, "task_id": _NOWHERE[-36:]},
    }
    for path, body in wrong.items():
        yield refused(path, owner.post("/sessions", body), 400, "invalid-request")


def _bytes(owner: Caller) -> Iterator[Check]:
    wrong = {
        "a body that is no JSON": b"agent_role=finance",
        "a key given twice": b'{"agent_role": "finance", "agent_role": "hr"}',
        "a NUL character": rb'{"agent_role": "fin\u0000ance"}',
        "half of a surrogate pair": rb'{"agent_role": "\ud83d"}',
        "a whole number beyond 2^53": b'{"agent_role": "finance", "metadata": {"amount": 90071992547409930}}',
        "NaN": b'{"agent_role": "finance", "metadata": {"amount": NaN}}',
        "100,000 levels": b'{"agent_role": "finance", "metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "bytes that are not UTF-8": b'{"agent_role": "f\xfcr"}',
    }
    for path, body in wrong.items():
        yield refused(path, owner.send("POST", "/sessions", body, {}), 400, "invalid-json")
    for kind in ("text/plain", "application/json; charset=utf-7"):
        answer = owner.send("POST", "/sessions", b'{"agent_role": "finance"}', {"Content-Type": kind})
        yield refused(f"a body of {kind}", answer, 415, "unsupported-media-type")
    # Announced is enough: it is refused before it is read.
    yield refused("a body of 1 MiB and one byte", _announced(owner, 1024 * 1024 + 1), 413, "body-too-large")


def _announced(owner: Caller, length: int) -> Answer:
    return owner.send("POST", "/sessions", b"{", {"Content-Length": str(length)})


def _addresses(owner: Caller, address: str) -> Iterator[Check]:
    yield refused("a state that is none", owner.put(address, {"status": "done"}), 400, "invalid-request")
    yield refused("an id that is no UUID", owner.get("/sessions/first"), 400, "invalid-request")
    yield refused("a query parameter that is not known", owner.get(f"{address}?fields=all"), 400, "invalid-request")
    yield refused("a session that there is not", owner.get(_NOWHERE), 404, "not-found")
    yield refused("a path that there is not", owner.get("/budgets"), 404, "not-found")
    yield refused("a method that there is not", owner.post(address, {}), 405, "method-not-allowed")
