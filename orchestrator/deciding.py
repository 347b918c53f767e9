"""Whose approve or reject counts: a person's, through a way in that is trusted for it, after a login that is enough."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from orchestrator.actors import Actor, Kind, Via
from orchestrator.problems import ClientMayNotDecide, InsufficientUserAuthentication

CLOCK_SKEW = timedelta(seconds=30)
"""How far the identity provider's clock may be ahead of this one."""


def may_sign(actor: Actor) -> bool:
    """Return whether a decision of this actor can count: a person, acting for themselves, through a trusted way in.

    Whether the login is strong and recent enough is left to `require_signature`, since a new login can mend that.
    """
    return actor.kind is Kind.PERSON and actor.on_behalf_of is None and _is_trusted_way_in(actor)


def require_signature(actor: Actor) -> None:
    """Raise the problem that keeps this actor from signing a decision, if there is one.

    Raises ClientMayNotDecide where `may_sign` is false, and InsufficientUserAuthentication for a login that is weaker
    than APPROVAL_ACR_VALUES or older than APPROVAL_MAX_AUTH_AGE_SECONDS, or that does not say (RFC 9470).
    """
    if not may_sign(actor):
        raise ClientMayNotDecide(_client_detail(actor))
    if (detail := _missing(actor)) is not None:
        raise InsufficientUserAuthentication(
            detail,
            acr_values=settings.APPROVAL_ACR_VALUES,
            max_age=settings.APPROVAL_MAX_AUTH_AGE_SECONDS or None,
        )


def _is_trusted_way_in(actor: Actor) -> bool:
    if actor.origin.via is Via.ADMIN:
        return True
    if actor.origin.via is not Via.API or not actor.client:
        return False
    if actor.identity.issuer == settings.LOCAL_ISSUER:
        return actor.client == settings.LOCAL_CLIENT
    return actor.client in settings.OIDC_DECIDING_CLIENTS


def _client_detail(actor: Actor) -> str:
    if not actor.client:
        return "Your token names no client that may decide. Decide in the admin."
    return f"Tokens of the client {actor.client} may not decide. Decide in the admin."


def _missing(actor: Actor) -> str | None:
    """Return what the login lacks, or None."""
    if settings.APPROVAL_ACR_VALUES and actor.acr not in settings.APPROVAL_ACR_VALUES:
        return f"Your login must be of the level {' or '.join(settings.APPROVAL_ACR_VALUES)}. Log in again."
    most = settings.APPROVAL_MAX_AUTH_AGE_SECONDS
    if not most:
        return None
    if actor.authenticated_at is None:
        return "It is not known when you logged in. Log in again."
    age = timezone.now() - actor.authenticated_at
    if not -CLOCK_SKEW <= age <= timedelta(seconds=most):
        return f"Your login must be at most {most} seconds old. Log in again."
    return None
