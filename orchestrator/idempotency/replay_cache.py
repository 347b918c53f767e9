"""Redis, which says "done, here is the answer" and nothing else: never "in progress", never "not done"."""

import base64
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.conf import settings

from orchestrator.idempotency.authentication import Store, StoredAnswer, code, is_authentic, written
from orchestrator.idempotency.claim import FP_BYTES, KEPT_HEADERS, Answer, Key
from orchestrator.metrics import REPLAY_CACHE_LOOKUPS, STORED_ANSWERS_REFUSED
from orchestrator.redis import Redis, redis

MAX_BODY_BYTES = 64 * 1024
MOST_WAITING = 1000

log = logging.getLogger(__name__)


class ReplayCache:
    """Answers by key, as JSON and never as pickles: whoever can write Redis must not be able to run code here."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: queue.Queue[Callable[[], object]] = queue.Queue(MOST_WAITING)
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()

    def get(self, key: Key) -> tuple[bytes, Answer] | None:
        """The fingerprint and the answer kept under this key, or None where Redis does not know or does not say."""
        kept = self._redis.ask(lambda client: client.get(_name(key.k)))
        found = None if kept is None else _read(key, kept)
        REPLAY_CACHE_LOOKUPS.labels("miss" if found is None else "hit").inc()
        return found

    def put(self, stored: StoredAnswer, until: float) -> None:
        """Keep an answer that is committed, off the path of the answer, until that moment of the monotonic clock.

        What does not fit or fails is let go.
        """
        if len(stored.body) > MAX_BODY_BYTES:
            return
        self._start()
        try:
            self._waiting.put_nowait(lambda: self._set(stored, until))
        except queue.Full:
            log.warning("an answer is not cached: too many wait to be")

    def _set(self, stored: StoredAnswer, until: float) -> None:
        """No longer than the record is good for: the database would say that the key is new."""
        left = int((until - time.monotonic()) * 1000)
        if left > 0:
            self._redis.ask(lambda client: client.set(_name(stored.k), _written(stored), px=left))

    def _start(self) -> None:
        """The thread that writes, started where it is first needed: a forked worker has none of its parent's."""
        with self._lock:
            if self._writer is None:
                writer = threading.Thread(target=self._write, daemon=True)
                writer.start()
                self._writer = writer

    def _write(self) -> None:
        while True:
            keep = self._waiting.get()
            try:
                keep()
            except Exception:
                # The one that could not be kept must not be the last.
                log.exception("an answer could not be cached")
            finally:
                self._waiting.task_done()


def _name(k: bytes) -> str:
    return f"idempotency:{settings.IDEMPOTENCY_EPOCH}:{k.hex()}"


def _written(stored: StoredAnswer) -> bytes:
    kept = {
        "fp": stored.fp.hex(),
        "status": stored.status,
        "headers": dict(stored.headers),
        "body": base64.b64encode(stored.body).decode(),
        "request_id": stored.request_id,
        "created_at": stored.created_at,
        "expires_at": stored.expires_at,
        "mac": code(stored, Store.REDIS).hex(),
    }
    return json.dumps(kept).encode()


def _read(key: Key, kept: bytes) -> tuple[bytes, Answer] | None:
    """Return an entry that this service wrote and whose time is not over; anything else is as if it were not there."""
    try:
        found: dict[str, Any] = json.loads(str(kept, "ascii"))
        stored, mac = _stored(key, found), bytes.fromhex(found["mac"])
    except (ValueError, KeyError, TypeError, RecursionError):
        stored = None
    if stored is None or not (len(stored.fp) == FP_BYTES and _is_ours(answer := _answer(stored))):
        log.warning("an entry of the replay cache cannot be read")
        return None
    if not is_authentic(stored, mac, Store.REDIS):
        STORED_ANSWERS_REFUSED.labels(Store.REDIS).inc()
        log.error("an entry of the replay cache is not authentic", extra={"key": key.k.hex()})
        return None
    # Redis lets go of it by itself, unless somebody has put it back.
    return (stored.fp, answer) if written(datetime.now(UTC)) < stored.expires_at else None


def _stored(key: Key, found: dict[str, Any]) -> StoredAnswer:
    """Return what an entry says. Raises ValueError, KeyError, TypeError."""
    texts = {name: found[name] for name in ("request_id", "created_at", "expires_at")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("not a text")
    return StoredAnswer(
        k=key.k,
        fp=bytes.fromhex(found["fp"]),
        status=found["status"],
        headers=found["headers"],
        body=base64.b64decode(found["body"], validate=True),
        **texts,
    )


def _answer(stored: StoredAnswer) -> Answer:
    return Answer(stored.status, stored.headers, stored.body)


def _is_ours(answer: Answer) -> bool:
    """Whether it could have been kept: only what succeeded, and refusals by state, are remembered."""
    status: object = answer.status
    return (
        type(status) is int
        and (200 <= status < 300 or status == 409)
        and isinstance(answer.headers, dict)
        and all(
            name in KEPT_HEADERS and isinstance(value, str) and value.isprintable()
            for name, value in answer.headers.items()
        )
    )


@cache
def replay_cache() -> ReplayCache | None:
    """This worker's, or None where there is no Redis."""
    shared = redis()
    return None if shared is None else ReplayCache(shared)
