"""The commands of compose.yml by which the sweeper counts along with one instance: what it does is scraped there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from orchestrator import metric_files
from tests import seeding
from tests.gunicorn_server import HERE, environment, serving
from tests.orchestrator.scrapes import TOKEN, Scrape
from tests.sessions_app.test_expire_sessions import PAST

COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "docker" / "compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
COUNTS = "/var/lib/counts"


def test_one_instance_and_the_sweeper_share_a_folder_and_nobody_else_has_it() -> None:
    holders = {name for name, service in SERVICES.items() if f"counts:{COUNTS}" in service.get("volumes", [])}
    assert holders == {"service-a", "sweeper"}
    named = {
        name for name, told in SERVICES.items() if f"{metric_files.FOLDER}={COUNTS}" in (told.get("command") or [])
    }
    assert named == holders
    # In the environment it would be every command's that somebody runs in a container of these.
    assert not any(metric_files.FOLDER in service.get("environment", {}) for service in SERVICES.values())
    assert COMPOSE["volumes"]["counts"]["driver_opts"]["type"] == "tmpfs"


def test_but_for_the_folder_they_are_started_as_everywhere() -> None:
    started = {name: SERVICES[name]["command"] for name in ("service-a", "sweeper")}
    assert {tuple(command[:2]) for command in started.values()} == {("env", f"{metric_files.FOLDER}={COUNTS}")}
    (of_the_image,) = re.findall(r"^CMD (\[.*\])$", (HERE / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert started["service-a"][2:] == json.loads(of_the_image)
    assert f"`{' '.join(started['sweeper'][3:])}`" in (HERE / "docs" / "deploying.md").read_text()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_what_the_sweeper_expires_is_scraped_at_the_instance(tmp_path: Path) -> None:
    seeding.sessions(2, lasting=PAST)
    env, folder, _, *command = SERVICES["sweeper"]["command"]
    once = [env, folder.replace(COUNTS, str(tmp_path)), sys.executable, *command[: command.index("--loop")]]
    own = {"AUDIT_SEAL_KEY_FILE": str(tmp_path / "key.pem"), "AUDIT_SEAL_PUBLIC_KEYS": str(tmp_path / "keys")}
    with serving(METRICS_TOKEN=TOKEN, **{metric_files.FOLDER: str(tmp_path)}) as base:
        subprocess.run(once, cwd=HERE, env={**environment(), **own}, check=True, capture_output=True)
        request = Request(f"{base}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urlopen(request, timeout=20) as answer:
            told = Scrape(answer.read().decode())
    assert told.value("orchestrator_events_total", event_type="session.expired") == 2
