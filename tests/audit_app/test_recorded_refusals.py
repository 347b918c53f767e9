"""Refusals that were counted and recorded later are events like any other."""

import pytest
from django.db import connection

from sessions_app import jobs
from tests.api import Api, token
from tests.audit_app.seals import Place, findings, seal
from tests.sessions_app.task_calls import claimed, path, refused

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_recorded_count_is_sealed_and_verifies_clean(place: Place) -> None:
    held = claimed()
    for _ in range(3):
        Api(token("fiona")).post(path(held, "heartbeat"), held.body("heartbeat"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE refusal_counts SET minute = minute - interval '2 minutes'")
    assert jobs.record_refusals() == "2 repeated refusals recorded."
    seal()
    assert len(refused(held.task)) == 2
    assert findings(place) == []
