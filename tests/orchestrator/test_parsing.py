"""The strict JSON parser, by itself and in front of POST /sessions."""

import json
import math
import re
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.parsing import parse
from orchestrator.problems import InvalidJson
from tests.api import Api

MIB = 1024 * 1024
MAX_DEPTH, MAX_NODES, MAX_INT = 32, 10_000, 2**53
MEDIA_TYPES_REFUSED = (
    "application/json; charset=utf-7",
    "application/json; charset=utf-16",
    "application/json; charset=iso-8859-1",
    "application/json; charset=no-such-charset",
    "application/json; charset=utf-8; charset=utf-7",
    "application/json; charset*=utf-8''utf-7",
    "application/json; charset",
    "application/merge-patch+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/json",
    "application/jsonp",
    "application/json, text/plain",
    "",
)
MEDIA_TYPES_TAKEN = (
    "application/json",
    "Application/JSON; Charset=UTF-8",
    'application/json; charset="utf-8"',
    "application/json;charset=utf8",
    "application/json; profile=x",
)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def body(metadata: str) -> bytes:
    """A body of POST /sessions that is valid but for what `metadata` brings along."""
    return b'{"agent_role": "finance", "metadata": {"a": ' + metadata.encode("utf-8", "surrogatepass") + b"}}"


TAKEN = {
    "plain": '{"b": [1, 2.5, "é", null, true]}',
    "the largest whole number": str(MAX_INT),
    "the smallest whole number": str(-MAX_INT),
    "an escaped emoji": r'"😀"',
    "32 levels": nested(MAX_DEPTH - 2),
    "10,000 values": json.dumps([0] * (MAX_NODES - 4)),
    "an empty key": '{"": 1}',
    "a key like another in case alone": '{"a": 1, "A": 2}',
    "a negative zero": "-0.0",
    "a number that PostgreSQL writes out as digits": "1e16",
    "the largest double": "1.7976931348623157e308",
    "the smallest double": "5e-324",
    "a whole number beyond 2^53 as a fraction": "-9007199254740994.0",
    "a fraction that a double keeps": "90071992547409.92",
    "a fraction with a zero at its end": "1.10",
    "a whole number with an exponent": "1E5",
    "a zero with an endless exponent": "-0e-99999999999999999999",
    "a fraction of 400 characters": "0.5" + "0" * 397,
}
REFUSED = {
    "100,000 levels": (nested(100_000), "levels"),
    "33 levels": (nested(MAX_DEPTH - 1), "levels"),
    "33 levels of objects": ('{"a":' * (MAX_DEPTH - 1) + "0" + "}" * (MAX_DEPTH - 1), "levels"),
    "10,001 values": (json.dumps([0] * (MAX_NODES - 3)), "values"),
    "10,001 values in many lists": (json.dumps([[0]] * (MAX_NODES // 2)), "values"),
    "an escaped NUL in a value": (r'"a\u0000b"', "NUL"),
    "an escaped NUL in a key": (r'{"a\u0000b": 1}', "NUL"),
    "a NUL deep inside": (r'[[{"b": ["\u0000"]}]]', "NUL"),
    "a raw NUL": ('"a\x00b"', "control character"),
    "a raw line break in a text": ('"a\nb"', "control character"),
    "a lone high surrogate": (r'"\ud800"', "surrogate"),
    "a lone low surrogate": (r'"\udfff x"', "surrogate"),
    "surrogates in the wrong order": (r'"\ude00\ud83d"', "surrogate"),
    "a lone surrogate in a key": (r'{"\ud800": 1}', "surrogate"),
    "a surrogate in UTF-8": ('"\ud800"', "UTF-8"),
    "a key twice": ('{"b": 1, "b": 1}', "twice"),
    "a key twice, once escaped": (r'{"b": 1, "\u0062": 2}', "twice"),
    "one more than the largest whole number": (str(MAX_INT + 1), "2^53"),
    "one less than the smallest whole number": (str(-MAX_INT - 1), "2^53"),
    "a whole number of a million digits": ("9" * 1_000_000, "2^53"),
    "a negative whole number of a million digits": ("-" + "9" * 1_000_000, "2^53"),
    "a fraction that a double does not keep": ("90071992547409.921", "as text"),
    "a whole number that a double does not keep": ("9007199254740993.0", "as text"),
    "a digit too many": ("0.30000000000000001", "as text"),
    "a number between the smallest double and zero": ("1e-400", "as text"),
    "a number near the smallest double": ("4e-324", "as text"),
    "a number with an endless negative exponent": ("1e-99999999999999999999", "as text"),
    "a fraction of 401 characters": ("0.5" + "0" * 398, "more than 400 characters"),
    "a fraction of a million digits": ("0." + "3" * 1_000_000, "more than 400 characters"),
    "a number too large for a double": ("1e400", "too large"),
    "a number far too large for a double": ("1e999999999", "too large"),
    "a negative number too large for a double": ("-1e400", "too large"),
    "an exponent of a million digits": ("1e" + "9" * 1_000_000, "more than 400 characters"),
    "NaN": ("NaN", "NaN"),
    "Infinity": ("Infinity", "Infinity"),
    "-Infinity": ("-Infinity", "Infinity"),
    "a leading zero": ("01", "delimiter"),
    "a leading plus": ("+1", "Expecting value"),
    "a hexadecimal number": ("0x1", "delimiter"),
    "a bare fraction": (".5", "Expecting value"),
    "single quotes": ("'a'", "Expecting value"),
    "a trailing comma": ("[1,]", "line 1, column"),
    "a comment": ("1 /* one */", "delimiter"),
    "an unknown escape": (r'"\x41"', "escape"),
    "white space that is not JSON's": ("\u00a01", "Expecting value"),
}
WHOLE_BODIES_REFUSED = {
    "trailing garbage": body("1") + b"x",
    "two values": body("1") + body("1"),
    "a trailing NUL": body("1") + b"\x00",
    "half a body": body("1")[:-1],
    "white space alone": b" \r\n\t",
    "a byte order mark": b"\xef\xbb\xbf" + body("1"),
    "a byte order mark after a space": b" \xef\xbb\xbf" + body("1"),
    "UTF-16": body("1").decode().encode("utf-16"),
    "UTF-16 without its mark": body("1").decode().encode("utf-16-le"),
    "UTF-32": body("1").decode().encode("utf-32"),
    "Latin-1": body('"é"').decode().encode("latin-1"),
    "an overlong encoding": b'{"agent_role": "finance\xc0\x80"}',
    "half a character": b'{"agent_role": "\xe2\x82"}',
    "beyond Unicode": b'{"agent_role": "\xf5\x80\x80\x80"}',
    "a mebibyte of brackets": b"[" * MIB,
    "a mebibyte of opened objects": (b'{"":' * MIB)[:MIB],
}

EXACT = ("1.0", "1e2", "0.1", "1.10", "90071992547409.92", "5e-324", "1E5", "-0.0", "9007199254740992.0", "1e22")
quick = settings(max_examples=100, deadline=None, database=None)
many = settings(max_examples=1000, deadline=None, database=None)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
numbers = st.integers(-MAX_INT, MAX_INT) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda number: number + 0.0
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=MAX_DEPTH - 2,
)
digits = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
_TOKENS = (
    *('{"', '":', "}", "[", "]", ",", '"', "\\", r"\u0000", r"\ud800", r"\udc00", "1", "-", "0.5", "e9", "9" * 30),
    *("NaN", "Infinity", "null", "true", " ", "\n", "a", "é", "😀", "\x00", "{}", "[]", '"a":1'),
)
near_json = st.lists(st.sampled_from(_TOKENS), max_size=40).map(lambda tokens: "".join(tokens).encode())


@pytest.mark.parametrize("metadata", TAKEN.values(), ids=TAKEN)
def test_reads_what_json_reads(metadata: str) -> None:
    assert parse(body(metadata)) == json.loads(body(metadata))


@pytest.mark.parametrize(("metadata", "told"), REFUSED.values(), ids=REFUSED)
def test_refuses_within_a_second_and_says_why(metadata: str, told: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidJson) as refusal:
        parse(body(metadata))
    assert told in refusal.value.detail
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("raw", [*WHOLE_BODIES_REFUSED.values(), b""], ids=[*WHOLE_BODIES_REFUSED, "nothing"])
def test_refuses_a_body_that_is_not_one_json_text_in_utf_8(raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse(raw)


@quick
@given(values, st.booleans(), st.sampled_from([None, 2]))
def test_any_value_within_the_limits_is_read_as_json_reads_it(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert repr(parse(text.encode())) == repr(json.loads(text)) == repr(value)


@pytest.mark.parametrize("text", EXACT)
def test_a_number_is_taken_that_a_double_keeps(text: str) -> None:
    assert parse(text.encode()) == float(text)


@many
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_shortest_text_of_every_double_is_taken_and_kept(number: float) -> None:
    assert repr(parse(repr(number).encode())) == repr(number + 0.0)


@many
@given(digits)
def test_digits_are_taken_exactly_where_a_double_has_their_value(text: str) -> None:
    number = float(text)
    kept = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
    if re.fullmatch("-?[0-9]+", text):
        kept = abs(int(text)) <= MAX_INT
    try:
        assert parse(text.encode()) == number
    except InvalidJson:
        assert not kept
    else:
        assert kept


@quick
@given(st.binary(max_size=200) | near_json)
def test_whatever_comes_is_either_read_as_json_reads_it_or_refused(raw: bytes) -> None:
    try:
        value = parse(raw)
    except InvalidJson:
        return
    assert repr(value) == repr(json.loads(raw))
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_comes_back_as_it_was_sent(agent: Api, name: str) -> None:
    created = agent.send_raw("POST", "/sessions", body(TAKEN[name]))
    assert created.status_code == 201
    path = created.headers["Location"]
    read = agent.get(path).json()
    assert read["metadata"] == created.json()["metadata"] == {"a": json.loads(TAKEN[name])}
    sent = body(TAKEN[name]).replace(b'"agent_role": "finance", ', b"")
    for same in (sent, json.dumps({"metadata": read["metadata"]}).encode()):
        again = agent.send_raw("PUT", path, same)
        assert (again.status_code, again.json()["version"]) == (200, 1)


@pytest.mark.django_db(transaction=True)
def test_takes_a_body_with_white_space(agent: Api) -> None:
    raw = b'\r\n\t {"agent_role" : "finance" , "metadata": {"b": null}}\n '
    assert agent.send_raw("POST", "/sessions", raw).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_an_empty_body_counts_as_an_empty_object(agent: Api) -> None:
    bodies = [agent.send_raw("POST", "/sessions", b"", content_type) for content_type in ("", "application/json")]
    for answer in [*bodies, agent.post("/sessions", {})]:
        assert answer.status_code == 400
        assert answer.json()["type"] == "/problems/invalid-request"
        assert [error["field"] for error in answer.json()["errors"]] == ["agent_role"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("media_type", MEDIA_TYPES_TAKEN)
def test_takes_json_in_utf_8_however_it_is_named(agent: Api, media_type: str) -> None:
    assert agent.send_raw("POST", "/sessions", body("1"), media_type).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_key_does_not_replay_for_another_sum(agent: Api) -> None:
    """Two amounts that one double stands for would have one fingerprint: so neither comes so far."""
    kept = agent.send_raw("POST", "/sessions", body("90071992547409.92"), Idempotency_Key="pay-1")
    assert kept.status_code == 201
    for amount in ("90071992547409.921", "90071992547409.923", "90071992547409.9200001"):
        assert_invalid_json(agent.send_raw("POST", "/sessions", body(amount), Idempotency_Key="pay-1"))
        assert_invalid_json(agent.send_raw("POST", "/sessions", body(amount), Idempotency_Key=f"pay-{amount}"))
    same = agent.send_raw("POST", "/sessions", body("90071992547409.920"), Idempotency_Key="pay-1")
    assert (same.status_code, same.headers["Idempotent-Replayed"]) == (201, "true")
    assert agent.send_raw("POST", "/sessions", body("9.0"), Idempotency_Key="pay-1").status_code == 422


# No database from here on: whoever reached it would answer 500.


@pytest.mark.parametrize(("metadata", "told"), REFUSED.values(), ids=REFUSED)
def test_the_api_answers_400_and_why(agent: Api, metadata: str, told: str) -> None:
    answer = agent.send_raw("POST", "/sessions", body(metadata))
    assert_invalid_json(answer)
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("raw", WHOLE_BODIES_REFUSED.values(), ids=WHOLE_BODIES_REFUSED)
def test_the_api_answers_400_to_what_is_not_json(agent: Api, raw: bytes) -> None:
    assert_invalid_json(agent.send_raw("POST", "/sessions", raw))


@pytest.mark.parametrize("media_type", MEDIA_TYPES_REFUSED)
def test_refuses_another_media_type_or_charset(agent: Api, media_type: str) -> None:
    answer = agent.send_raw("POST", "/sessions", body("1"), media_type)
    assert answer.status_code == 415
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/unsupported-media-type"


def assert_invalid_json(answer: Any) -> None:
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/invalid-json"
