"""audit_events: no role writes an event with a time further than one minute from the clock of the database."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.errors import CheckViolation

from tests import work
from tests.audit_app.seals import Place, findings
from tests.database import owner_connection, service_connection, superuser_connection, without_trigger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def events_without_a_change(transactional_db: None) -> Iterator[None]:
    with without_trigger("audit_events", "audit_events_are_true"):
        yield


@pytest.mark.parametrize("connect", [service_connection, owner_connection, superuser_connection])
@pytest.mark.parametrize(
    "off", [timedelta(days=-20), timedelta(seconds=-90), timedelta(seconds=90), timedelta(days=20)], ids=str
)
def test_refuses_an_event_of_another_time(connect: Callable[[], Any], off: timedelta) -> None:
    with connect() as forger, pytest.raises(CheckViolation) as refusal:
        work.insert(forger, "audit_events", work.written(timestamp=datetime.now(UTC) + off))
    assert refusal.value.diag.constraint_name == "audit_events_of_now"
    assert work.events() == []


@pytest.mark.parametrize("off", [timedelta(seconds=-45), timedelta(0), timedelta(seconds=45)], ids=str)
def test_takes_an_event_whose_time_is_within_a_minute(place: Place, off: timedelta) -> None:
    with service_connection() as writer:
        work.insert(writer, "audit_events", work.written(timestamp=datetime.now(UTC) + off))
    assert len(work.events()) == 1
    assert findings(place, anchor=False) == []


def test_refuses_another_time_under_the_role_of_a_replica() -> None:
    with superuser_connection() as forger:
        forger.execute("SET session_replication_role = replica")
        with pytest.raises(CheckViolation):
            work.insert(forger, "audit_events", work.written(timestamp=datetime.now(UTC) - timedelta(days=20)))
    assert work.events() == []
