"""Every path of the service, and what answers where none does."""

from django.urls import include, path

from orchestrator import health, problem_pages, problem_responses

urlpatterns = [
    path("", health.index),
    path("status", health.status),
    path("health", health.health),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("problems", problem_pages.index),
    path("problems/<slug:slug>", problem_pages.page),
    path("", include("sessions_app.urls")),
]

handler400 = problem_responses.bad_request
handler403 = problem_responses.permission_denied
handler404 = problem_responses.not_found
handler500 = problem_responses.server_error
