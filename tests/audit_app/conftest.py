"""Keys and an anchor of each test's own."""

from pathlib import Path
from typing import Any

import pytest

from tests.audit_app.seals import Place


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Path) -> Place:
    """Where the keys and the anchor lie, for the commands that this test runs."""
    settings.AUDIT_SEAL_KEY_FILE = tmp_path / "seal_key.pem"
    settings.AUDIT_SEAL_FORMER_KEY_FILE = tmp_path / "former_seal_key.pem"
    settings.AUDIT_SEAL_PUBLIC_KEYS = tmp_path / "keys"
    settings.AUDIT_ANCHOR_FILE = tmp_path / "anchor.ndjson"
    settings.AUDIT_CHECKPOINT_FILE = tmp_path / "anchor.checkpoint"
    return Place(tmp_path)
