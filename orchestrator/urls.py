"""Every path of the service, and what answers where none does."""

from django.urls import include, path

from orchestrator import api_docs, health, problem_pages, problem_responses, scraping
from orchestrator.admin.site import site
from orchestrator.people.login import Logout

urlpatterns = [
    path("", health.index),
    path("status", health.status),
    path("health", health.health),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", scraping.metrics),
    path("problems", problem_pages.index),
    path("problems/<slug:slug>", problem_pages.page),
    path("api-docs", api_docs.Page.as_view()),
    path("api-docs/openapi.json", api_docs.document),
    path("admin/logout/", Logout.as_view()),
    path("admin/", site.urls),
    path("oidc/", include("orchestrator.people.urls")),
    path("audit/", include("audit_app.urls")),
    path("", include("sessions_app.urls")),
]

handler400 = problem_responses.bad_request
handler403 = problem_responses.permission_denied
handler404 = problem_responses.not_found
handler500 = problem_responses.server_error
