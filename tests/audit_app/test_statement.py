"""What a seal says, as the text that is signed."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from audit_app.statement import GENESIS, Place, Statement, hash_of, signed

FIRST, LAST = UUID(int=1), UUID(int=2)
SAID = Statement(
    number=7,
    size=3,
    first=FIRST,
    last=Place(era=2, xid=2**63, id=LAST),
    root=b"\x0a" * 32,
    prev_hash=GENESIS,
    key_id="ab" * 16,
    sealed_at=datetime(2026, 1, 31, 9, 0, 0, 7, tzinfo=UTC),
)


def test_is_canonical_json_of_all_that_the_seal_is_about() -> None:
    text = SAID.text().decode()
    assert text == (
        '{"first":"00000000-0000-0000-0000-000000000001","key_id":"abababababababababababababababab",'
        '"last":{"era":2,"id":"00000000-0000-0000-0000-000000000002","xid":"9223372036854775808"},"number":7,'
        f'"prev_hash":"{"00" * 32}","root":"{"0a" * 32}","sealed_at":"2026-01-31T09:00:00.000007Z","size":3}}'
    )
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_transaction_id_stays_exact_where_numbers_are_doubles() -> None:
    one, next_one = (replace(SAID, last=Place(1, 2**62 + n, LAST)).text() for n in (0, 1))
    assert one != next_one
    assert json.loads(next_one, parse_int=float)["last"]["xid"] == str(2**62 + 1)


def test_a_moment_is_one_text_wherever_it_was_read() -> None:
    elsewhere = SAID.sealed_at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert replace(SAID, sealed_at=elsewhere).text() == SAID.text()


def test_its_hash_and_its_signature_are_of_seals_alone() -> None:
    text = SAID.text()
    assert hash_of(text) == hashlib.sha256(b"seal/v1\x00" + text).digest()
    assert signed(text) == b"seal/v1\x00" + text
    assert hash_of(text) != hashlib.sha256(text).digest()
