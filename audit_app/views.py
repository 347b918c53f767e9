"""/audit"""

import json
from typing import ClassVar

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app import exporting, feed, ingesting, permissions
from audit_app.docs import documented_events, documented_export, documented_ingest
from audit_app.exporting import FORMATS, Export, Listed
from audit_app.filters import EVENT_FILTERS
from audit_app.models import AuditEvent
from audit_app.serializers import IngestBody, event_out, events_out
from orchestrator import pagination
from orchestrator.actors import Actor, Role
from orchestrator.filters import conditions, filter_scope
from orchestrator.pagination import PARAMETERS, Order
from orchestrator.problems import InvalidRequest
from orchestrator.traces import TRACE_ID
from orchestrator.views import ApiViewSet, given, read_body, read_id

ORDER = "order"
_ORDERS = {"newest": Order("timestamp"), "oldest": exporting.HISTORY}


def _events(actor: Actor, query: dict[str, str]) -> QuerySet[AuditEvent]:
    """What the actor may read of it, by the filters. Raises Forbidden, InvalidRequest."""
    asked = conditions(query, EVENT_FILTERS)
    permissions.insist_may_read(actor)
    return permissions.visible(actor).filter(asked)


@documented_events
class EventViewSet(ApiViewSet):
    """What happened."""

    query_parameters: ClassVar = {"list": {*PARAMETERS, *EVENT_FILTERS, ORDER}}

    def list(self, request: Request) -> Response:
        """GET /audit/events"""
        query = request.query_params.dict()
        ask = pagination.wanted(query)
        order = _ORDERS.get(query.get(ORDER, "newest"))
        if order is None:
            raise InvalidRequest([(ORDER, f"It must be one of {', '.join(_ORDERS)}.")])
        filters = {name: text for name, text in query.items() if name not in PARAMETERS}
        found = Listed(_events(self.actor, filters), order)
        if order is exporting.HISTORY:
            found = exporting.from_the_oldest(found.rows, filters, self.actor.tenant)
        # A cursor of the feed names another kind of place, and is none of the list by time that it replaced.
        kind = "feed" if found.order is feed.ORDER else "events"
        scope = json.dumps([kind, self.actor.tenant, filter_scope(filters)])
        return Response(
            pagination.page(found.rows, ask, name="events", scope=scope, shapes=events_out, order=found.order)
        )

    def retrieve(self, request: Request, pk: str) -> Response:
        """GET /audit/events/{id}"""
        event_id = read_id(pk)
        permissions.insist_may_read(self.actor)
        return Response(event_out(permissions.find(event_id, self.actor)))


@documented_export
class ExportViewSet(ApiViewSet):
    """The trail as a file."""

    query_parameters: ClassVar = {"list": {*EVENT_FILTERS, "format"}}

    def list(self, request: Request) -> HttpResponseBase:
        """GET /audit/export"""
        query = request.query_params.dict()
        name = query.pop("format", "ndjson")
        if name not in FORMATS:
            raise InvalidRequest([("format", f"It must be one of {', '.join(FORMATS)}.")])
        media_type, written = FORMATS[name]
        found = exporting.from_the_oldest(_events(self.actor, query), query, self.actor.tenant)
        disposition = {"Content-Disposition": f'attachment; filename="audit.{name}"'}
        return StreamingHttpResponse(Export(written(found), self.actor), content_type=media_type, headers=disposition)


@documented_ingest
class IngestViewSet(ApiViewSet):
    """Events of other systems."""

    needed_roles: ClassVar = {"create": (Role.AGENT, Role.OPERATOR)}

    def create(self, request: Request) -> Response:
        """POST /audit/ingest"""
        body = given(read_body(IngestBody, request))
        permissions.insist_may_ingest(self.actor)
        trace_id = body.pop("traceId", None)
        if trace_id is not None and not TRACE_ID.fullmatch(trace_id):
            raise InvalidRequest([("traceId", "It must be 1 to 128 visible ASCII characters.")])
        event = ingesting.ingest(body, trace_id=trace_id, actor=self.actor)
        return Response({"event_id": str(event.id)}, status=202)
