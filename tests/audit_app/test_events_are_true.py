"""An event of a chain tells of a change that was made: one made up is refused at COMMIT."""

from uuid import uuid4

import pytest
from psycopg.errors import IntegrityConstraintViolation

from orchestrator import boundary
from sessions_app.transitions import session as transitions
from tests import work
from tests.database import service_connection

pytestmark = pytest.mark.django_db(transaction=True)


def test_refuses_an_event_for_a_version_that_the_row_has_not_reached() -> None:
    session = work.open_session()
    with service_connection() as forger, pytest.raises(IntegrityConstraintViolation, match="is not at version 2"):
        work.insert(forger, "audit_events", work.written_for(session))
    work.move_session(session, "active")
    work.assert_chain_holds(session)


def test_refuses_the_chain_of_a_row_that_never_was() -> None:
    session = work.open_session()
    session.id = uuid4()
    with service_connection() as forger, pytest.raises(IntegrityConstraintViolation, match="is not at version"):
        work.insert(forger, "audit_events", work.written_for(session))


def test_takes_the_last_event_of_a_row_that_goes() -> None:
    session = work.open_session()
    work.move_session(session, "expired")
    boundary.write(lambda: transitions.delete(session, reason="It is old.", actor=work.actor()))
    assert [event["event_type"] for event in work.chain(session)][-1] == "session.deleted"
