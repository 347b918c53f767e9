"""The service's settings, with all the time in the world for Redis: for tests of what it answers, not of how soon."""

from orchestrator.settings import *  # noqa: F403
from orchestrator.settings import CACHES

CACHES["redis"]["OPTIONS"] = {"SOCKET_CONNECT_TIMEOUT": 20, "SOCKET_TIMEOUT": 20}
