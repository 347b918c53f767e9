"""Logs as JSON, a line each, with the request's id. What is logged says what it is about; nothing is ambient."""

from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger


def _named_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Whoever logs passes the whole request along: only its names go into the log, never its query, headers or body."""
    request = event.pop("request", None)
    return {**getattr(request, "log_names", {}), **event}


def _without_rows(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """PostgreSQL adds the failing row to some errors, as DETAIL or CONTEXT: what is in a row does not go into a log."""
    if isinstance(told := event.get("exception"), str):
        lines = (line for line in told.splitlines() if not line.lstrip().startswith(("DETAIL:", "CONTEXT:")))
        event["exception"] = "\n".join(lines)
    return event


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """One JSON object a line: timestamp, level, logger, event, and what was passed as `extra`."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.ExtraAdder(),
                _named_request,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_rows,
                structlog.processors.JSONRenderer(),
            ],
        )
