"""The paths of the work."""

from rest_framework.routers import SimpleRouter

from sessions_app.views.approval import ApprovalViewSet
from sessions_app.views.session import SessionViewSet
from sessions_app.views.task import TaskViewSet

router = SimpleRouter(trailing_slash=False)
router.register("sessions", SessionViewSet, basename="session")
router.register("tasks", TaskViewSet, basename="task")
router.register("approvals", ApprovalViewSet, basename="approval")

urlpatterns = router.urls
