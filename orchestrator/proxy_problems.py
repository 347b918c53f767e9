"""Refusals of the proxy before the service, which never come from the service itself. docker/nginx tells them."""

from orchestrator.problems import Problem


class UriTooLong(Problem):
    """The path and the query together are longer than 4,000 bytes. Nothing was done."""

    status = 414
    slug = "uri-too-long"
    title = "The address is too long"


class HeadersTooLarge(Problem):
    """A header is longer than 12 KiB, or all of them together longer than 48 KiB. A token may have 8 KiB.

    Nothing was done.
    """

    status = 431
    slug = "headers-too-large"
    title = "The headers are too large"


class BadGateway(Problem):
    """No instance of the service could be reached, or one ended before it had answered.

    Whether the request had its effect is not known. Send it again with the same `Idempotency-Key`: it then has its
    effect once, and you get its answer. Without a key, look before you send it again.
    """

    status = 502
    slug = "bad-gateway"
    title = "The service did not answer"


class GatewayTimeout(Problem):
    """The service was not done in the time that the proxy waits for it, a minute unless set.

    Whether the request has its effect is not known. Send it again with the same `Idempotency-Key`: it then has its
    effect once, and you get its answer. Without a key, look before you send it again.
    """

    status = 504
    slug = "gateway-timeout"
    title = "The service did not answer in time"
