"""How often a subject may call, and how often an address may fail to say who it is."""

import hashlib
import json
from functools import cache

from django.conf import settings

from orchestrator.actors import Actor
from orchestrator.addresses import counted_address
from orchestrator.buckets import Buckets, Rate, Taken
from orchestrator.problems import TooManyRequests
from orchestrator.redis import redis


@cache
def of_subjects() -> Buckets | None:
    """The buckets by subject and tenant, or None where RATE_LIMIT is not set."""
    return Buckets(Rate(*settings.RATE_LIMIT), redis()) if settings.RATE_LIMIT else None


@cache
def of_failures() -> Buckets | None:
    """The buckets of failed authentications by address, or None where AUTH_FAILURE_LIMIT is off."""
    return Buckets(Rate(*settings.AUTH_FAILURE_LIMIT), redis()) if settings.AUTH_FAILURE_LIMIT else None


@cache
def of_events() -> Buckets | None:
    """Return the buckets of events by tenant, or None where QUOTA_EVENTS is off."""
    return Buckets(Rate(*settings.QUOTA_EVENTS), redis()) if settings.QUOTA_EVENTS else None


def _key(kind: str, *parts: str) -> str:
    """Framed, so that no two callers share a bucket; hashed, so that Redis learns no names."""
    return f"rate:{kind}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def take(actor: Actor) -> dict[str, str]:
    """A call of this subject's: the headers that tell what is left, if anything is limited. Raises TooManyRequests."""
    buckets = of_subjects()
    if buckets is None:
        return {}
    taken = buckets.take(_key("subject", actor.tenant, actor.identity.issuer, actor.identity.subject))
    if not taken.allowed:
        raise TooManyRequests(taken.retry_after, headers(buckets.rate, taken))
    return headers(buckets.rate, taken)


def take_failure(address: str | None) -> None:
    """Count a failed authentication from an address, IPv6 by /64. Raise TooManyRequests where there were too many."""
    buckets = of_failures()
    if buckets is None:
        return
    taken = buckets.take(_key("failure", counted_address(address) or ""))
    if not taken.allowed:
        raise TooManyRequests(taken.retry_after, {})


def require_events(tenant: str) -> None:
    """Check that a tenant may record events. Raise TooManyRequests where it recorded too many."""
    buckets = of_events()
    if buckets is None:
        return
    taken = buckets.take(_key("events", tenant), 0)
    if not taken.allowed:
        raise TooManyRequests(taken.retry_after, headers(buckets.rate, taken, "events"))


def spend_events(tenant: str, count: int) -> None:
    """Count events that a call of a tenant recorded. The last call can leave its bucket in debt."""
    buckets = of_events()
    if buckets is not None:
        buckets.take(_key("events", tenant), count)


def headers(rate: Rate, taken: Taken, policy: str = "subject") -> dict[str, str]:
    """What the caller has left: RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "RateLimit-Policy": f'"{policy}";q={rate.calls};w={rate.seconds}',
        "RateLimit": f'"{policy}";r={taken.left};t={taken.retry_after}',
    }
