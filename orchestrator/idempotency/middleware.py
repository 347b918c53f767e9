"""The same key and request have one effect and one answer (draft-ietf-httpapi-idempotency-key-header).

The steps S2 to S9 are those of docs/idempotency.md.
"""

import logging
import re
import time
from fnmatch import fnmatchcase
from typing import cast

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.http import HttpRequest, HttpResponse

from orchestrator import boundary
from orchestrator.idempotency.claim import Answer, Claim, Key, Outcome, claim, key_of, record, stored_answer
from orchestrator.idempotency.replay_cache import replay_cache
from orchestrator.metrics import KEYED_REQUESTS
from orchestrator.middleware import Call, Middleware
from orchestrator.problem_responses import response
from orchestrator.problems import (
    Forbidden,
    InFlight,
    InvalidRequest,
    KeyMismatch,
    Problem,
    ServiceUnavailable,
    StoredAnswerInvalid,
)
from orchestrator.views import required_roles

HEADER = "Idempotency-Key"
WRITES = ("POST", "PUT", "PATCH", "DELETE")

# Visible ASCII without comma, bare or in quotes: the same key either way.
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]{1,255}")
_QUOTED = re.compile(r'"([\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,255})"')
_PATIENCE_SECONDS = 1.0
_NAP_SECONDS = 0.05

log = logging.getLogger(__name__)


class KeyedCall(Call):
    """A request inside a boundary that was opened for its key.

    The view leaves what it raised in `failure`. `recorded`: the transaction may have come as far as its COMMIT.
    """

    keyed: bool
    failure: Exception | None
    recorded: bool


class Unkept(Exception):  # noqa: N818  a signal to roll back
    """An answer that is given but not remembered, and whose transaction is rolled back."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


class Idempotency(Middleware):
    """Opens the write boundary of a keyed request, or answers from what is remembered."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Whatever has no key, no caller, or writes nothing is handed on."""
        call = cast(KeyedCall, request)
        call.key_hash = None
        raw = request.headers.get(HEADER)
        if raw is None or request.method not in WRITES or call.caller is None or is_passed_over(request.path):
            return self.get_response(request)
        try:
            key = key_of(request, call.caller, _read(raw), call.json)
        except InvalidRequest as problem:
            # Switched off, a key means nothing, not even a malformed one.
            return response(problem, request) if settings.IDEMPOTENCY_ENABLED else self.get_response(request)
        call.key_hash = key.k.hex()
        if not settings.IDEMPOTENCY_ENABLED:
            return self.get_response(request)
        try:
            return self._answer(call, key)
        except Problem as problem:
            if isinstance(problem, ServiceUnavailable):
                log.warning("service unavailable", extra={"request": request}, exc_info=problem)
            return response(problem, request)

    def _answer(self, call: KeyedCall, key: Key) -> HttpResponse:
        """S2: from the cache where it knows; else from the database. Raises Problem."""
        cache = replay_cache()
        kept = cache.get(key) if cache else None
        if kept is not None:
            fp, answer = kept
            outcome = Outcome.REPLAY if fp == key.fp else Outcome.MISMATCH
            KEYED_REQUESTS.labels(outcome).inc()
            if outcome is Outcome.MISMATCH:
                raise KeyMismatch
            return _replayed(answer, call)
        call.recorded = False
        try:
            return boundary.write(lambda: self._first(call, key))
        except Unkept as unkept:
            return unkept.answer
        except ServiceUnavailable as problem:
            if not call.recorded:
                raise
            return self._after_the_unknown(call, key, problem)
        except Problem as refusal:
            return self._refusal(call, key, refusal)

    def _first(self, call: KeyedCall, key: Key) -> HttpResponse:
        """S3 to S5, inside the boundary: claim, run, render, record. It may be run again from here."""
        call.recorded = False
        claimed = claim(key)
        KEYED_REQUESTS.labels(claimed.outcome).inc()
        if claimed.outcome is not Outcome.FIRST:
            return _found(claimed, call)
        call.keyed, call.failure = True, None
        given = self.get_response(call)
        if isinstance(call.failure, Problem | DatabaseError | InterfaceError):
            raise call.failure
        if given.status_code >= 400:
            raise Unkept(given)
        self._keep(call, key, given, claimed)
        return given

    def _refusal(self, call: KeyedCall, key: Key, refusal: Problem) -> HttpResponse:
        """One key, one final answer: a refusal judged on state is remembered too, once its transaction is gone."""
        answer = response(refusal, call)
        if refusal.status != 409 or isinstance(refusal, InFlight | StoredAnswerInvalid):
            return answer

        def keep() -> HttpResponse:
            claimed = claim(key)
            if claimed.outcome is not Outcome.FIRST:
                return _found(claimed, call)
            self._keep(call, key, answer, claimed)
            return answer

        return boundary.write(keep)

    def _keep(self, call: KeyedCall, key: Key, given: HttpResponse, claimed: Claim) -> None:
        """S5, and S8 once it is committed."""
        answer = Answer.of(given)
        call.recorded = True
        record(key, answer, now=claimed.now, request_id=call.request_id)
        if cache := replay_cache():
            stored = stored_answer(key, answer, now=claimed.now, request_id=call.request_id)
            until = claimed.asked_at + settings.IDEMPOTENCY_TTL_SECONDS
            # Robust: what is committed is answered, whatever becomes of the cache.
            transaction.on_commit(lambda: cache.put(stored, until), robust=True)

    def _after_the_unknown(self, call: KeyedCall, key: Key, problem: ServiceUnavailable) -> HttpResponse:
        """S7: the connection was lost, perhaps between COMMIT and its answer. Only the record can tell."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                claimed = boundary.write(lambda: claim(key))
            except ServiceUnavailable:
                raise problem from None
            if claimed.outcome is Outcome.REPLAY:
                return _found(claimed, call)
            if claimed.outcome is not Outcome.IN_FLIGHT or time.monotonic() > deadline:
                raise problem
            # The backend that we lost is still ending.
            time.sleep(_NAP_SECONDS)


def _found(claimed: Claim, call: KeyedCall) -> HttpResponse:
    """What another request with this key came to. Raises KeyMismatch, InFlight, Forbidden."""
    if claimed.answer is not None:
        return _replayed(claimed.answer, call)
    raise KeyMismatch if claimed.outcome is Outcome.MISMATCH else InFlight


def _replayed(answer: Answer, call: KeyedCall) -> HttpResponse:
    """Return a stored answer. Raise Forbidden where the caller has lost every role that the call requires.

    The tenant is part of the key, so a caller of another tenant finds no stored answer. Rights on the row are not
    judged again.
    """
    caller = call.caller
    if caller is None or not caller.has(*required_roles(call, call.json)):
        raise Forbidden("You no longer hold a role that this call requires.")
    return answer.replayed()


def is_passed_over(path: str) -> bool:
    """Whether its answers are never remembered."""
    return any(fnmatchcase(path, pattern) for pattern in settings.IDEMPOTENCY_PASSED_OVER)


def _read(raw: str) -> str:
    """The key in a header. Raises InvalidRequest."""
    quoted = _QUOTED.fullmatch(raw)
    if quoted is None and not _BARE.fullmatch(raw):
        raise InvalidRequest(
            [(HEADER, "It must be 1 to 255 visible ASCII characters without a comma, bare or quoted.")]
        )
    return quoted[1] if quoted else raw
