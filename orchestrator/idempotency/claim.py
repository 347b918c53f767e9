"""Claiming a key and recording its answer: two statements, in the transaction of the effect."""

import hashlib
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from psycopg.types.json import Jsonb

from orchestrator.actors import Actor
from orchestrator.canonical import dumps
from orchestrator.idempotency.authentication import Store, StoredAnswer, code, is_authentic, loaded, written
from orchestrator.metrics import STORED_ANSWERS_REFUSED
from orchestrator.problems import StoredAnswerInvalid
from orchestrator.unknown_members import LENIENT, prefers_lenient

KEPT_HEADERS = ("Content-Type", "Location", "ETag", "Preference-Applied")
FP_BYTES = 32

MIN_CODED_BYTES = 1024
"""Shorter bodies are stored as they are: coding them saves little."""

_CODING = "Content-Encoding"
_GZIP = zlib.MAX_WBITS | 16

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What a claim finds."""

    FIRST = "first"
    REPLAY = "replay"
    MISMATCH = "mismatch"
    IN_FLIGHT = "in_flight"


@dataclass(frozen=True, slots=True)
class Key:
    """Whose key (`k`) and for which request (`fp`): SHA-256, 32 bytes each."""

    k: bytes
    fp: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the status, the headers that count, the body byte for byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def stored(self) -> "Answer":
        """Return the answer as its record has it: with a gzip coding of the body where that is shorter.

        The stored headers name the coding (RFC 9110, section 8.4), so a version that does not decode it sends a correct
        answer too.
        """
        if len(self.body) < MIN_CODED_BYTES:
            return self
        coded = zlib.compress(self.body, wbits=_GZIP)
        if len(coded) >= len(self.body):
            return self
        return Answer(self.status, {**self.headers, _CODING: "gzip"}, coded)

    def given(self) -> "Answer":
        """Return the answer of a record as it was given. Raises zlib.error where its body is no such coding."""
        if _CODING not in self.headers:
            return self
        headers = {name: value for name, value in self.headers.items() if name != _CODING}
        return Answer(self.status, headers, zlib.decompress(self.body, _GZIP))

    def kept_under(self, key: Key, request_id: str, created_at: str, expires_at: str) -> StoredAnswer:
        """Return this answer together with what its authentication code covers too. Times as `written()` has them."""
        return StoredAnswer(
            k=key.k,
            fp=key.fp,
            status=self.status,
            headers=self.headers,
            body=self.body,
            request_id=request_id,
            created_at=created_at,
            expires_at=expires_at,
        )

    @classmethod
    def of(cls, response: HttpResponse) -> "Answer":
        """An answer as it is about to be given."""
        kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return cls(response.status_code, kept, response.content)

    def replayed(self) -> HttpResponse:
        """The same again, marked."""
        given = HttpResponse(self.body, status=self.status, headers={**self.headers, "Idempotent-Replayed": "true"})
        if "Content-Type" not in self.headers:
            # Django makes one up; a 204 had none.
            del given.headers["Content-Type"]
        return given


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim found, with the answer where it is a replay.

    `now` is the database's time; `asked_at`, a moment before it, is this process's monotonic clock.
    """

    outcome: Outcome
    answer: Answer | None
    now: datetime
    asked_at: float


def key_of(request: HttpRequest, actor: Actor, raw: str, body: Any) -> Key:
    """The scope is the caller, not the token: a refreshed token still replays. Framed by RFC 8785, then hashed.

    Lenient handling is part of the request: with it a body may mean less than it says, so a strict call with the same
    key must not get the lenient call's answer.

    An agent that acts for a person is another caller for each person: what it does for one must not swallow what it
    does for the next.
    """
    who: list[Any] = [actor.tenant, actor.identity.issuer, actor.identity.subject]
    if actor.on_behalf_of is not None:
        who.append([actor.on_behalf_of.issuer, actor.on_behalf_of.subject])
    query = sorted([name, *values] for name, values in request.GET.lists())
    what = [request.method, request.path, query, request.headers.get("If-Match"), body]
    if prefers_lenient(request.headers.get("Prefer", "")):
        what.append(LENIENT)
    return Key(_hash(["idempotency/v1", *who, raw]), _hash(what))


def _hash(value: list[Any]) -> bytes:
    return hashlib.sha256(dumps(value)).digest()


def claim(key: Key) -> Claim:
    """Claim a key for this transaction. `FIRST` holds a lock that ends with the transaction, however it ends.

    Raises StoredAnswerInvalid where the key's record was not written by this service.
    """
    asked_at = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM idempotency_reserve(%s, %s)", [key.k, key.fp])
        outcome, now, *record = cursor.fetchone()
    found = Outcome(outcome)
    answer = _authenticated(key, record) if found is Outcome.REPLAY else None
    return Claim(found, answer, now, asked_at)


def _authenticated(key: Key, record: list[Any]) -> Answer:
    """Return the answer of a record. Raises StoredAnswerInvalid, and tells operators, where it is not authentic."""
    status, headers, body, request_id, created_at, expires_at, mac = record
    answer = Answer(status, loaded(headers), bytes(body))
    stored = answer.kept_under(key, request_id, created_at, expires_at)
    if not is_authentic(stored, None if mac is None else bytes(mac), Store.DATABASE):
        STORED_ANSWERS_REFUSED.labels(Store.DATABASE).inc()
        log.error("a stored answer is not authentic", extra={"key": key.k.hex()})
        raise StoredAnswerInvalid
    return answer.given()


def stored_answer(key: Key, answer: Answer, *, now: datetime, request_id: str) -> StoredAnswer:
    """Return what is stored of an answer that is given now, by the database's clock."""
    until = now + timedelta(seconds=settings.IDEMPOTENCY_TTL_SECONDS)
    return answer.kept_under(key, request_id, written(now), written(until))


def record(key: Key, answer: Answer, *, now: datetime, request_id: str) -> None:
    """Keep the answer, to commit with the effect."""
    stored = stored_answer(key, answer.stored(), now=now, request_id=request_id)
    values: list[Any] = [
        *(stored.k, stored.fp, stored.status, Jsonb(stored.headers), stored.body, stored.request_id),
        *(stored.created_at, stored.expires_at, code(stored, Store.DATABASE)),
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO idempotency_records"
            " (k, fp, status, headers, body, request_id, created_at, expires_at, mac)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            values,
        )
