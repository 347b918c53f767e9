"""What the API's document says of refusals: a schema and an example of each kind, from the classes themselves."""

import inspect
from collections.abc import Iterable, Mapping

from django.http import HttpRequest

from orchestrator.catalogue import catalogue
from orchestrator.openapi_headers import ALWAYS, Schema, told
from orchestrator.problem_responses import CONTENT_TYPE, document
from orchestrator.problems import (
    AnswerTooLarge,
    BodyTooLarge,
    DatabaseStale,
    InFlight,
    InsufficientUserAuthentication,
    InvalidRequest,
    PreconditionFailed,
    Problem,
    QuotaExceeded,
    ServiceUnavailable,
    TooManyRequests,
)
from orchestrator.work_problems import (
    AlreadyRejected,
    AlreadyRequested,
    AlreadyRetried,
    ApprovalExpired,
    IllegalTransition,
    NoApprover,
    Retained,
    SessionExpired,
    SeveralPendingApprovals,
    StillDecidable,
    StillReferenced,
    TooManyOpenApprovals,
    TooManyOpenSessions,
)

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_MOVE: Schema = {"from": _TEXT, "to": {"type": ["string", "null"]}, "allowed": _TEXTS}
_ID: Schema = {"type": "string", "format": "uuid"}
_WAIT: Schema = {"retry_after": {"type": "integer", "minimum": 0, "description": "In seconds."}}
_ERROR: Schema = {
    "type": "object",
    "properties": {"field": _TEXT, "message": _TEXT},
    "required": ["field", "message"],
}

MEMBERS: Mapping[type[Problem], Schema] = {
    InvalidRequest: {"errors": {"type": "array", "items": _ERROR, "minItems": 1}},
    InsufficientUserAuthentication: {
        "acr_values": _TEXTS,
        "max_age": {"type": ["integer", "null"], "minimum": 1, "description": "In seconds."},
    },
    IllegalTransition: _MOVE,
    SessionExpired: _MOVE,
    StillReferenced: {"by": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}},
    SeveralPendingApprovals: {"approval_ids": {"type": "array", "items": _ID, "minItems": 2}},
    ApprovalExpired: _MOVE,
    AlreadyRequested: {"approval_id": _ID},
    AlreadyRejected: {"approval_id": _ID, "rejected": {"$ref": "#/components/schemas/EarlierOut"}},
    TooManyOpenApprovals: {"limit": {"type": "integer", "minimum": 1}},
    TooManyOpenSessions: {"limit": {"type": "integer", "minimum": 1}},
    NoApprover: {"known": {"type": "integer", "minimum": 0}, "needed": {"type": "integer", "minimum": 1}},
    Retained: {"retained_until": {"type": "string", "format": "date-time"}},
    AlreadyRetried: {"retry_id": _ID},
    PreconditionFailed: {"current_version": {"type": "integer", "minimum": 1}},
    BodyTooLarge: {"limit": {"type": "integer", "minimum": 1}},
    AnswerTooLarge: {"limit": {"type": "integer", "minimum": 1}},
    InFlight: _WAIT,
    TooManyRequests: _WAIT,
    QuotaExceeded: {"quota": _TEXT, "limit": {"type": "integer", "minimum": 1}, **_WAIT},
    ServiceUnavailable: _WAIT,
    DatabaseStale: _WAIT,
}
"""The members that a kind has beyond those of every refusal. It has them always."""

SAMPLES: tuple[Problem, ...] = (
    InvalidRequest([("agent_role", "This field is required.")]),
    InsufficientUserAuthentication(
        "Your login must be at most 300 seconds old. Log in again.", acr_values=["mfa"], max_age=300
    ),
    IllegalTransition(before="completed", to=None, allowed=()),
    SessionExpired(
        "It expired at 2026-01-31T09:00:00+00:00.",
        members={"from": "active", "to": "completed", "allowed": ["expired"]},
    ),
    StillReferenced({"sessions": 2}),
    SeveralPendingApprovals(
        ["01a2071a-738b-748c-830f-c9446d69c2bb", "01a2071b-0c5e-7d3a-9c1b-5a9e3f7d2c11"],
    ),
    ApprovalExpired(
        "Its time passed at 2026-01-31T09:00:00.000000Z.",
        members={"from": "pending", "to": "approved", "allowed": ["expired"]},
    ),
    AlreadyRequested("01a2071c-5b1e-7e0a-8f6d-0c1d2e3f4a5b"),
    AlreadyRejected(
        {
            "approval_id": "01a2071c-5b1e-7e0a-8f6d-0c1d2e3f4a5b",
            "outcome": "rejected",
            "approver_role": "manager",
            "deciders": ["local|mona"],
            "comments": "Not in this year's budget.",
            "at": "2026-01-31T09:00:00.000000Z",
        }
    ),
    TooManyOpenApprovals(20),
    TooManyOpenSessions(100),
    NoApprover("manager", 1, 2),
    StillDecidable("manager"),
    Retained("2027-03-07T09:00:00.000000Z"),
    AlreadyRetried("01a2071a-738b-748c-830f-c9446d69c2bb"),
    PreconditionFailed(current_version=2),
    BodyTooLarge(limit=1024 * 1024),
    AnswerTooLarge(4 * 1024 * 1024, "Ask for a smaller page_size."),
    TooManyRequests(retry_after=2, headers={"RateLimit": "", "RateLimit-Policy": ""}),
    QuotaExceeded("pending-tasks", 100_000, 5),
    ServiceUnavailable("The database cannot be reached, or is too busy."),
)
"""Examples of the kinds that say more than their title. The others are their own example."""

PROBLEM: Schema = {
    "type": "object",
    "description": "Every refusal (RFC 9457). Tell the kinds apart by `type`, which is the path of a page about it.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string", "description": "What the kind is called."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was wrong this time."},
        "instance": {"type": "string", "description": "The path that was asked."},
        "request_id": {"type": "string", "description": "As in `X-Request-Id`: the log knows it by this."},
    },
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
}


def refusals(*kinds: type[Problem]) -> dict[str, list[str]]:
    """How an operation declares what it may refuse beyond what every operation does: `extensions=refusals(…)`."""
    return {"x-problems": [kind.slug for kind in kinds]}


def name(kind: type[Problem]) -> str:
    """What the component of a kind is called."""
    return f"{kind.__name__}Problem"


def components() -> dict[str, dict[str, Schema]]:
    """The parts of the document that all operations share: each kind's schema, an example, and an answer of its own."""
    kinds = list(catalogue())
    return {
        "schemas": {"Problem": PROBLEM, **{name(kind): _schema(kind) for kind in kinds}},
        "examples": {kind.slug: {"summary": kind.title, "value": _example(kind)} for kind in kinds},
        "responses": {name(kind): _response([kind]) for kind in kinds},
    }


def responses(kinds: Iterable[type[Problem]]) -> dict[str, Schema]:
    """The answers by which an operation refuses in these ways, by status."""
    by_status: dict[str, list[type[Problem]]] = {}
    for kind in kinds:
        by_status.setdefault(str(kind.status), []).append(kind)
    return {
        status: {"$ref": f"#/components/responses/{name(alike[0])}"} if len(alike) == 1 else _response(alike)
        for status, alike in by_status.items()
    }


def sample(kind: type[Problem]) -> Problem:
    """One of this kind."""
    return next((one for one in SAMPLES if type(one) is kind), None) or kind()


def _schema(kind: type[Problem]) -> Schema:
    # All in one object: generators of clients cannot merge a type with a value of it, and would drop the kind.
    members = MEMBERS.get(kind, {})
    own = {
        "type": {**PROBLEM["properties"]["type"], "const": f"/problems/{kind.slug}"},
        "status": {"type": "integer", "const": kind.status},
    }
    return {
        "type": "object",
        "description": inspect.getdoc(kind),
        "properties": {**PROBLEM["properties"], **own, **members},
        "required": [*PROBLEM["required"], *members],
    }


def _example(kind: type[Problem]) -> Schema:
    request = HttpRequest()
    request.path = "/sessions"
    return {**document(sample(kind), request), "request_id": "5f0d7c1be9b34a7c9d3a4f6c2b1e8a07"}


def _response(alike: list[type[Problem]]) -> Schema:
    content = {
        "schema": _either(alike),
        "examples": {kind.slug: {"$ref": f"#/components/examples/{kind.slug}"} for kind in alike},
    }
    headers = [set(sample(kind).headers) for kind in alike]
    shared = set.intersection(*headers)
    return {
        "description": "\n".join(f"- [`{kind.slug}`](/problems/{kind.slug}): {kind.title}." for kind in alike),
        "headers": {
            **told(*ALWAYS, *sorted(shared)),
            **told(*sorted(set.union(*headers) - shared), always=False),
        },
        "content": {CONTENT_TYPE: content},
    }


def _either(alike: list[type[Problem]]) -> Schema:
    places = {f"/problems/{kind.slug}": f"#/components/schemas/{name(kind)}" for kind in alike}
    references: list[Schema] = [{"$ref": place} for place in places.values()]
    if len(references) == 1:
        return references[0]
    return {"oneOf": references, "discriminator": {"propertyName": "type", "mapping": places}}
