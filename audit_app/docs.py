"""What the API's document says of /audit."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view

from audit_app.filters import SUBJECTS
from audit_app.serializers import EventOut, EventPage, IngestBody, IngestedOut
from audit_app.trail import Action
from orchestrator.openapi_examples import JSON, answered, sent
from orchestrator.openapi_parameters import id_of, pages, query
from orchestrator.pagination import USUAL
from orchestrator.problem_schemas import refusals
from orchestrator.problems import AnswerTooLarge, InvalidRequest, NotFound

_EVENT = {
    "event_id": "01a2071d-0f3c-7a44-9d3e-2b1c0d9e8f7a",
    "event_type": "task.completed",
    "subject_type": "task",
    "subject_id": "01a2071a-738b-748c-830f-c9446d69c2bb",
    "seq": 3,
    "from": "active",
    "to": "completed",
    "actor": "local|finn",
    "actor_kind": "person",
    "on_behalf_of": None,
    "role": "finance",
    "via": "api",
    "reason": "",
    "changes": {"output": {"unpaid": 3}},
    "cause": None,
    "request_id": "f4701466759a4a9cab9bc0c033b8eca1",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "ip": "192.0.2.7",
    "timestamp": "2026-11-24T09:01:00.000000Z",
    "prev_hash": "0f" * 32,
    "hash": "a5" * 32,
}
_NUMBERED = {"events": [_EVENT], "total": 1, "page": 1, "page_size": USUAL, "next_cursor": None}
_WALKED = {"events": [_EVENT], "page_size": USUAL, "next_cursor": None}

FILTERS = [
    query("subject_type", {"type": "string", "enum": list(SUBJECTS)}, "What kind of row it is about."),
    query("subject_id", OpenApiTypes.UUID, "The row that it is about."),
    query(
        "event_type",
        {"type": "array", "items": {"type": "string", "enum": [str(action) for action in Action]}, "minItems": 1},
        "One or more, with commas between them.",
        explode=False,
        style="form",
    ),
    query("actor", {"type": "string", "pattern": r"^.+\|[^|]+$"}, "Who did it: `<issuer>|<subject>`."),
    query("trace_id", OpenApiTypes.STR, "The trace that it belongs to."),
    query("request_id", OpenApiTypes.STR, "The request that did it."),
    query("after", OpenApiTypes.DATETIME, "At this moment or later."),
    query("before", OpenApiTypes.DATETIME, "Before this moment."),
]
_ORDER = query("order", {"type": "string", "enum": ["newest", "oldest"], "default": "newest"}, "Which end comes first.")
_READERS = "For auditors and operators."

documented_events = extend_schema_view(
    list=extend_schema(
        operation_id="list_events",
        tags=["audit"],
        summary="List events",
        description=f"{_READERS} With `subject_type`, `subject_id` and `order=oldest` it is a row's history, in order.",
        parameters=[*FILTERS, _ORDER, *pages("event")],
        responses={
            200: OpenApiResponse(
                EventPage,
                "A page.",
                [answered("numbered", _NUMBERED, "By number"), answered("walked", _WALKED, "By cursor")],
            )
        },
        extensions=refusals(InvalidRequest, AnswerTooLarge),
    ),
    retrieve=extend_schema(
        operation_id="get_event",
        tags=["audit"],
        summary="Read an event",
        description=_READERS,
        parameters=[id_of("event")],
        responses={200: OpenApiResponse(EventOut, "The event.", [answered("event", _EVENT, "An event")])},
        extensions=refusals(InvalidRequest, NotFound),
    ),
)
documented_export = extend_schema_view(
    list=extend_schema(
        operation_id="export_events",
        tags=["audit"],
        summary="Export events",
        description=f"{_READERS} The oldest first, as a stream: a body that ends early was cut off. In CSV, what a"
        " spreadsheet would take for a formula has a quote in front.",
        parameters=[
            *FILTERS,
            query(
                "format",
                {"type": "string", "enum": ["ndjson", "csv"], "default": "ndjson"},
                "A line of JSON for each event, or of comma-separated values under a line of names.",
            ),
        ],
        responses={
            (200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.STR, "The events."),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The events."),
        },
        extensions=refusals(InvalidRequest),
    ),
)
documented_ingest = extend_schema_view(
    create=extend_schema(
        operation_id="ingest_event",
        tags=["audit"],
        summary="Hand in an event of another system",
        description="For agents and operators. It is kept outside every chain, as `external.recorded`, and sealed along"
        " with the rest. What is longer than 1 KiB is kept as its SHA-256 and length.",
        request={JSON: IngestBody},
        responses={
            202: OpenApiResponse(
                IngestedOut, "It is kept.", [answered("kept", {"event_id": _EVENT["event_id"]}, "Kept")]
            )
        },
        examples=[
            sent(
                "payment",
                {
                    "source": "ledger",
                    "category": "payment",
                    "action": "payment.booked",
                    "subject": "invoice 4711",
                    "metadata": {"amount": 48000, "currency": "EUR"},
                },
                "A payment that was booked",
            )
        ],
        extensions=refusals(InvalidRequest),
    ),
)
"""Decorate the view sets."""
