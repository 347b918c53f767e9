"""What `docker build` copies into the image has to be let through by .dockerignore, which lets nothing else through."""

import re

from tests.gunicorn_server import HERE

COPIED = {
    source
    for line in (HERE / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    if (copy := re.fullmatch(r"COPY (?!--from)(.+) \S+", line))
    for source in copy[1].split()
}
LET_THROUGH = {line[1:] for line in (HERE / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}


def test_what_is_copied_is_let_through_and_nothing_else_is() -> None:
    assert "orchestrator" in COPIED
    assert COPIED == LET_THROUGH


def test_each_package_that_the_service_imports_is_copied() -> None:
    packages = {path.parent.name for path in HERE.glob("*/__init__.py")}
    sources = [*HERE.glob("orchestrator/**/*.py"), *HERE.glob("*_app/**/*.py"), HERE / "manage.py"]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    imported = {name for name in packages if re.search(rf"^(from|import) {name}\b", text, re.MULTILINE)}
    assert {"orchestrator", "bearer_tokens", "sessions_app", "audit_app"} <= imported <= COPIED
