"""What the service is built of: locked by hash, under licences that were looked at, and asked about."""

import re
import subprocess
from importlib.metadata import PackageNotFoundError, metadata

import pytest

from tests.gunicorn_server import HERE

LOCK = (HERE / "requirements.txt").read_text(encoding="utf-8")
PACKAGES = re.findall(r"^([A-Za-z0-9_.-]+)==", LOCK, re.MULTILINE)
# What may be used and passed on within a service under the Apache License 2.0. The LGPL is psycopg's: it is used as it
# is, from its own wheel, and may be exchanged. The MPL's files stay as they are.
LICENCES = {"Apache", "BSD", "ISC", "LGPL", "MIT", "MIT-0", "MPL", "PSF"}
WORDS = re.compile(r"\b(AGPL|Apache|BSD|GPL|ISC|LGPL|MIT-0|MIT|MPL|Mozilla|PSF|Proprietary)", re.IGNORECASE)


def licences(package: str) -> set[str]:
    """The licences that its metadata names, whichever of the three ways it has."""
    told = metadata(package)
    said = " ".join(told.get_all("License-Expression", []))
    if not said:
        classified = [line for line in told.get_all("Classifier", []) if line.startswith("License ::")]
        said = " ".join([*classified, *(text[:80] for text in told.get_all("License", []))])
    return {"MPL" if word == "Mozilla" else word for word in WORDS.findall(said)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_licence_that_was_looked_at(package: str) -> None:
    try:
        found = licences(package)
    except PackageNotFoundError:
        marker = re.search(rf"^{re.escape(package)}==\S+ ; (.+?) \\$", LOCK, re.MULTILINE)
        assert marker, f"{package} is locked for every machine, and is not installed"
        return
    assert found, "names no licence"
    assert found <= LICENCES


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_locked_to_one_version_by_its_hashes(lock: str) -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", (HERE / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) >= len(PACKAGES)
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_audit_fails_where_something_could_not_be_audited() -> None:
    """Without --strict, pip-audit ends with 0 where the index tells nothing."""
    recipe = (HERE / "Makefile").read_text(encoding="utf-8").partition("\naudit-dependencies:")[2].splitlines()[1]
    assert "pip-audit --strict --require-hashes" in recipe
    assert "-r requirements.txt" in recipe
    assert not recipe.strip().startswith("-")


def test_the_hooks_of_a_commit_are_of_the_checkout_and_pass_their_own_check() -> None:
    config = HERE / ".pre-commit-config.yaml"
    command = [".venv/bin/pre-commit", "validate-config", str(config)]
    subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=60)
    text = config.read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    entries = re.findall(r"entry: (\S+)", text)
    assert entries
    assert [entry for entry in entries if not (HERE / entry).exists()] == []
