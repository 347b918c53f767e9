"""Logs as JSON, a line each, with the request's id. What is logged says what it is about; nothing is ambient."""

import logging
import re
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


_QUOTED = {
    # A request line with its query, or a header that was one's credential until a colon was forgotten.
    "Invalid request": re.compile(r":?\s*b?['\"].*", re.DOTALL),
    # A path with its query.
    "Error handling request": re.compile(r"\?.*", re.DOTALL),
}


class Unquoted(logging.Filter):
    """gunicorn quotes the requests that it cannot read. What it found wrong is kept, and what it quotes is not."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, cut short where it has to be."""
        told = record.getMessage()
        for beginning, quoted in _QUOTED.items():
            if told.startswith(beginning):
                record.msg, record.args = quoted.sub("", told, count=1), ()
        return True


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
