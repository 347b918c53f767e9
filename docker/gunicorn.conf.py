"""gunicorn: the only place that knows ports, workers and threads."""

import os
from typing import Any

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8088')}"
wsgi_app = "orchestrator.wsgi:application"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Few that work answer faster than many: the interpreter lock changes hands at each query. But those that wait for a
# task or an answer only sleep, and half of the threads may.
threads = int(os.environ.get("WEB_THREADS", "4"))
raw_env = [f"MOST_WAITING={threads // 2}"]
# Longer than every timeout of the database's, so that a slow statement ends as an answer and not as a killed worker.
timeout = 30
graceful_timeout = 5
keepalive = 5
# A token may have 8 KiB; gunicorn's own limit is just below that.
limit_request_field_size = 16380
control_socket_disable = True
# No header of a caller sets SCRIPT_NAME or PATH_INFO, not even from this machine.
forwarder_headers = ""
# The service logs each request itself, with its id and without its query.
accesslog = None
errorlog = "-"
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """Whoever waits in this worker is woken when it is told to stop."""
    from sessions_app.waiting import waiters  # noqa: PLC0415  Django is ready only now

    waiters().stop_when(lambda: not worker.alive)
