"""The keys of the seals: Ed25519 (RFC 8032), outside the database, so that who owns it cannot seal.

The private key signs. Each public key that ever did stays in a folder, by its id, for whoever verifies.
"""

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from orchestrator import local_key

PublicKeys = Mapping[str, Ed25519PublicKey]
"""By key id."""


def signing_key() -> Ed25519PrivateKey:
    """The key that signs now; made, readable by its owner alone, where there is none. Raises OSError, ValueError."""
    return local_key.load_or_make(settings.AUDIT_SEAL_KEY_FILE)


def former_key() -> Ed25519PrivateKey | None:
    """The key that signed before, kept for the one seal with which the key changes. Raises OSError, ValueError."""
    path: Path = settings.AUDIT_SEAL_FORMER_KEY_FILE
    return local_key.load_or_make(path) if path.exists() else None


def key_id(key: Ed25519PublicKey) -> str:
    """A key's name: the first 32 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(raw(key)).hexdigest()[:32]


def raw(key: Ed25519PublicKey) -> bytes:
    """A public key's 32 bytes."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def publish(key: Ed25519PublicKey) -> None:
    """Keep a public key for whoever verifies, unless it is there. Raises OSError."""
    folder: Path = settings.AUDIT_SEAL_PUBLIC_KEYS
    path = folder / f"{key_id(key)}.pem"
    if key_id(key) in published(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    # Whole or not at all: a file that a crash cut short would be as if it were not.
    unfinished = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    unfinished.write_bytes(pem)
    unfinished.replace(path)


def published(folder: Path) -> PublicKeys:
    """The public keys of a folder. A file that holds none, or under another name than its id, is as if it were not."""
    found = {}
    for path in sorted(folder.glob("*.pem")) if folder.is_dir() else ():
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(key, Ed25519PublicKey) and key_id(key) == path.stem:
            found[path.stem] = key
    return found


def is_by(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    """Whether a signature of these bytes is that key's."""
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True
