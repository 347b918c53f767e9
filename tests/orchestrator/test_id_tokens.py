"""ID tokens that a login must refuse, and those it takes."""

import base64
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.people.models import Person
from tests.orchestrator.logging_in import ROLES, Browser, configured, is_page
from tests.orchestrator.oidc_provider import CLIENT_ID, CLIENT_SECRET, GONE, OidcProvider, _key

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


def the_person() -> Person:
    return Person.objects.get()


def _signed_with_the_public_key(token: str) -> str:
    """By hand: PyJWT would not."""
    pem = _key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = f"{_part({'alg': 'HS256', 'kid': 'key-1', 'typ': 'JWT'})}.{token.split('.')[1]}"
    signature = hmac.digest(pem, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


CLAIMS: dict[str, dict[str, Any]] = {
    "the nonce of another login": {"nonce": "another"},
    "no nonce": {"nonce": GONE},
    "a nonce that is no text": {"nonce": ["another"]},
    "another issuer": {"iss": "https://elsewhere.example"},
    "no issuer": {"iss": GONE},
    "for another client": {"aud": "another"},
    "for the API alone": {"aud": "orchestrator-api"},
    "for nobody": {"aud": GONE},
    "for several without saying to whom it was issued": {"aud": [CLIENT_ID, "another"]},
    "issued to another client": {"azp": "another"},
    "issued to nobody": {"azp": None},
    "over": {"exp": lambda: int(time.time()) - 31},
    "without an end": {"exp": GONE},
    "issued in the future": {"iat": lambda: int(time.time()) + 60},
    "without a time": {"iat": GONE},
    "too early": {"nbf": lambda: int(time.time()) + 60},
    "without a subject": {"sub": GONE},
    "with an empty subject": {"sub": ""},
    "with a subject that is no text": {"sub": 7},
    "with a subject too long": {"sub": "s" * 256},
    "an access token": {"typ": "Bearer"},
    "a refresh token": {"typ": "Refresh"},
    "a logout token": {"typ": "Logout"},
}


@pytest.mark.parametrize("changed", CLAIMS.values(), ids=CLAIMS)
def test_refuses_an_id_token(browser: Browser, changed: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    answer = browser.log_in(**changed)
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert b"could not be verified" in answer.content
    assert "ID token refused" in caplog.text
    assert not browser.is_in()
    assert not Person.objects.exists()


FORGED: dict[str, Callable[[OidcProvider, dict[str, Any]], Any]] = {
    "signed by another key": lambda p, c: p.signed(c, ec.generate_private_key(ec.SECP256R1())),
    "of an unknown key id": lambda p, c: p.signed(c, kid="another"),
    "unsigned": lambda _, c: jwt.encode(c, "", algorithm="none", headers={"kid": "key-1"}),
    "signed with the public key as a secret": lambda p, c: _signed_with_the_public_key(p.signed(c)),
    "signed with the client's secret": lambda p, c: p.signed(c, CLIENT_SECRET * 2, alg="HS256"),
    "that brings its own key": lambda p, c: p.signed(c, jwk={"kty": "EC"}),
    "that names where its key is": lambda p, c: p.signed(c, jku="https://elsewhere.example/keys"),
    "with its claims exchanged": lambda p, c: _exchanged(p.signed(c), {**c, "sub": "8"}),
    "that is no token": lambda *_: "abc",
    "that is empty": lambda *_: "..",
    "too large": lambda p, c: p.signed({**c, "filler": "x" * 8192}),
    "that is a list": lambda p, c: [p.signed(c)],
}


def _exchanged(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{_part(claims)}.{signature}"


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_refuses_a_forged_id_token(browser: Browser, provider: OidcProvider, forge: Callable[..., Any]) -> None:
    def claims(begun: str) -> dict[str, Any]:
        now = int(time.time())
        nonce = parse_qs(urlsplit(begun).query)["nonce"][0]
        basic = {"iss": provider.issuer, "sub": "7", "iat": now, "exp": now + 60, "aud": CLIENT_ID, "nonce": nonce}
        return {**basic, **ROLES}

    begun = browser.begin()
    assert browser.back(provider.grant(begun, id_token=provider.signed(claims(begun)))).status_code == 302
    Person.objects.update(email="untouched@example.com")
    other = Browser(provider)
    begun = other.begin()
    answer = other.back(provider.grant(begun, id_token=forge(provider, claims(begun))))
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert not other.is_in()
    assert the_person().email == "untouched@example.com"


def test_accepts_what_is_still_good(browser: Browser) -> None:
    for good in (
        {"exp": lambda: int(time.time()) - 29},
        {"iat": lambda: int(time.time()) + 20},
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
        {"typ": "ID", "azp": CLIENT_ID},
    ):
        assert Browser(browser.provider).log_in(**good).status_code == 302


def test_says_nothing_of_tokens_in_the_log(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    browser.log_in()
    browser.log_in(azp="another")
    # The request goes along with a line for its ids, and is never written itself.
    told = [{**record.__dict__, "request": None} for record in caplog.records if record.name.startswith("orchestrator")]
    said = " ".join(map(str, told))
    assert "ID token refused" in said
    assert "eyJ" not in said
    assert CLIENT_SECRET not in said
