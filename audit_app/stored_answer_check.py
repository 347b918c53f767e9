"""Verify stored answers: each that could still be replayed has the authentication code of this service."""

from collections.abc import Iterator

from audit_app.findings import Finding
from audit_app.snapshot import Raw
from orchestrator.idempotency.authentication import Store, StoredAnswer, is_authentic, loaded

_BATCH = 1000
_WRITTEN = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
# Times as texts, as idempotency_reserve() gives them: a forged infinity must not end in an error of the client.
_ANSWERS = f"""
SELECT k, fp, status, headers, body, request_id,
  coalesce(to_char(created_at AT TIME ZONE 'UTC', {_WRITTEN}), ''),
  coalesce(to_char(expires_at AT TIME ZONE 'UTC', {_WRITTEN}), ''), mac
FROM idempotency_records WHERE expires_at > statement_timestamp()
"""


def check_stored_answers(connection: Raw) -> Iterator[Finding]:
    """Find stored answers that the service did not write, or that were changed since."""
    with connection.cursor("stored_answers") as answers:
        answers.itersize = _BATCH
        answers.execute(_ANSWERS)
        for k, fp, status, headers, body, request_id, created_at, expires_at, mac in answers:
            stored = StoredAnswer(
                k=k,
                fp=fp,
                status=status,
                headers=loaded(headers),
                body=body,
                request_id=request_id,
                created_at=created_at,
                expires_at=expires_at,
            )
            if not is_authentic(stored, mac, Store.DATABASE):
                yield Finding("stored-answer", key=k.hex())
