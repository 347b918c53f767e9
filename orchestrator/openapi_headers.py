"""What the API's document says of headers."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from orchestrator.unknown_members import LENIENT

Schema = dict[str, Any]

_VERSIONS = r'^(\*|"[0-9]+"( *, *"[0-9]+")*)$'
# RFC 6750, section 3, and RFC 9470, section 3.
_CHALLENGE = (
    r'^Bearer (realm="orchestrator"(, error="invalid_token")?'
    r'|error="insufficient_user_authentication"(, [a-z_]+="[^"]+")+)$'
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": _VERSIONS},
    OpenApiParameter.HEADER,
    description='The versions that the row may be at, such as `"3"`; `*` is any. At another it is a 412.',
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    {"type": "string", "pattern": _VERSIONS},
    OpenApiParameter.HEADER,
    description='The versions that the caller has, such as `"3"`. At one of them the answer is a 304.',
)


def etag(*statuses: int, required: bool = True) -> OpenApiParameter:
    """The header by which an answer tells a row's version."""
    return OpenApiParameter(
        "ETag",
        {"type": "string", "pattern": '^"[0-9]+"$'},
        OpenApiParameter.HEADER,
        required=required,
        description="The row's version, for `If-Match` and `If-None-Match`.",
        response=list(statuses),
    )


def location(*statuses: int) -> OpenApiParameter:
    """The header by which an answer tells where what it made is found."""
    return OpenApiParameter(
        "Location",
        {"type": "string", "format": "uri-reference"},
        OpenApiParameter.HEADER,
        required=True,
        description="The path of what was made.",
        response=list(statuses),
    )


def retry_after(*statuses: int) -> OpenApiParameter:
    """The header by which an answer tells that nobody could wait."""
    return OpenApiParameter(
        "Retry-After",
        {"type": "integer", "minimum": 0},
        OpenApiParameter.HEADER,
        description="After how many seconds to ask again, where too many waited already.",
        response=list(statuses),
    )


TAKEN: dict[str, Schema] = {
    name: {"name": name, "in": "header", "description": told, "schema": {"type": "string"}}
    for name, told in {
        "X-Request-Id": "Names the request in the answer, the log and the event: 8 to 64 letters, digits, dots, hyphens"
        " and underscores. What is of another form is replaced.",
        "X-Trace-Id": "Names what the request is a part of: 1 to 128 visible ASCII characters. What is of another form"
        " is replaced.",
        "traceparent": "W3C Trace Context. Its trace id is taken where there is no `X-Trace-Id`.",
    }.items()
}
"""The headers that every operation takes, as components."""

KEY: dict[str, Schema] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1 to 255 visible ASCII characters without a comma, bare or quoted. However often the same"
        " request is sent with a key, it has one effect and one answer; another request with that key is refused.",
        "schema": {"type": "string", "pattern": "^[!-+.-~-]{1,257}$"},
    }
}
"""What every operation takes that writes, unless its answers are never remembered."""

NEEDED_KEY: dict[str, Schema] = {"Needed-Idempotency-Key": {**KEY["Idempotency-Key"], "required": True}}
"""What an operation takes that cannot do without."""

PREFER: dict[str, Schema] = {
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": f"`{LENIENT}` (RFC 7240): unknown members of the body are ignored instead of refused, unless the"
        " body has `requires_approval`. Other preferences are ignored.",
        "schema": {"type": "string"},
    }
}
"""What every operation takes that has a body, unless the body is part of a guard."""

TOLD: dict[str, Schema] = {
    "X-Request-Id": {
        "description": "The request's name: as it was sent, or minted.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
    },
    "X-Trace-Id": {
        "description": "The trace: as it was sent, or minted.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "traceresponse": {
        "description": "This service's span in the trace, as `traceparent` writes one. Only where the trace's id is of"
        " the form that W3C Trace Context gives it.",
        "required": False,
        "schema": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$"},
    },
    "WWW-Authenticate": {
        "description": "How to say who is calling, and after which login.",
        "required": True,
        "schema": {"type": "string", "pattern": _CHALLENGE},
    },
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer that an earlier request with the same key got.",
        "required": False,
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": f"`{LENIENT}` where the caller preferred it, and unknown members of the body were ignored.",
        "required": False,
        "schema": {"type": "string", "const": LENIENT},
    },
    "RateLimit": {
        "description": "How many calls are left and, in seconds, for how long. Only where calls are limited.",
        "required": False,
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "How many calls there may be in how many seconds. Only where calls are limited.",
        "required": False,
        "schema": {"type": "string"},
    },
}
"""The headers that answers tell by, as components."""

ALWAYS = ("X-Request-Id", "X-Trace-Id", "traceresponse")
"""Those that every answer may have."""


def told(*names: str, always: bool = True) -> dict[str, Schema]:
    """How an answer declares its headers; `always` is as the component has it."""
    if always:
        return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {name: {**TOLD[name], "required": False} for name in names}
