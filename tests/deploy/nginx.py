"""Debian's nginx, with the files of docker/nginx, before instances of the service."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.gunicorn_server import HERE, free_port

FILES = HERE / "docker" / "nginx"
USER = "nobody" if os.geteuid() == 0 else None
NO_LIMITS = (FILES / "limits.conf").read_text().replace("100r/s", "10000r/s")
NO_LIMITS = re.sub(r"^limit_(req|conn) .*\n", "", NO_LIMITS, flags=re.MULTILINE)
"""limits.conf for whoever calls as fast as answers come, or counts what is refused."""
_PATIENCE_SECONDS = 10


@dataclass
class Nginx:
    """One that runs."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def host(self) -> str:
        """Where it listens, as host:port."""
        return f"127.0.0.1:{self.port}"

    def said(self) -> str:
        """What it logged, both of its logs."""
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def proxying(
    upstream: Sequence[int], replaced: Mapping[str, str] | None = None, *, beside: str = ""
) -> Iterator[Nginx]:
    """Proxy to the instances on these ports.

    `replaced` is the text of files that stand in the place of docker/nginx's, `beside` what listen.conf says besides.
    """
    port = free_port()
    with TemporaryDirectory(prefix="orchestrator-nginx-") as made:
        folder = Path(made)
        shutil.copytree(FILES, folder, dirs_exist_ok=True)
        servers = "".join(f"server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;\n" for one in upstream)
        own = {
            "listen.conf": f"listen 127.0.0.1:{port};\n{beside}",
            "upstream.conf": f"zone orchestrator 64k;\n{servers}",
        }
        for name, text in {**own, **(replaced or {})}.items():
            (folder / name).write_text(text)
        (folder / "log").touch()
        _give(folder)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command(folder), stdout=log, stderr=log, user=USER)
        nginx = Nginx(port, folder, process)
        try:
            _wait_until_it_listens(nginx)
            yield nginx
        finally:
            _stop(process)


def command(folder: Path) -> list[str]:
    """How compose.yml starts it, but for where its files lie."""
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


def _give(folder: Path) -> None:
    """Let its user have the folder."""
    if USER is not None:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, USER)


def _wait_until_it_listens(nginx: Nginx) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        connection = HTTPConnection(nginx.host, timeout=_PATIENCE_SECONDS)
        try:
            connection.connect()
            return
        except OSError as error:
            if nginx.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx does not listen:\n{nginx.said()}") from error
            time.sleep(0.02)
        finally:
            connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
