"""What the API's document says of the parameters of /tasks."""

from drf_spectacular.types import OpenApiTypes

from sessions_app.models.task import TaskStatus
from sessions_app.serializers.lease import LONGEST_WAIT_SECONDS
from sessions_app.views.list_parameters import id_of, made, page_size, pages, query, status

ID = id_of("task")

FILTERS = [
    status(TaskStatus),
    query("to_role", OpenApiTypes.STR, "The role that is to do it, as it stands."),
    query("target", OpenApiTypes.STR, "The same as `to_role`."),
    query("from_role", OpenApiTypes.STR, "The role that it comes from, as it stands."),
    query("task_type", OpenApiTypes.STR, "The kind of work, as it stands."),
    query("trace_id", OpenApiTypes.STR, "The trace that it belongs to."),
    *made("created", "tasks"),
]
PAGES = [*pages("task"), page_size("limit", "task")]

WAIT = [
    query(
        "wait",
        {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS},
        "For how many seconds to wait while it is at `version`. Where too many wait already it is answered at once,"
        " with `Retry-After`.",
    ),
    query(
        "version",
        {"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
        "The version that the caller has; the present one unless given.",
    ),
]
INCLUDE = query(
    "include",
    {"type": "array", "items": {"type": "string", "enum": ["sessions", "approvals", "attempts"]}, "minItems": 1},
    "What to show beside the task, the newest hundred of each. Such an answer has no ETag.",
    explode=False,
    style="form",
)
