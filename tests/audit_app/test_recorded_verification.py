"""manage.py audit_verify --record: what it found shows in /health and /metrics until a run of its kind is clean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit_app import sealing
from tests import work
from tests.api import Api
from tests.audit_app.seals import Place, run, seal
from tests.audit_app.tampering import rewrite, unguarded

pytestmark = pytest.mark.django_db(transaction=True)


def shown() -> tuple[str, list[str], set[str]]:
    """What `/health` says of the trail, and the parts that `/metrics` says are in trouble."""
    told: dict[str, Any] = Api(None).get("/health").json()["audit"]
    (measured,) = (one for one in sealing.measured() if one.name == "orchestrator_audit_sealing_trouble_seconds")
    return told["status"], told["problems"], {one.labels["part"] for one in measured.samples if one.value > 0}


CLEAN: tuple[str, list[str], set[str]] = ("healthy", [], set())


def test_shows_tampering_until_a_run_of_the_same_kind_is_clean(place: Place) -> None:
    session = work.move_session(work.open_session(), "active")
    seal()
    run("audit_verify", "--record")
    assert shown() == CLEAN
    recent = ["--record", "--since", (datetime.now(UTC) - timedelta(hours=2)).isoformat()]
    with unguarded() as beside:
        event = work.chain(session)[1]
        rewrite(beside, event, reason="another")
        for arguments, part in ((["--record"], "verification"), (recent, "recent-verification")):
            with pytest.raises(CommandError, match="TAMPERED"):
                run("audit_verify", *arguments)
            assert part in shown()[2]
        assert shown() == ("degraded", ["trail-tampered"], {"verification", "recent-verification"})
        rewrite(beside, event, reason=event["reason"])
        run("audit_verify", *recent)
        assert shown() == ("degraded", ["trail-tampered"], {"verification"})
        run("audit_verify")
        assert shown() == ("degraded", ["trail-tampered"], {"verification"})
        run("audit_verify", "--record")
        assert shown() == CLEAN


def test_shows_that_something_to_tell_by_is_missing(place: Place) -> None:
    work.open_session()
    seal()
    with pytest.raises(CommandError, match="not to be had"):
        run("audit_verify", "--record", "--anchor", str(place.folder / "nowhere"))
    assert shown() == ("degraded", ["verification-incomplete"], {"verification"})


def test_records_nothing_of_one_subject_alone() -> None:
    session = work.open_session()
    with pytest.raises(CommandError, match="without --subject"):
        run("audit_verify", "--record", "--subject", f"session:{session.pk}")
    assert shown() == CLEAN


def test_the_service_may_not_record(place: Place) -> None:
    work.open_session()
    seal()
    with pytest.raises(CommandError, match="only the worker's role may") as refusal:
        call_command("audit_verify", "--record", "--anchor", str(place.folder / "nowhere"))
    assert refusal.value.returncode == 2
    assert shown() == CLEAN
