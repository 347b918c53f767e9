"""What is, and what is legal. Nothing here saves."""

from sessions_app.models.approval import Approval
from sessions_app.models.attempt import Attempt
from sessions_app.models.decision import Decision
from sessions_app.models.recorded import Recorded
from sessions_app.models.refusal import RefusalCount
from sessions_app.models.session import Session
from sessions_app.models.task import Task

__all__ = ["Approval", "Attempt", "Decision", "Recorded", "RefusalCount", "Session", "Task"]
