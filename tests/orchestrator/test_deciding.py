"""Whose signature counts on a decision: of which kind, by which way in, after which login."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from django.utils import timezone

from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.auth import verify
from orchestrator.deciding import may_sign, require_signature
from orchestrator.problems import ClientMayNotDecide, InsufficientUserAuthentication
from tests.api import token
from tests.orchestrator.tokens import GONE, saying

PETRA = Actor(
    Identity("https://id.example", "petra"),
    "default",
    Kind.PERSON,
    Origin(Via.API),
    roles=frozenset({Role.APPROVER}),
    client="orchestrator-web",
)
AT_THE_ADMIN = replace(PETRA, origin=Origin(Via.ADMIN), client="")


@pytest.fixture(autouse=True)
def clients(settings: Any) -> None:
    settings.OIDC_DECIDING_CLIENTS = ("orchestrator-web",)


def refused(actor: Actor) -> InsufficientUserAuthentication:
    with pytest.raises(InsufficientUserAuthentication) as raised:
        require_signature(actor)
    return raised.value


# The way in.


@pytest.mark.parametrize("actor", [PETRA, AT_THE_ADMIN], ids=["by API", "in the admin"])
def test_a_person_signs_by_a_deciding_client_and_in_the_admin(actor: Actor) -> None:
    assert may_sign(actor)
    require_signature(actor)


@pytest.mark.parametrize(
    "changes",
    [
        *({"kind": kind} for kind in (Kind.AGENT, Kind.SERVICE_ACCOUNT, Kind.JOB, "human", "person ")),
        {"on_behalf_of": Identity("https://id.example", "paul")},
        *({"client": client} for client in ("", "chat", "Orchestrator-Web", "orchestrator-web ")),
        *({"origin": Origin(cast(Via, via))} for via in (Via.MESH, Via.JOB, "post")),
        # The client of local tokens decides for the local issuer alone, and no other client does there.
        {"client": "issue_token"},
        {"identity": Identity("local", "petra")},
    ],
    ids=str,
)
def test_nothing_else_signs(changes: dict[str, Any]) -> None:
    actor = replace(PETRA, **changes)
    assert not may_sign(actor)
    with pytest.raises(ClientMayNotDecide):
        require_signature(actor)


@pytest.mark.parametrize("changes", [{"kind": Kind.SERVICE_ACCOUNT}, {"on_behalf_of": PETRA.identity}], ids=str)
def test_the_admin_is_a_way_in_for_persons_alone(changes: dict[str, Any]) -> None:
    assert not may_sign(replace(AT_THE_ADMIN, **changes))


def test_without_the_setting_people_decide_in_the_admin_alone(settings: Any) -> None:
    settings.OIDC_DECIDING_CLIENTS = ()
    assert not may_sign(PETRA)
    assert not may_sign(replace(PETRA, client=""))
    assert may_sign(AT_THE_ADMIN)


def test_the_refusal_names_the_client() -> None:
    with pytest.raises(ClientMayNotDecide, match="chat"):
        require_signature(replace(PETRA, client="chat"))


def local(**options: Any) -> Actor:
    return verify(token("petra", "approver", "manager", **options), Origin(Via.API))


def test_local_tokens_decide_by_api_without_any_setting(settings: Any) -> None:
    settings.OIDC_DECIDING_CLIENTS = ()
    assert may_sign(local())
    assert not may_sign(local(client="chat"))
    assert not may_sign(local(service_account=True))
    assert not may_sign(verify(token("petra", "agent,approver", "manager", act_subject="bot"), Origin(Via.API)))


@pytest.mark.parametrize("changes", [{"kind": GONE}, {"azp": GONE}, {"kind": GONE, "azp": GONE}], ids=str)
def test_a_local_token_of_an_older_version_works_and_does_not_decide(changes: dict[str, Any]) -> None:
    known = verify(saying(**changes)(), Origin(Via.API))
    assert known.roles == {Role.AGENT}
    assert not may_sign(known)


# The login.


def logged_in(ago: float | None = None, acr: str = "", of: Actor = PETRA) -> Actor:
    at = None if ago is None else timezone.now() - timedelta(seconds=ago)
    return replace(of, acr=acr, authenticated_at=at)


def test_any_login_will_do_unless_something_is_required() -> None:
    require_signature(logged_in())


@pytest.mark.parametrize("of", [PETRA, AT_THE_ADMIN], ids=["by API", "in the admin"])
def test_a_login_of_one_of_the_levels_is_required(settings: Any, of: Actor) -> None:
    settings.APPROVAL_ACR_VALUES = ("phrh", "mfa")
    for acr in settings.APPROVAL_ACR_VALUES:
        require_signature(logged_in(acr=acr, of=of))
    for acr in ("", "1", "MFA", "phrh mfa"):
        problem = refused(logged_in(5, acr, of))
        assert problem.headers == {
            "WWW-Authenticate": 'Bearer error="insufficient_user_authentication", acr_values="phrh mfa"'
        }
        assert problem.members == {"acr_values": ["phrh", "mfa"], "max_age": None}
    assert (problem.status, problem.slug) == (401, "insufficient-user-authentication")


@pytest.mark.parametrize("of", [PETRA, AT_THE_ADMIN], ids=["by API", "in the admin"])
def test_a_recent_login_is_required(settings: Any, of: Actor) -> None:
    settings.APPROVAL_MAX_AUTH_AGE_SECONDS = 300
    for recent in (0, 299, -25):
        require_signature(logged_in(recent, of=of))
    for ago in (None, 301, 90_000, -35):
        problem = refused(logged_in(ago, "mfa", of))
        assert problem.headers == {"WWW-Authenticate": 'Bearer error="insufficient_user_authentication", max_age="300"'}
        assert problem.members == {"acr_values": [], "max_age": 300}


def test_the_challenge_names_all_that_is_required_whatever_is_missing(settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("mfa",), 300
    require_signature(logged_in(5, "mfa"))
    whole = 'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="300"'
    for actor in (logged_in(5, "1"), logged_in(301, "mfa"), logged_in(None, "mfa"), logged_in()):
        assert refused(actor).headers["WWW-Authenticate"] == whole


def test_another_client_is_refused_before_its_login_is_judged(settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES = ("mfa",)
    with pytest.raises(ClientMayNotDecide):
        require_signature(replace(PETRA, client="chat"))


@pytest.mark.parametrize(
    ("claim", "at"),
    [
        (1_790_000_000, datetime.fromtimestamp(1_790_000_000, UTC)),
        (1_790_000_000.5, datetime.fromtimestamp(1_790_000_000.5, UTC)),
        *((bad, None) for bad in (GONE, None, 0, -1, True, "1790000000", [1_790_000_000], 10**30, 1e300)),
    ],
    ids=ascii,
)
def test_a_token_says_when_the_person_logged_in(claim: Any, at: datetime | None) -> None:
    assert verify(saying(auth_time=claim)(), Origin(Via.API)).authenticated_at == at


@pytest.mark.parametrize(
    ("claim", "acr"),
    [("mfa", "mfa"), *((bad, "") for bad in (GONE, None, "", " ", 1, ["mfa"], "x" * 256, "m\nfa"))],
    ids=ascii,
)
def test_a_token_says_how_strongly_the_person_logged_in(claim: Any, acr: str) -> None:
    assert verify(saying(acr=claim)(), Origin(Via.API)).acr == acr


def test_a_local_token_can_name_a_level_and_says_when_it_was_issued() -> None:
    known = local(acr="mfa")
    assert known.acr == "mfa"
    assert known.authenticated_at is not None
    assert abs((timezone.now() - known.authenticated_at).total_seconds()) < 10
