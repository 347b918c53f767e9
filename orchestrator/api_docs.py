"""/api-docs: the document of the API, and Swagger UI to read and try it."""

from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import openapi
from orchestrator.problem_responses import reads_only
from orchestrator.views import ApiView

# Scripts, styles and the document come from here alone; Swagger UI draws its icons from data URLs.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@reads_only
def document(request: HttpRequest) -> HttpResponse:
    """GET /api-docs/openapi.json"""
    return HttpResponse(openapi.document(), content_type="application/json")


class Page(SpectacularSwaggerSplitView):
    """GET /api-docs: Swagger UI, its script apart from the page, so that no script stands in it."""

    url = "/api-docs/openapi.json"
    template_name = "orchestrator/api_docs.html"
    options = ApiView.options  # type: ignore[assignment]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """The page, or with `?script` what starts it."""
        answer: Response = super().get(request)  # type: ignore[no-untyped-call]
        answer["Content-Security-Policy"] = _CSP
        return answer
