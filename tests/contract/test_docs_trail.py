"""docs/approvals.md and docs/audit.md: their commands answer as shown, and what they name is there."""

import argparse
import re
import time
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import load_command_class
from django.db import connection

from audit_app import seal_keys
from audit_app.findings import MOST
from audit_app.models import AuditEvent
from orchestrator import local_key
from sessions_app.models import Approval, Session, Task
from tests import work
from tests.contract.pages import page, section, table
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.sessions_app.approval_calls import ACTION, agree, ask, consume
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import routed

APPROVALS, AUDIT = page("docs/approvals.md"), page("docs/audit.md")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_approval_is_checked_as_shown(tmp_path: Path) -> None:
    approval = ask(routed(by=somebody("nora")), by=somebody("finn"), required_approvals=2, action=ACTION)
    approval = agree(agree(approval, "mona", comments="Checked against the offer."), "max")
    consume(approval, by=somebody("finn"))
    assert_answers_as_shown(APPROVALS, "", APPROVAL=str(approval.pk), ORCHESTRATOR_VAR=str(tmp_path))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_trail_is_sealed_verified_and_proved_as_shown(tmp_path: Path) -> None:
    session = work.open_session()
    event = AuditEvent.objects.get(subject_id=session.pk)
    wait_until_it_can_be_sealed(event.pk)
    key = local_key.load_or_make(tmp_path / settings.AUDIT_SEAL_KEY_FILE.name).public_key()
    moved = AUDIT.replace("var/", f"{tmp_path}/").replace("proof.json", str(tmp_path / "proof.json"))
    public = tmp_path / "seal_keys" / f"{seal_keys.key_id(key)}.pem"
    assert_answers_as_shown(moved, "", EVENT=str(event.pk), KEY=str(public), ORCHESTRATOR_VAR=str(tmp_path))


def wait_until_it_can_be_sealed(event: UUID) -> None:
    """Transactions of other databases of the cluster hold seals back as well."""
    deadline = time.monotonic() + 20
    sql = "SELECT xid < pg_snapshot_xmin(pg_current_snapshot()) FROM audit_events WHERE id = %s"
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(sql, [event])
            if cursor.fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError("Somebody's transaction does not end.")


@pytest.mark.parametrize("document", [APPROVALS, AUDIT], ids=["approvals", "audit"])
def test_each_snippet_is_followed_by_what_it_answers(document: str) -> None:
    assert {kind for _, kind, _ in snippets(document)} == {"text"}


def test_names_every_setting_of_the_keys_and_where_each_is_unless_set() -> None:
    told = {row[0].strip("`"): row[1] for row in table(section(AUDIT, "Keys"))}
    known = [name for name in dir(settings) if name.startswith("AUDIT_") and isinstance(getattr(settings, name), Path)]
    assert sorted(told) == sorted(known)
    for name, says in told.items():
        assert f"`var/{getattr(settings, name).name}` unless set" in says


COMPARED = {
    *("id", "tenant", "status", "created_at", "updated_at", "created_by_issuer", "created_by_subject", "decision_at"),
    *("on_behalf_of_issuer", "on_behalf_of_subject", "version", "audit_head"),
}
"""The columns that verification compares with the events of a row beside those that they tell of by name."""

COMPARED_BY_KIND = {
    Session: {"reason"},
    Task: {
        *("trace_id", "lease_token_hash", "lease_issuer", "lease_subject", "lease_for_issuer", "lease_for_subject"),
    },
    Approval: set[str](),
}
"""Those that it compares for one kind of row alone."""


def test_names_every_column_that_verification_does_not_look_at() -> None:
    listed = re.findall(r"^  - of `(\w+)`:((?:.|\n    )+)", section(AUDIT, "What is not"), re.MULTILINE)
    named = {table: set(re.findall(r"`(\w+)`", columns)) for table, columns in listed}
    for model in (Session, Task, Approval):
        columns = {field.attname for field in model._meta.concrete_fields}
        left = columns - COMPARED - COMPARED_BY_KIND[model] - {*model.TOLD, model.FILED_UNDER}
        assert named.get(model._meta.db_table, set()) == left


def test_names_every_option_of_verification() -> None:
    parser = load_command_class("audit_app", "audit_verify").create_parser("manage.py", "audit_verify")
    # Sealing has no options but Django's own.
    djangos = _options(load_command_class("audit_app", "audit_seal").create_parser("manage.py", "audit_seal"))
    ours = {*_options(parser)} - {*djangos}
    assert ours == set(re.findall(r"--[a-z]+", section(AUDIT, "The three commands")))


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]


def test_says_how_many_findings_are_told() -> None:
    assert f"then the others, {MOST} at most" in AUDIT
