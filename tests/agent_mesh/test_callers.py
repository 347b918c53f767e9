"""Which calls of a tool have the same key."""

import re

from agent_mesh.callers import RecentRequests, derived_key

SAID = {"target": "hr", "message": "The books are closed.", "context": {"a": 1, "b": [2]}}


def test_the_same_request_has_the_same_key_whatever_the_order_of_its_members() -> None:
    again = {"context": {"b": [2], "a": 1}, "message": "The books are closed.", "target": "hr"}
    assert derived_key("session", 7, "notify", SAID) == derived_key("session", 7, "notify", again)
    assert re.fullmatch(r"[0-9a-f]{64}", derived_key("session", 7, "notify", SAID))


def test_another_session_request_tool_or_word_has_another() -> None:
    keys = [
        derived_key("session", 7, "notify", SAID),
        derived_key("another", 7, "notify", SAID),
        derived_key("session", 8, "notify", SAID),
        derived_key("session", 7, "send_task", SAID),
        derived_key("session", 7, "notify", {**SAID, "target": "hr "}),
        # What would be the same if the parts were just put one after the other.
        derived_key("session 7", "", "notify", SAID),
        derived_key("sessio", "n7", "notify", SAID),
    ]
    assert len(set(keys)) == len(keys)


def test_without_a_session_the_same_request_is_the_same_for_a_minute() -> None:
    now = [1000.0]
    recent = RecentRequests(lambda: now[0])
    first = recent.key("issuer|mona", 7, "notify", SAID)
    now[0] += 59
    assert recent.key("issuer|mona", 7, "notify", SAID) == first
    assert recent.key("issuer|hans", 7, "notify", SAID) != first
    assert recent.key("issuer|mona", 8, "notify", SAID) != first
    now[0] += 2
    assert recent.key("issuer|mona", 7, "notify", SAID) != first


def test_what_is_remembered_has_a_limit() -> None:
    recent = RecentRequests(lambda: 1000.0)
    first = recent.key("issuer|mona", 0, "notify", {})
    for number in range(1, 10_000):
        recent.key("issuer|mona", number, "notify", {})
    assert recent.key("issuer|mona", 9_999, "notify", {}) == recent.key("issuer|mona", 9_999, "notify", {})
    assert len(recent._known) <= 10_000
    assert recent.key("issuer|mona", 0, "notify", {}) != first
