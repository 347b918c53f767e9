"""Where a request really came from, when it came through proxies of ours."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The caller's address: the last in X-Forwarded-For that is no proxy of ours (TRUSTED_PROXIES), if it came by one.

    What stands further left was written by strangers. On a unix socket only a proxy can have called.
    """
    peer = request.META.get("REMOTE_ADDR") or ""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _is_ours(peer):
        peer = hops.pop()
    return str(_address(peer)) if _is_address(peer) else None


def counted_address(address: str | None) -> str | None:
    """Return what failures are counted by: an IPv4 address itself, the first address of the /64 of an IPv6 address.

    A subscriber commonly gets a whole /64 (RFC 6177), so counting single IPv6 addresses would limit nothing.
    """
    if address is None:
        return None
    read = _address(address)
    return str(read if isinstance(read, IPv4Address) else IPv6Network((read, 64), strict=False).network_address)


def counted_client(request: HttpRequest) -> str | None:
    """Return what failures of a request's client are counted by. django-axes calls this."""
    return counted_address(client_address(request))


def came_by_a_stranger(request: HttpRequest) -> bool:
    """Whether a proxy that is none of ours, or somebody who poses as one, handed it on."""
    handed_on = any(name in request.headers for name in ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via"))
    return handed_on and not _is_ours(request.META.get("REMOTE_ADDR") or "")


def is_within(address: str | None, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an address as `client_address()` tells it is in one of these."""
    return address is not None and any(_address(address) in network for network in networks)


def _is_ours(peer: str) -> bool:
    if not peer:
        return True
    return _is_address(peer) and is_within(peer, settings.TRUSTED_PROXIES)


def _address(text: str) -> IPv4Address | IPv6Address:
    """One caller has one address: on a socket for both kinds an IPv4 caller comes as ::ffff:192.0.2.7."""
    read = ip_address(text)
    return (read.ipv4_mapped if isinstance(read, IPv6Address) else None) or read


def _is_address(text: str) -> bool:
    """An address without a zone, which means nothing elsewhere and which PostgreSQL does not keep."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
