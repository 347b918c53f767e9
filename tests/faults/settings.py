"""The service's settings, for tests: with crash points in the middleware, and a view that takes its time."""

from orchestrator.settings import *  # noqa: F403
from orchestrator.settings import MIDDLEWARE

_IDEMPOTENCY = "orchestrator.idempotency.middleware.Idempotency"
MIDDLEWARE = ["tests.faults.crash.Crashing" if name == _IDEMPOTENCY else name for name in MIDDLEWARE]
ROOT_URLCONF = "tests.faults.urls"
