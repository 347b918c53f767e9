"""What an issuer publishes: its discovery document, the addresses in it, and JSON over HTTP within bounds."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

FETCH_ERRORS = (OSError, HTTPException, ValueError)
"""What `fetch_json`, `post_form` and `discovered` raise."""

TIMEOUT_SECONDS = 2
FORM_TIMEOUT_SECONDS = 5
MAX_DOCUMENT_BYTES = 1024 * 1024
_PATH = "/.well-known/openid-configuration"
_ACCEPT = {"Accept": "application/json"}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuse redirects: the address is the one that was configured or discovered."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Raise HTTPError."""
        raise HTTPError(req.full_url, code, "redirected", headers, fp)


# Without a proxy of the environment, for the same reason.
_opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def fetch_json(url: str) -> dict[str, Any]:
    """Return the JSON object at an http or https address, within two seconds and a megabyte.

    Raises OSError, HTTPException or ValueError.
    """
    return _json(urllib.request.Request(_checked(url), headers=_ACCEPT), TIMEOUT_SECONDS)  # noqa: S310  checked


def post_form(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON object that answers a form, within five seconds and a megabyte. Raises as `fetch_json` does."""
    request = urllib.request.Request(  # noqa: S310  checked
        _checked(url), urlencode(form).encode(), {**_ACCEPT, **headers}
    )
    return _json(request, FORM_TIMEOUT_SECONDS)


def _checked(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("not an http or https address")
    return url


def _json(request: urllib.request.Request, timeout: float) -> dict[str, Any]:
    try:
        document = json.loads(_body(request, timeout))
    except RecursionError as error:
        raise ValueError("the document is nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError("the document is no object")
    return document


def _body(request: urllib.request.Request, timeout: float) -> bytes:
    until = time.monotonic() + timeout
    body = b""
    with _opener.open(request, timeout=timeout) as answer:
        while part := answer.read1(65536):
            body += part
            if len(body) > MAX_DOCUMENT_BYTES:
                raise ValueError("the document is too large")
            # The socket's own timeout starts again with every byte.
            if time.monotonic() > until:
                raise TimeoutError("timed out")
    return body


def discovered(issuer: str) -> dict[str, Any]:
    """Return the discovery document of an issuer (OpenID Connect Discovery, section 4). Raises as `fetch_json` does."""
    document = fetch_json(issuer.rstrip("/") + _PATH)
    if document.get("issuer") != issuer:
        raise ValueError("the discovery document is of another issuer")
    return document


def address_in(document: Mapping[str, Any], name: str) -> str | None:
    """Return an address that a discovery document names, or None where the document lacks it. Raises ValueError.

    The document of an https issuer names https addresses only. An address in plain http is taken from an http issuer
    alone, which only a development has: on such a network somebody else can answer in the issuer's name anyway.
    """
    address = document.get(name)
    if address is None:
        return None
    schemes = ("http", "https") if urlsplit(str(document["issuer"])).scheme == "http" else ("https",)
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or not parts.hostname or parts.scheme not in schemes:
        raise ValueError(f"{name} of the discovery document is no {' or '.join(schemes)} address")
    return str(address)


def key_fetcher(issuer: str, jwks_url: str) -> Callable[[], dict[str, Any]]:
    """Return a function that fetches the key set of an issuer: from an address or, without one, by discovery."""

    def fetch() -> dict[str, Any]:
        if jwks_url:
            return fetch_json(jwks_url)
        address = address_in(discovered(issuer), "jwks_uri")
        if address is None:
            raise ValueError("the discovery document names no jwks_uri")
        return fetch_json(address)

    return fetch
