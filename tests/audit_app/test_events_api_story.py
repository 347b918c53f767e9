"""GET /audit/events, /audit/export and POST /audit/ingest, as those who read and hand in events call them."""

import csv
import io
import json

import pytest

from tests import work
from tests.api import Api, token
from tests.audit_app.seals import wait_until_sealable

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_row_s_history_comes_in_order_and_as_a_file() -> None:
    session = work.move_session(work.open_session(), "active", "completed", reason="=1+1")
    ada, alice = Api(token("ada", "auditor", "")), Api(token("alice"))
    handed = alice.post(
        "/audit/ingest",
        {
            "source": "ledger",
            "category": "payment",
            "action": "booked",
            "content": [1],
            "timestamp": "2026-01-31T09:00:00+01:00",
        },
    )
    assert handed.status_code == 202, handed.content
    told = ada.get(f"/audit/events?subject_type=session&subject_id={session.id}&order=oldest")
    assert told.status_code == 200, told.content
    assert [event["seq"] for event in told.json()["events"]] == [1, 2, 3]
    one = ada.get(f"/audit/events/{told.json()['events'][0]['event_id']}")
    assert one.json() == told.json()["events"][0]
    assert alice.get("/audit/events").status_code == 403
    wait_until_sealable()
    lines = b"".join(ada.get("/audit/export").streaming_content).decode().splitlines()
    assert [json.loads(line)["event_type"] for line in lines][-1] == "external.recorded"
    table = list(csv.DictReader(io.StringIO(b"".join(ada.get("/audit/export?format=csv").streaming_content).decode())))
    assert len(table) == 4
    assert table[1]["reason"] == "'=1+1"
    walked = ada.get("/audit/events?page_size=3&cursor=").json()
    rest = ada.get(f"/audit/events?page_size=3&cursor={walked['next_cursor']}").json()
    assert (len(walked["events"]), len(rest["events"]), rest["next_cursor"]) == (3, 1, None)
