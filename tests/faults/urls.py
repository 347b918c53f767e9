"""The service's paths, and one that opens a session in a second."""

import time

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import urls
from sessions_app.views.session import SessionViewSet

SLOW_SECONDS = 1.0


class SlowSessions(SessionViewSet):
    """Takes its time, holding its transaction open as work does that is slow."""

    def create(self, request: Request) -> Response:
        answer = super().create(request)
        time.sleep(SLOW_SECONDS)
        return answer


urlpatterns = [path("slow/sessions", SlowSessions.as_view({"post": "create"})), *urls.urlpatterns]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
