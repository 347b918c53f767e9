"""Settings of the tests: those of the service, on a database server that the tests have to themselves."""

import os

os.environ.setdefault("SECRET_KEY", "only for tests")
# tests.postgres sets TEST_DATABASE_URL before this is read; mypy and makemigrations need no server.
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "postgresql:///orchestrator?host=/nowhere")
os.environ.setdefault("LOG_LEVEL", "warning")
# Hundreds of bad tokens come from one address here; the tests of the limit set their own.
os.environ.setdefault("AUTH_FAILURE_LIMIT", "off")
# So do thousands of calls from one subject.
os.environ.setdefault("RATE_LIMIT", "off")
os.environ.setdefault("QUOTA_EVENTS", "off")
# Calls cost one statement more every few seconds where quotas are counted, and tests count statements.
os.environ.setdefault("QUOTA_OPEN_SESSIONS", "0")
os.environ.setdefault("QUOTA_PENDING_TASKS", "0")
os.environ.setdefault("QUOTA_HELD_LEASES", "0")

from orchestrator.settings import *  # noqa: F403

# Otherwise each test's client begins by walking through every static file there is. tests/orchestrator/test_static.py
# has it as production has.
WHITENOISE_AUTOREFRESH = True

# An export whose answer a test does not read runs until it is forgotten.
MAX_EXPORTS = 1000

# To log in with a password takes a second with the one of production, which is what it is for. That stays second, for
# passwords that a service under production's settings is to know.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
