"""How a request and its trace are named: taken or minted, answered, and kept in the trail."""

import re
from typing import Any

import pytest

from audit_app.models import AuditEvent
from tests.api import Api

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{PARENT}-00f067aa0ba902b7-01"
MINTED = re.compile(r"[0-9a-f]{32}")

REQUEST_IDS_TAKEN = ["12345678", "a" * 64, "Req_1.2-3", "........"]
REQUEST_IDS_REFUSED = {
    "none": None,
    "empty": "",
    "too short": "1234567",
    "too long": "a" * 65,
    "a space": "1234 5678",
    "a line break": "12345678\nSet-Cookie: a=b",
    "a line break at the end": "12345678\n",
    "two, joined": "12345678,87654321",
    "markup": "<script>alert(1)</script>",
    "not ASCII": "1234567é",
    "digits of another script": "١٢٣٤٥٦٧٨",
}
TRACES_TAKEN = {
    "X-Trace-Id": ({"X_Trace_Id": "run-7:step/3"}, "run-7:step/3"),
    "one of a single character": ({"X_Trace_Id": "!"}, "!"),
    "one of 128 characters": ({"X_Trace_Id": "~" * 128}, "~" * 128),
    "traceparent": ({"traceparent": TRACEPARENT}, PARENT),
    "a later version of traceparent": ({"traceparent": f"cc-{PARENT}-00f067aa0ba902b7-01-more"}, PARENT),
    "both: X-Trace-Id comes first": ({"X_Trace_Id": "mine", "traceparent": TRACEPARENT}, "mine"),
    "an unusable X-Trace-Id beside a traceparent": ({"X_Trace_Id": "a b", "traceparent": TRACEPARENT}, PARENT),
}
TRACES_REFUSED = {
    "none": {},
    "an empty X-Trace-Id": {"X_Trace_Id": ""},
    "an X-Trace-Id of 129 characters": {"X_Trace_Id": "a" * 129},
    "an X-Trace-Id with a line break": {"X_Trace_Id": "a\n"},
    "an X-Trace-Id with a NUL": {"X_Trace_Id": "a\x00b"},
    "an X-Trace-Id that is not ASCII": {"X_Trace_Id": "aé"},
    "a traceparent of zeros": {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
    "a traceparent with a parent of zeros": {"traceparent": f"00-{PARENT}-{'0' * 16}-01"},
    "a traceparent of the version that is forbidden": {"traceparent": f"ff-{PARENT}-00f067aa0ba902b7-01"},
    "a traceparent in capitals": {"traceparent": TRACEPARENT.upper()},
    "a traceparent that is cut short": {"traceparent": TRACEPARENT[:-3]},
    # W3C Trace Context, section 3.2.2: version 00 has four parts and no more.
    "a traceparent of version 00 with a fifth part": {"traceparent": f"{TRACEPARENT}-more"},
    "a traceparent of a later version that runs on": {"traceparent": f"cc-{PARENT}-00f067aa0ba902b7-01x"},
}


def event_of(answer: Any) -> AuditEvent:
    """The event that an answer's session began with."""
    return AuditEvent.objects.get(subject_id=answer.json()["session_id"], seq=1)


def named(headers: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value is not None}


@pytest.mark.parametrize("given", REQUEST_IDS_TAKEN)
def test_a_well_formed_request_id_is_taken_and_answered(given: str) -> None:
    answer = Api(None).get("/status", X_Request_Id=given)
    assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", REQUEST_IDS_REFUSED.values(), ids=REQUEST_IDS_REFUSED)
def test_any_other_request_id_is_replaced_by_a_new_one(given: str | None) -> None:
    answers = [Api(None).get("/status", **named({"X_Request_Id": given})) for _ in range(2)]
    minted = [answer.headers["X-Request-Id"] for answer in answers]
    assert all(MINTED.fullmatch(each) for each in minted)
    assert minted[0] != minted[1]


@pytest.mark.parametrize("path", ["/status", "/problems", "/sessions/1", "/nowhere"])
def test_every_answer_names_its_request(path: str) -> None:
    answer = Api(None).get(path, X_Request_Id="my-request")
    assert answer.headers["X-Request-Id"] == "my-request"
    if answer.status_code >= 400:
        assert answer.json()["request_id"] == "my-request"


ANOTHER = "0af7651916cd43dd8448eb211c80319c"
SPAN = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


@pytest.mark.parametrize("path", ["/status", "/problems", "/sessions/1", "/nowhere", "/admin/"])
def test_every_answer_names_its_trace_and_our_span_in_it(path: str) -> None:
    answers = [Api(None).get(path, traceparent=TRACEPARENT) for _ in range(2)]
    assert [answer.headers["X-Trace-Id"] for answer in answers] == [PARENT, PARENT]
    spans = [SPAN.fullmatch(answer.headers["traceresponse"]) for answer in answers]
    assert [span and (span[1], span[3]) for span in spans] == [(PARENT, "01")] * 2
    assert len({span and span[2] for span in spans} | {TRACEPARENT.split("-")[2]}) == 3


@pytest.mark.parametrize(
    ("headers", "trace_id", "sampled"),
    [
        ({}, MINTED.pattern, "00"),
        ({"X_Trace_Id": ANOTHER}, ANOTHER, "00"),
        ({"X_Trace_Id": ANOTHER, "traceparent": TRACEPARENT}, ANOTHER, "00"),
        ({"X_Trace_Id": PARENT, "traceparent": TRACEPARENT}, PARENT, "01"),
        ({"traceparent": f"{TRACEPARENT[:-2]}00"}, PARENT, "00"),
        # Only the lowest bit is known, and a bit that is not is not sent on (section 3.2.2.5).
        ({"traceparent": f"{TRACEPARENT[:-2]}ff"}, PARENT, "01"),
        ({"traceparent": f"{TRACEPARENT[:-2]}fe"}, PARENT, "00"),
        ({"traceparent": f"cc-{PARENT}-00f067aa0ba902b7-01-more"}, PARENT, "01"),
    ],
)
def test_a_trace_goes_on_as_the_caller_has_it(headers: dict[str, str], trace_id: str, sampled: str) -> None:
    answer = Api(None).get("/status", **headers)
    assert re.fullmatch(trace_id, answer.headers["X-Trace-Id"])
    span = SPAN.fullmatch(answer.headers["traceresponse"])
    assert span
    assert (span[1], span[3]) == (answer.headers["X-Trace-Id"], sampled)


@pytest.mark.parametrize("given", ["run-7:step/3", "4BF92F3577B34DA6A3CE929D0E0E4736", "0" * 32])
def test_a_trace_of_another_form_is_told_and_has_no_span_of_w3cs(given: str) -> None:
    answer = Api(None).get("/status", X_Trace_Id=given)
    assert answer.headers["X-Trace-Id"] == given
    assert "traceresponse" not in answer.headers


@pytest.mark.django_db(transaction=True)
def test_the_trail_keeps_the_request_id(agent: Api) -> None:
    taken = agent.post("/sessions", {"agent_role": "finance"}, X_Request_Id="my-request")
    assert taken.headers["X-Request-Id"] == event_of(taken).request_id == "my-request"
    minted = agent.post("/sessions", {"agent_role": "finance"}, X_Request_Id="no")
    assert minted.headers["X-Request-Id"] == event_of(minted).request_id
    assert MINTED.fullmatch(event_of(minted).request_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("headers", "trace_id"), TRACES_TAKEN.values(), ids=TRACES_TAKEN)
def test_the_trail_keeps_the_trace_that_the_caller_names(agent: Api, headers: dict[str, str], trace_id: str) -> None:
    event = event_of(agent.post("/sessions", {"agent_role": "finance"}, **headers))
    assert event.trace_id == trace_id
    assert f'"trace_id":"{trace_id}"' in event.body


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("headers", TRACES_REFUSED.values(), ids=TRACES_REFUSED)
def test_a_trace_is_begun_where_none_is_named_properly(agent: Api, headers: dict[str, str]) -> None:
    events = [event_of(agent.post("/sessions", {"agent_role": "finance"}, **headers)) for _ in range(2)]
    assert all(MINTED.fullmatch(event.trace_id) for event in events)
    assert len({*(event.trace_id for event in events), PARENT}) == 3


@pytest.mark.django_db(transaction=True)
def test_request_and_trace_are_named_apart(agent: Api) -> None:
    event = event_of(agent.post("/sessions", {"agent_role": "finance"}))
    assert event.request_id != event.trace_id
