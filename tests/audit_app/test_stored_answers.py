"""audit_verify looks at the stored answers to keyed requests too: one that the service did not write is named."""

from typing import Any

import pytest
from django.core.management import CommandError

from tests.api import Api
from tests.audit_app.seals import Place, report_of, run
from tests.database import superuser_connection
from tests.orchestrator.idempotency.keyed import KEY, NEW, key_for, let_expire

pytestmark = pytest.mark.django_db(transaction=True)

FORGERIES = {
    "a body": "body = 'forged'",
    "an end that never comes": "expires_at = 'infinity'",
    "no code": "mac = NULL",
    "headers": "headers = '[[], {\"a\": 1e9999}]'",
}


@pytest.fixture
def answered(agent: Api) -> None:
    """One answer that is stored, and one event of its effect."""
    assert agent.post("/sessions", NEW, idempotency_key=KEY).status_code == 201


def forge(assignment: str) -> None:
    with superuser_connection() as beside:
        beside.execute(f"UPDATE idempotency_records SET {assignment}")


def found(place: Place) -> list[dict[str, Any]]:
    return [one for one in report_of("--keys", str(place.keys))["findings"] if one["kind"] == "stored-answer"]


@pytest.mark.parametrize("assignment", FORGERIES.values(), ids=list(FORGERIES))
def test_finds_a_forged_answer(place: Place, answered: None, assignment: str) -> None:
    assert found(place) == []
    forge(assignment)
    assert [one["key"] for one in found(place)] == [key_for().k.hex()]
    with pytest.raises(CommandError, match=f"TAMPERED. First: stored answer {key_for().k.hex()}: it was not written"):
        run("audit_verify", "--keys", str(place.keys))


def test_an_answer_whose_time_is_over_is_not_looked_at(place: Place, answered: None) -> None:
    """It is never replayed, and the purge takes it away."""
    forge("body = 'forged'")
    let_expire()
    assert found(place) == []


def test_with_one_subject_alone_answers_are_not_looked_at(place: Place, agent: Api) -> None:
    session = agent.post("/sessions", NEW, idempotency_key=KEY).json()["session_id"]
    forge("body = 'forged'")
    assert report_of("--keys", str(place.keys), "--subject", f"session:{session}")["findings"] == []
