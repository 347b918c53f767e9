"""GET /metrics, for Prometheus and nobody else: see docs/operations.md and docs/adr/0024."""

import logging
import os
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from orchestrator import rate_limit
from orchestrator.addresses import came_by_a_stranger, client_address, is_within
from orchestrator.auth import bearer
from orchestrator.catalogue import catalogue
from orchestrator.measuring import Measurements
from orchestrator.metric_files import FOLDER
from orchestrator.metrics import REFUSALS
from orchestrator.problem_responses import reads_only, response
from orchestrator.problems import Forbidden, Problem, Unauthenticated

log = logging.getLogger(__name__)
measurements = Measurements()

for _kind in catalogue():
    REFUSALS.labels(_kind.slug)


class Everything:
    """What all workers counted, and what is measured now."""

    def collect(self) -> Iterator[Metric]:
        """As a collector of prometheus_client's."""
        yield from self._counted()
        yield from measurements.collect()

    def _counted(self) -> Iterable[Metric]:
        if os.environ.get(FOLDER):
            return MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call,no-any-return]
        return REGISTRY.collect()


@reads_only
def metrics(request: HttpRequest) -> HttpResponse:
    """GET /metrics, in the text format or in OpenMetrics, whichever is asked for."""
    try:
        insist_may_scrape(request)
    except Problem as problem:
        return response(problem, request)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(Everything()), content_type=content_type)


def insist_may_scrape(request: HttpRequest) -> None:
    """By METRICS_TOKEN and METRICS_NETWORKS: whichever is set must be met, and where neither is, nobody may.

    Raises Forbidden, Unauthenticated, TooManyRequests.
    """
    token, networks = settings.METRICS_TOKEN, settings.METRICS_NETWORKS
    if not (token or networks):
        raise _refused(request, "neither METRICS_TOKEN nor METRICS_NETWORKS is set")
    address = client_address(request)
    if networks and came_by_a_stranger(request):
        # A proxy that we do not know may be on an address that we do.
        raise _refused(request, "it came by a proxy that TRUSTED_PROXIES does not name")
    if networks and not is_within(address, networks):
        raise _refused(request, "its address is not in METRICS_NETWORKS")
    sent = bearer(request)
    if token and not constant_time_compare(sent, token):
        log.info("scrape refused", extra={"request": request, "why": "its token is not METRICS_TOKEN"})
        rate_limit.take_failure(address)
        raise Unauthenticated(token_sent=bool(sent))


def _refused(request: HttpRequest, why: str) -> Forbidden:
    log.info("scrape refused", extra={"request": request, "why": why})
    return Forbidden("Metrics are for whoever scrapes them.")
