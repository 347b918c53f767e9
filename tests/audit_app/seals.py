"""Sealing and verifying as people do it, by commands."""

import io
import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from audit_app import eras, sealing
from audit_app.models import AuditSeal
from tests.database import as_worker

WORKERS = ("audit_seal", "audit_revoke_key", "sweep")


@dataclass(frozen=True)
class Place:
    """Where the keys and the anchor lie."""

    folder: Path

    @property
    def key(self) -> Path:
        """The key that signs."""
        return self.folder / "seal_key.pem"

    @property
    def former(self) -> Path:
        """The key that signed before."""
        return self.folder / "former_seal_key.pem"

    @property
    def keys(self) -> Path:
        """The public keys."""
        return self.folder / "keys"

    @property
    def anchor(self) -> Path:
        """The anchor."""
        return self.folder / "anchor.ndjson"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint."""
        return self.folder / "anchor.checkpoint"


def run(name: str, *arguments: str) -> str:
    """What a command prints. Those that seal, or record what they found, run as the worker."""
    out = io.StringIO()
    with as_worker() if name in WORKERS or "--record" in arguments else nullcontext():
        call_command(name, *arguments, stdout=out)
    return out.getvalue().strip()


def seal() -> list[AuditSeal]:
    """Seal all there is, and say with which seals."""
    known, deadline = AuditSeal.objects.count(), time.monotonic() + 10
    wait_until_sealable()
    run("audit_seal")
    while sealing.lag_seconds() and time.monotonic() < deadline:
        run("audit_seal")
    return list(AuditSeal.objects.order_by("number")[known:])


def rotate(place: Place, *, keep: bool = True) -> None:
    """The runbook: the key becomes the former one, and the next run makes another."""
    (place.key.rename if keep else lambda _: place.key.unlink())(place.former)


def wait_until_sealable() -> None:
    """Wait until no older transaction holds back the events there are, for at most ten seconds.

    Transactions of the whole cluster do, and so those of another worker's tests, for a moment. Without the wait a seal
    might be made of some of the events and another of the rest, or none at all.
    """
    deadline = time.monotonic() + 10
    while _is_held_back() and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_held_back() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM audit_events"
            f" WHERE era = {eras.PRESENT} AND xid >= pg_snapshot_xmin(pg_current_snapshot()))"
        )
        return bool(cursor.fetchone()[0])


def findings(place: Place, *arguments: str, anchor: bool = True) -> list[tuple[str, str | None, int | None]]:
    """What verification finds: the kind, then a subject's id and seq, or `seal` and its number, or an event's id.

    That the exit code and the sentence fit is looked at along the way. The anchor is the one of the settings; without
    `anchor` it is one that is not there, and no checkpoint is there either unless it is named.
    """
    if not anchor:
        with override_settings(AUDIT_CHECKPOINT_FILE=place.folder / "no-checkpoint"):
            return _findings(place, *arguments, anchor=False)
    return _findings(place, *arguments, anchor=True)


def _findings(place: Place, *arguments: str, anchor: bool) -> list[tuple[str, str | None, int | None]]:
    nowhere = place.folder / "no-anchor"
    given = ["--keys", str(place.keys), *([] if anchor else ["--anchor", str(nowhere)]), *arguments]
    report = report_of(*given)
    found = [_brief(one) for one in report["findings"]]
    if not found and not anchor and report["seals"]:
        assert report["missing"] == [f"the anchor {nowhere}: No such file or directory"]
        return found
    if not found:
        assert report["result"] == "clean", report
        assert run("audit_verify", *given).startswith("Clean: ")
        return found
    assert report["result"] == "tampered"
    with pytest.raises(CommandError) as refusal:
        run("audit_verify", *given)
    assert refusal.value.returncode == 1
    first = report["findings"][0]
    assert str(refusal.value).startswith("TAMPERED. First: ")
    told = str(refusal.value).splitlines()[0]
    named = [first[name] for name in ("subject_id", "seq", "seal") if first[name] is not None] or [first["event_id"]]
    assert all(str(name) in told for name in named), told
    assert first["says"] in told
    return found


def report_of(*arguments: str) -> dict[str, Any]:
    """What `audit_verify --json` prints, whatever its exit code, which must be the result's."""
    out, code = io.StringIO(), 0
    try:
        call_command("audit_verify", "--json", *arguments, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    report: dict[str, Any] = json.loads(out.getvalue())
    assert code == {"clean": 0, "tampered": 1, "incomplete": 2}[report["result"]]
    return report


def _brief(one: dict[str, Any]) -> tuple[str, str | None, int | None]:
    if one["seal"] is not None:
        return one["kind"], "seal", one["seal"]
    return one["kind"], one["subject_id"] or one["event_id"], one["seq"]
