"""Redis, which says "done, here is the answer" and nothing else: never "in progress", never "not done"."""

import base64
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings

from orchestrator.idempotency.claim import FP_BYTES, KEPT_HEADERS, Answer, Key
from orchestrator.metrics import REPLAY_CACHE_LOOKUPS
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
        kept = self._redis.ask(lambda client: client.get(_name(key)))
        found = None if kept is None else _read(kept)
        REPLAY_CACHE_LOOKUPS.labels("miss" if found is None else "hit").inc()
        return found

    def put(self, key: Key, answer: Answer, until: float) -> None:
        """Keep an answer that is committed, off the path of the answer, until that moment of the monotonic clock.

        What does not fit or fails is let go.
        """
        if len(answer.body) > MAX_BODY_BYTES:
            return
        self._start()
        try:
            self._waiting.put_nowait(lambda: self._set(key, answer, until))
        except queue.Full:
            log.warning("an answer is not cached: too many wait to be")

    def _set(self, key: Key, answer: Answer, until: float) -> None:
        """No longer than the record is good for: the database would say that the key is new."""
        left = int((until - time.monotonic()) * 1000)
        if left > 0:
            self._redis.ask(lambda client: client.set(_name(key), _written(key, answer), px=left))

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


def _name(key: Key) -> str:
    return f"idempotency:{settings.IDEMPOTENCY_EPOCH}:{key.k.hex()}"


def _written(key: Key, answer: Answer) -> bytes:
    body = base64.b64encode(answer.body).decode()
    kept = {"fp": key.fp.hex(), "status": answer.status, "headers": dict(answer.headers), "body": body}
    return json.dumps(kept).encode()


def _read(kept: bytes) -> tuple[bytes, Answer] | None:
    """What somebody else may have written: anything but the form we write is as if it were not there."""
    try:
        found: dict[str, Any] = json.loads(str(kept, "ascii"))
        fp, body = bytes.fromhex(found["fp"]), base64.b64decode(found["body"], validate=True)
        answer = Answer(found["status"], found["headers"], body)
    except (ValueError, KeyError, TypeError, RecursionError):
        answer = None
    if answer is None or not (len(fp) == FP_BYTES and _is_ours(answer)):
        log.warning("an entry of the replay cache cannot be read")
        return None
    return fp, answer


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
