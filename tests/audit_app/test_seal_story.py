"""The trail is sealed, verified, proved, and tampered with."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from tests import work
from tests.audit_app.seals import run, wait_until_sealable
from tests.audit_app.tampering import rewrite, unguarded

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_keys(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SEAL_KEY_FILE = tmp_path / "seal_key.pem"
    settings.AUDIT_SEAL_FORMER_KEY_FILE = tmp_path / "former.pem"
    settings.AUDIT_SEAL_PUBLIC_KEYS = tmp_path / "keys"
    settings.AUDIT_ANCHOR_FILE = tmp_path / "anchor.ndjson"
    settings.AUDIT_CHECKPOINT_FILE = tmp_path / "anchor.checkpoint"


def test_is_sealed_verified_and_proved(settings: Any) -> None:
    session = work.move_session(work.open_session(), "active", "completed")
    wait_until_sealable()
    assert run("audit_seal") == "1 seal made."
    assert run("audit_seal") == "0 seals made."
    keys = ["--keys", str(settings.AUDIT_SEAL_PUBLIC_KEYS), "--anchor", str(settings.AUDIT_ANCHOR_FILE)]
    assert run("audit_verify", *keys) == "Clean: 3 events, 1 seals, 0 events wait for a seal."
    event = work.chain(session)[1]
    proof = json.loads(run("audit_proof", str(event["id"])))
    assert proof["path"]["size"] == 3
    work.open_session()
    wait_until_sealable()
    assert run("audit_seal") == "1 seal made."
    assert run("audit_verify", *keys).startswith("Clean: 4 events, 2 seals")
    with unguarded() as beside:
        rewrite(beside, event, reason="another")
        with pytest.raises(CommandError, match="event 2: a column is not what the text says") as refusal:
            run("audit_verify", *keys)
        assert refusal.value.returncode == 1
