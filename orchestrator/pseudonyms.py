"""Who called, for the log: the same word for the same somebody, which only we can lead back to them."""

from functools import lru_cache

from django.conf import settings
from django.utils.crypto import salted_hmac

from orchestrator.actors import Identity

_SALT = "orchestrator.pseudonyms"


@lru_cache(maxsize=4096)
def pseudonym(somebody: Identity) -> str:
    """HMAC-SHA256 over issuer and subject under a key that is derived from SECRET_KEY: its first 64 bits, in hex.

    A hash without a key would be none: subjects are few enough to try all of them.
    """
    # Framed: an issuer may hold any character but NUL.
    told = f"{somebody.issuer}\0{somebody.subject}"
    return salted_hmac(_SALT, told, secret=settings.SECRET_KEY, algorithm="sha256").hexdigest()[:16]
