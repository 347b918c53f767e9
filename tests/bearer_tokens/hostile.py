"""Access tokens that no verifier may take, why the log says so, and tokens that every verifier takes.

They are of the issuer in LOCAL_ISSUER, for LOCAL_AUDIENCE, signed with the service's own key unless the name says more.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from tests.orchestrator.tokens import GONE, after, claims, good, headed, header, made, of, own_key, saying, sized

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = Ed25519PrivateKey.generate()


def with_hmac(secret: bytes) -> Callable[[], str]:
    return lambda: made(header(alg="HS256"), claims(), lambda text: hmac.digest(secret, text, hashlib.sha256))


def public_bytes(encoding: Any, form: Any) -> bytes:
    return own_key().public_key().public_bytes(encoding, form)


def raw_public() -> str:
    return with_hmac(public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))()


def pem_public() -> str:
    return with_hmac(public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))()


JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
SHORT = {"nonce": "n", "at_hash": "h", "c_hash": "h", "s_hash": "h"}
HOSTILE: dict[str, tuple[Callable[[], str], str]] = {
    "alg none": (lambda: made(header(alg="none"), claims(), lambda _: b""), "algorithm"),
    "alg none with a signature": (headed(alg="none"), "algorithm"),
    "alg None": (headed(alg="None"), "algorithm"),
    "alg HS256, signed with the public key's bytes": (raw_public, "algorithm"),
    "alg HS256, signed with the public key's PEM": (pem_public, "algorithm"),
    "alg HS256, signed with nothing": (with_hmac(b""), "algorithm"),
    "alg HS512": (headed(alg="HS512"), "algorithm"),
    "alg RS512": (headed(alg="RS512"), "algorithm"),
    "alg in small letters": (headed(alg="eddsa"), "algorithm"),
    "alg missing": (headed(alg=GONE), "algorithm"),
    "alg a list": (headed(alg=["EdDSA"]), "algorithm"),
    "alg RS256 under our key id": (lambda: jwt.encode(claims(), RSA_KEY, "RS256", header(alg="RS256")), "not for"),
    "alg PS256 under our key id": (lambda: jwt.encode(claims(), RSA_KEY, "PS256", header(alg="PS256")), "not for"),
    "alg ES256 under our key id": (lambda: jwt.encode(claims(), EC_KEY, "ES256", header(alg="ES256")), "not for"),
    "signed by somebody else": (lambda: made(header(), claims(), OTHER_KEY.sign), "Signature"),
    "signature cut off": (lambda: of(good(), 2, ""), "Signature"),
    "signature of another token": (lambda: of(good(), 2, saying(sub="bob")().split(".")[2]), "Signature"),
    "payload of another token": (lambda: of(good(), 1, saying(sub="root")().split(".")[1]), "Signature"),
    "kid missing": (headed(kid=GONE), "key id"),
    "kid unknown": (headed(kid="other"), "key id"),
    "kid a path": (headed(kid="../../../../dev/null"), "key id"),
    "kid SQL": (headed(kid="' OR '1'='1"), "key id"),
    "kid a number": (headed(kid=1), "malformed"),
    "kid empty": (headed(kid=""), "key id"),
    **{f"{name} in the header": (headed(**{name: value}), f"header not allowed: {name}") for name, value in {
        "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "x5c": ["MIIB"], "jwk": JWK,
        "zip": "DEF", "enc": "A256GCM",
    }.items()},
    "crit": (headed(crit=["exp"]), "malformed"),
    "crit of something unknown": (headed(crit=["http://example.com/x"]), "malformed"),
    "an embedded key that signed it": (lambda: made(header(jwk=JWK, kid="x"), claims(), OTHER_KEY.sign), "jwk"),
    "an unencoded payload": (headed(b64=False), "malformed"),
    **{f"{name} missing": (saying(**{name: GONE}), f'missing the "{name}"') for name in ("exp", "iat", "aud", "sub")},
    **{f"{name} null": (saying(**{name: None}), f'missing the "{name}"') for name in ("exp", "iat", "aud", "sub")},
    "iss missing": (saying(iss=GONE), "issuer"),
    "iss of somebody else": (saying(iss="https://evil.example"), "issuer"),
    "iss with a slash": (saying(iss=lambda: f"{settings.LOCAL_ISSUER}/"), "issuer"),
    "iss with a fragment": (saying(iss=lambda: f"{settings.LOCAL_ISSUER}#"), "issuer"),
    "iss a list": (saying(iss=lambda: [settings.LOCAL_ISSUER]), "issuer"),
    "aud of somebody else": (saying(aud="account"), "Audience"),
    "aud without us": (saying(aud=["account", "other"]), "Audience"),
    "aud that begins like us": (saying(aud="orchestrator2"), "Audience"),
    "aud empty": (saying(aud=[]), "aud"),
    "aud an object": (saying(aud={"orchestrator": 1}), "Audience"),
    "expired by 31 s": (saying(exp=after(-31)), "expired"),
    "not valid for another 90 s": (saying(nbf=after(90)), "not yet valid (nbf)"),
    "issued in the future": (saying(iat=after(90)), "not yet valid (iat)"),
    "exp a word": (saying(exp="tomorrow"), "exp"),
    "exp infinite": (saying(exp=float("inf")), "exp"),
    "exp of digits in a text": (saying(exp="4000000000"), "exp is no time"),
    "exp of four hundred digits": (saying(exp=10**400), "exp is no time"),
    "exp after the year 9999": (saying(exp=253_402_300_800), "exp is no time"),
    "iat of digits in a text": (saying(iat="1"), "iat is no time"),
    "iat before all times": (saying(iat=-(10**400)), "iat is no time"),
    "nbf true": (saying(nbf=True), "nbf is no time"),
    "exp a list": (saying(exp=[4_000_000_000]), "exp"),
    "nbf a word": (saying(nbf="now"), "nbf"),
    "iat an object": (saying(iat={}), "iat"),
    "sub empty": (saying(sub=""), "sub"),
    "sub of 256 characters": (saying(sub="a" * 256), "sub"),
    "sub a number": (saying(sub=7), "ubject"),
    "sub a list": (saying(sub=["alice"]), "ubject"),
    "sub with a line break": (saying(sub="alice\nroot"), "sub"),
    "sub with a NUL": (saying(sub="alice\0"), "sub"),
    "sub with a lone surrogate": (saying(sub="\ud800"), "sub"),
    "an ID token by its typ": (saying(typ="ID"), "typ of the payload"),
    **{f"an ID token by its {name}": (saying(**{name: value}), "an ID token") for name, value in SHORT.items()},
    "a refresh token": (saying(typ="Refresh"), "typ of the payload"),
    "an offline token": (saying(typ="Offline"), "typ of the payload"),
    "a logout token": (headed(typ="logout+jwt"), "typ of the header"),
    "a DPoP proof": (headed(typ="dpop+jwt"), "typ of the header"),
    "a secevent": (headed(typ="secevent+jwt"), "typ of the header"),
    "bound to a certificate": (saying(cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5"}), "bound to a key"),
    "bound to a DPoP key": (saying(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), "bound to a key"),
    "bound to nothing": (saying(cnf=None), "bound to a key"),
    "act a word": (saying(act="bot"), "act"),
    "act without sub": (saying(act={}), "sub"),
    "act with an empty sub": (saying(act={"sub": ""}), "sub"),
    "act with an iss that is no text": (saying(act={"sub": "bot", "iss": 1}), "iss"),
    "larger than 8 KiB": (lambda: sized(8193), "oversized"),
    "a megabyte": (lambda: "a" * 1_000_000, "oversized"),
    "nothing but dots": (lambda: "..", "malformed"),
    "one part": (lambda: "token", "malformed"),
    "two parts": (lambda: good().rsplit(".", 1)[0], "malformed"),
    "five parts (JWE)": (lambda: good() + ".a.b", "malformed"),
    "two tokens": (lambda: f"{good()} {good()}", "malformed"),
    "not base64": (lambda: of(good(), 1, "!!!!"), "malformed"),
    "a header that is no JSON": (lambda: made(b"{", claims()), "malformed"),
    "a header that is no object": (lambda: made([], claims()), "malformed"),
    "a header that is not UTF-8": (lambda: made(b"\xff", claims()), "malformed"),
    "a header nested deep": (lambda: made(b"[" * 4000, {}), "malformed"),
    "a payload that is no object": (lambda: made(header(), ["alice"]), "malformed"),
    "a payload nested deep": (lambda: made(header(), b'{"a":' + b"[" * 4000), "malformed"),
    "a payload that is not UTF-8": (lambda: made(header(), b'{"a":"\xff"}'), "malformed"),
    "not ASCII": (lambda: good() + "é", "malformed"),
}  # fmt: skip

TAKEN: dict[str, Callable[[], str]] = {
    "a good one": good,
    "of type JWT": headed(typ="JWT"),
    "without a type": headed(typ=GONE),
    "of the type's long name": headed(typ="application/at+jwt"),
    "of Keycloak's type Bearer": saying(typ="Bearer"),
    "for several audiences, us among them": saying(aud=["account", "orchestrator"]),
    "expired by 25 s": saying(exp=after(-25)),
    "valid from 25 s ahead": saying(nbf=after(25)),
    "issued 25 s ahead": saying(iat=after(25)),
    "with a subject of 255 characters": saying(sub="a" * 255),
    "of 8 KiB": lambda: sized(8192),
    "without a tenant": saying(tenant=GONE),
}
