"""Keycloak itself: its distribution by Maven, started on loopback with the realm of docker/keycloak."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO

from tests.gunicorn_server import HERE, free_port

VERSION = "26.7.3"
ADMIN, ADMIN_PASSWORD = "admin", "admin-password"
REALMS = (HERE / "docker/keycloak/realm-dev.json", HERE / "tests/keycloak/realm-existing.json")
_PATIENCE_SECONDS = 300
"""The first start builds Keycloak's own image of itself, which two busy cores take minutes for."""


class Keycloak:
    """One server on a port of its own, with a database in memory: what a restart forgets is read from the realms."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as this does

    def address(self, realm: str, host: str = "127.0.0.1") -> str:
        """The issuer of a realm, as it is called by that host."""
        return f"http://{host}:{self.port}/realms/{realm}"

    def start(self) -> None:
        """Returns when the realms are there. Raises RuntimeError where they do not come."""
        imported = self.home / "data/import"
        imported.mkdir(parents=True, exist_ok=True)
        for realm in REALMS:
            shutil.copy(realm, imported)
        options = ["--import-realm", "--db=dev-mem", "--http-host=127.0.0.1", f"--http-port={self.port}"]
        self._process = subprocess.Popen(
            ["bash", str(self.home / "bin/kc.sh"), "start-dev", *options],
            env={
                **os.environ,
                "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
                "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
                "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not all(self._answers(realm) for realm in ("dev", "existing")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                self._log.seek(0)
                said = self._log.read().decode(errors="replace")
                self.close()
                raise RuntimeError(f"Keycloak does not answer:\n{said}")
            time.sleep(0.5)

    def stop(self) -> None:
        """At once. The script and its Java are one process group, and it is ours."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """For good."""
        self.stop()
        self._log.close()

    def _answers(self, realm: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address(realm)}/.well-known/openid-configuration", timeout=30) as got:
                return int(got.status) == 200
        except OSError:
            return False


def unpacked() -> Path:
    """The distribution, fetched from the Maven repository on the first run and kept in var/."""
    kept = HERE / "var/keycloak"
    home = kept / f"keycloak-{VERSION}"
    if not home.is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as unfinished:
            artifact = f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
            command = ["mvn", "-q", "-B", "dependency:unpack", artifact, f"-DoutputDirectory={unfinished}"]
            subprocess.run(command, check=True, cwd=unfinished)
            (Path(unfinished) / home.name).rename(home)
    return home
