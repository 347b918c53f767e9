"""A dump restored into a new cluster, where transaction ids begin anew: manage.py audit_new_era, and without it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

from audit_app import sealing
from audit_app.models import AuditEvent, AuditSeal
from orchestrator import roles
from orchestrator.embedded import PROGRAMS, Server
from tests import work
from tests.api import Api
from tests.audit_app.seals import Place, findings, report_of, run, seal
from tests.database import address, superuser_connection
from tests.postgres import FAST

pytestmark = pytest.mark.django_db(transaction=True)

AHEAD = 5_000


@contextmanager
def connected_to(where: str, role: str) -> Iterator[None]:
    """Django's connection goes to another database, as a role, while the block runs."""
    known = dict(connection.settings_dict)
    parts = conninfo_to_dict(roles.acting_as(where, role))
    connection.close()
    options = {**known["OPTIONS"], "options": parts["options"]}
    if parts.get("host"):
        options.pop("host", None)
    place = {"NAME": parts["dbname"], "USER": parts.get("user", ""), "HOST": parts.get("host", ""), "OPTIONS": options}
    connection.settings_dict.update({**place, "PORT": parts.get("port", ""), "PASSWORD": parts.get("password", "")})
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(known)


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[str]:
    """The address of a new cluster's database, into which this one's was dumped and restored by the usual programs."""
    with superuser_connection() as beside:
        beside.execute(f"DO $$ BEGIN FOR n IN 1..{AHEAD} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    work.move_session(work.open_session(), "active", "completed")
    seal()
    # It waits for its seal, and comes along.
    work.move_session(work.open_session(), "active")
    var = Path(f"/tmp/orchestrator-restored-{os.getpid()}")
    shutil.rmtree(var, ignore_errors=True)
    server = Server.within(var)
    server.start(FAST)
    try:
        with psycopg.connect(server.address("postgres"), autocommit=True) as there:
            roles.make_roles(there)
            roles.make_database(there, "restored")
        _copy(server.address("restored"), tmp_path / "dump")
        yield server.address("restored")
    finally:
        server.stop()
        shutil.rmtree(var, ignore_errors=True)


def _copy(to: str, file: Path) -> None:
    dump, restore = ["-Fc", "-f", str(file), address()], ["-d", to, str(file)]
    for program, arguments in (("pg_dump", dump), ("pg_restore", restore)):
        subprocess.run([str(PROGRAMS / program), *arguments], check=True, capture_output=True, text=True)


def sealed() -> int:
    return sum(one.size for one in AuditSeal.objects.all())


def new_era(where: str) -> str:
    with connected_to(where, roles.OWNER):
        return run("audit_new_era")


def test_goes_on_after_a_restore_and_verifies_clean(restored: str, place: Place) -> None:
    assert new_era(restored) == "Era 2 has begun."
    with connected_to(restored, roles.SERVICE):
        assert AuditEvent.objects.count() == 5
        work.move_session(work.open_session(), "active")
        old, new = (AuditEvent.objects.filter(era=era).order_by("-xid").first() for era in (1, 2))
        assert old is not None
        assert new is not None
        assert new.xid < old.xid
        assert len(seal()) in (1, 2)
        assert sealed() == AuditEvent.objects.count() == 7
        assert findings(place) == []
        assert sealing.lag_seconds() == 0


def test_without_an_era_sealing_refuses_and_verification_names_the_seal(restored: str, place: Place) -> None:
    with connected_to(restored, roles.SERVICE):
        assert findings(place) == []
        work.move_session(work.open_session(), "active")
        with pytest.raises(CommandError, match=r"this cluster has yet to come to.*manage\.py audit_new_era"):
            run("audit_seal")
        assert AuditSeal.objects.count() == 1
        assert findings(place) == [("seal-events", "seal", 1)]
        # Whoever watches the lag sees that nothing is sealed any more.
        first = sealing.lag_seconds()
        assert first > 0
        assert sealing.lag_seconds() > first
        assert Api(None).get("/health").json()["audit"]["seal_lag_seconds"] > 0
    # It is not too late: what was written since comes to stand in the new era.
    assert new_era(restored) == "Era 2 has begun."
    with connected_to(restored, roles.SERVICE):
        assert findings(place) == []
        work.open_session()
        seal()
        assert sealed() == AuditEvent.objects.count() == 8
        assert sorted(AuditEvent.objects.values_list("era", flat=True)) == [1] * 5 + [2] * 3
        assert findings(place) == []


def test_an_era_begun_twice_is_one_more(restored: str, place: Place) -> None:
    assert (new_era(restored), new_era(restored)) == ("Era 2 has begun.", "Era 3 has begun.")
    with connected_to(restored, roles.SERVICE):
        work.open_session()
        seal()
        assert findings(place) == []
        assert set(AuditEvent.objects.values_list("era", flat=True)) == {1, 3}


# Without another cluster.


def test_the_service_may_not_begin_an_era() -> None:
    with pytest.raises(CommandError, match=r"^Only the owner of the tables begins an era"):
        run("audit_new_era")
    work.open_session()
    assert AuditEvent.objects.get().era == 1


@pytest.fixture
def era_of_one() -> Iterator[None]:
    """As it was."""
    yield
    with superuser_connection() as beside:
        beside.execute("ALTER TABLE audit_events ALTER COLUMN era SET DEFAULT 1")


@pytest.mark.usefixtures("era_of_one")
def test_what_was_written_before_an_era_keeps_its_own_and_the_guards_are_as_before(place: Place) -> None:
    work.open_session()
    seal()
    work.open_session()
    assert new_era(address()) == "Era 2 has begun."
    work.open_session()
    assert sorted(AuditEvent.objects.values_list("era", flat=True)) == [1, 1, 2]
    guards = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'audit_events_append_only'"
    with superuser_connection() as beside:
        assert beside.execute(guards).fetchall() == [("A",)]
    seal()
    assert sealed() == 3
    assert findings(place) == []
    assert report_of("--keys", str(place.keys))["waiting"] == 0
