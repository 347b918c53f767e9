"""The paths of the trail."""

from rest_framework.routers import SimpleRouter

from audit_app.views import EventViewSet, ExportViewSet, IngestViewSet

router = SimpleRouter(trailing_slash=False)
router.register("events", EventViewSet, basename="event")
router.register("export", ExportViewSet, basename="export")
router.register("ingest", IngestViewSet, basename="ingest")

urlpatterns = router.urls
