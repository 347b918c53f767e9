"""Somebody is warned where a promotion would lose acknowledged writes. The tests of faults have a real standby."""

import time

import pytest
from django.core.checks import run_checks
from django.db import DatabaseError, connections

from orchestrator import replication

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be reached."""
    place = {**connections["default"].settings_dict, "HOST": "/nowhere"}
    monkeypatch.setitem(connections.settings, "default", place)


def test_a_database_without_standbys_is_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    assert replication.unconfirmed() == 0
    assert replication.standbys_confirm_writes(None) == []
    replication.warn()
    assert caplog.records == []


@pytest.mark.parametrize(("standbys", "said"), [(1, "A standby streams"), (2, "2 standbys stream")])
def test_a_standby_that_confirms_no_write_is_a_warning_with_a_hint(
    standbys: int, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replication, "unconfirmed", lambda: standbys)
    (found,) = replication.standbys_confirm_writes(None)
    assert (found.id, found.is_serious()) == ("orchestrator.W004", False)
    assert found.msg.startswith(said)
    assert "synchronous_standby_names" in str(found.hint)
    replication.warn()
    assert [record.message for record in caplog.records] == ["standbys do not confirm writes"]


def test_a_database_that_is_away_is_said_and_ends_no_process(away: None, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseError):
        replication.unconfirmed()
    replication.warn()
    assert caplog.records == []
    assert replication.standbys_confirm_writes(None) == []
    assert [record.message for record in caplog.records] == ["nobody knows whether standbys confirm writes"]
    assert time.monotonic() - began < 10


def test_only_the_deploy_check_asks_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "unconfirmed", lambda: 1)
    assert "orchestrator.W004" not in {found.id for found in run_checks()}
    assert "orchestrator.W004" in {found.id for found in run_checks(include_deployment_checks=True)}
