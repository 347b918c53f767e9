"""The service's own signing key: trusted where no identity provider is configured, made on the first run."""

import base64
import hashlib
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """The key in the file, which is made, readable by its owner alone, if it is not there.

    Raises OSError where the file cannot be read, ValueError where it holds something else.
    """
    if not path.exists():
        _make(path)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} does not hold an Ed25519 key.")
    return key


def _make(path: Path) -> None:
    """Written whole under another name and linked: of two that make one at once, the first stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(dir=path.parent) as unfinished:
        unfinished.write(pem)
        unfinished.flush()
        try:
            os.link(unfinished.name, path)
        except FileExistsError:
            return


def key_id(key: Ed25519PublicKey) -> str:
    """The key's name in token headers: the start of the SHA-256 of its bytes."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()[:12]).decode()
