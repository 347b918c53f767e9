"""Who acts, and through what. Travels in the arguments of every change, never in ambient state."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from django.db.models import TextChoices


class Kind(TextChoices):
    """What kind of actor it is."""

    PERSON = "person"
    AGENT = "agent"
    SERVICE_ACCOUNT = "service_account"
    JOB = "job"


class Via(TextChoices):
    """The way in."""

    API = "api"
    ADMIN = "admin"
    JOB = "job"
    MESH = "mesh"


class Role(TextChoices):
    """What an actor may do; see docs/security.md for the table."""

    AGENT = "agent"
    APPROVER = "approver"
    AUDITOR = "auditor"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, known by issuer and subject (OpenID Connect Core, section 5.7): never by e-mail or user name."""

    issuer: str
    subject: str

    @classmethod
    def if_any(cls, issuer: str | None, subject: str | None) -> "Identity | None":
        """Of two columns that are empty where there is nobody."""
        return None if issuer is None or subject is None else cls(issuer, subject)

    def __str__(self) -> str:
        return f"{self.issuer}|{self.subject}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an act came from, for the trail: the request that carried it."""

    via: Via
    request_id: str = ""
    trace_id: str = ""
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Someone who acts: a person, an agent or a service account within one tenant, or a job within all."""

    identity: Identity
    tenant: str
    kind: Kind
    origin: Origin
    roles: frozenset[Role] = frozenset()
    agent_roles: frozenset[str] = field(default_factory=frozenset)
    on_behalf_of: Identity | None = None

    # The client that the token was issued to (`azp`, `client_id`, `cid` or `appid`), or "" where the token names none.
    client: str = ""
    # How strongly and when the person logged in: OpenID Connect Core, section 2, `acr` and `auth_time`.
    acr: str = ""
    authenticated_at: datetime | None = None

    # DRF asks its request.user for this, and nothing else.
    is_authenticated = True

    def has(self, *roles: Role) -> bool:
        """Whether the actor holds any of these roles."""
        return not self.roles.isdisjoint(roles)

    def through(self, origin: Origin) -> Self:
        """The same actor, coming another way."""
        return replace(self, origin=origin)


DEFAULT_TENANT = "default"
"""The tenant of what is the installation's own, such as the keys of the seals."""


def job(name: str) -> Actor:
    """A command or sweep of the service itself: issuer `local`, subject `job:<name>`, an operator of every tenant."""
    return Actor(
        identity=Identity("local", f"job:{name}"),
        tenant="",
        kind=Kind.JOB,
        origin=Origin(Via.JOB),
        roles=frozenset({Role.OPERATOR}),
    )
