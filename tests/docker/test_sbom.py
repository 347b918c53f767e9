"""`make sbom`: a bill of materials that CycloneDX's own schema accepts, with everything that is locked."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cyclonedx
import jsonschema_rs
import pytest

from tests.gunicorn_server import HERE

SCHEMAS = Path(cyclonedx.__file__).parent / "schema" / "_res"


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.SNAPSHOT.schema.json").read_text())


@pytest.mark.slow
def test_names_every_locked_package_with_its_hashes_as_the_schema_has_it() -> None:
    command = [sys.executable, "docker/sbom.py", "requirements.txt"]
    bom = json.loads(subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout)
    others = ("spdx", "jsf-0.82", "cryptography-defs")
    places = [(f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema(name)) for name in others]
    registry = jsonschema_rs.Registry(places)
    validator = jsonschema_rs.validator_for(schema("bom-1.6"), registry=registry)
    assert list(validator.iter_errors(bom)) == []
    assert not validator.is_valid({**bom, "components": [{"name": "of no type"}]})
    lock = (HERE / "requirements.txt").read_text()
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    assert {one["name"]: one["version"] for one in bom["components"]} == locked
    hashes = {known["content"] for one in bom["components"] for known in one["externalReferences"][0]["hashes"]}
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    assert bom["metadata"]["component"]["name"] == "orchestrator"
