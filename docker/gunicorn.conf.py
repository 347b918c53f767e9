"""gunicorn: the only place that knows ports, workers and threads."""

import os
from pathlib import Path
from threading import Thread
from typing import Any

from orchestrator import metric_files

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8088')}"
"""Where it listens. `make run` and `make demo` take PORT too."""
wsgi_app = "orchestrator.wsgi:application"
worker_class = "orchestrator.serving.ServingWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
"""Processes: one for each core is enough."""
# Few that work answer faster than many: the interpreter lock changes hands at each query. But those that wait for a
# task or an answer only sleep, and half of the threads may.
threads = int(os.environ.get("WEB_THREADS", "4"))
"""Threads of each process. At most half of them wait for something, and a quarter export;
[operations](operations.md#waiting-callers)."""
# An export holds its thread for as long as its reader takes.
raw_env = [
    f"MOST_WAITING={os.environ.get('MOST_WAITING') or threads // 2}",
    f"MAX_EXPORTS={os.environ.get('MAX_EXPORTS') or max(1, threads // 4)}",
]
# Connections of each process, with and without a request. Below 1,024 open files, the usual limit of a process.
worker_connections = 800
# Longer than every timeout of the database's, so that a slow statement ends as an answer and not as a killed worker.
timeout = 30
# As long as the slowest statement and its answer take: what has begun when the service is told to stop is finished.
graceful_timeout = 15
keepalive = 5
# Whatever a library leaks, it leaks for so many requests; with jitter, so that the workers do not start anew together.
max_requests = int(os.environ.get("WEB_MAX_REQUESTS", "20000"))
"""So many requests, or up to a tenth more, and a process is replaced by a new one. 0 is never."""
max_requests_jitter = max_requests // 10
# Each worker says that it lives by touching a file, which on a slow disk would stand in its way.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# A token may have 8 KiB; gunicorn's own limit is just below that.
limit_request_field_size = 16380
control_socket_disable = True
# Who may say that a caller came by https: our own proxies, as in the settings.
forwarded_allow_ips = os.environ.get("TRUSTED_PROXIES") or "127.0.0.1,::1"
# No header of a caller sets SCRIPT_NAME or PATH_INFO, not even from this machine.
forwarder_headers = ""
# The service logs each request itself, with its id and without its query.
accesslog = None
loglevel = "warning"
# What gunicorn itself has to say is of the same form, and says as little of what callers sent.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "orchestrator.logs.JsonFormatter"}},
    "filters": {"unquoted": {"()": "orchestrator.logs.Unquoted"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["unquoted"]}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {"level": "WARNING", "handlers": ["stderr"], "propagate": False}},
}


def on_starting(server: Any) -> None:
    """The workers to come count together, from zero; and the application is loaded before there is one.

    So a new worker serves at once, and not seconds later with callers in its queue that others could have answered. HUP
    renews the workers; new code and other settings take a restart.
    """
    # A master that takes over from another (USR2) leaves alone what the workers of that one count in.
    takes_over = "GUNICORN_PID" in os.environ and metric_files.FOLDER in os.environ
    server.own_metrics = None if takes_over else metric_files.prepare()
    metric_files.count_as(server.pid, "master")
    # gunicorn's own preload_app would load it before this, and the metrics with it.
    server.app.wsgi()


def on_exit(server: Any) -> None:
    """What was made for this run goes with it."""
    if server.own_metrics is not None:
        metric_files.remove(server.own_metrics)


def pre_fork(server: Any, worker: Any) -> None:
    """In the master: the slot that the worker counts in."""
    worker.slot = metric_files.free_slot({other.slot for other in server.WORKERS.values()})


def post_fork(server: Any, worker: Any) -> None:
    """In the worker, before it serves."""
    metric_files.count_as(server.pid, worker.slot)


def child_exit(server: Any, worker: Any) -> None:
    """In the master, once the worker is gone."""
    metric_files.forget(server.pid, worker.slot)


def post_worker_init(worker: Any) -> None:
    """Whoever waits in this worker is woken when it is told to stop. The first worker warns of lost writes."""
    from orchestrator.replication import warn_in_thread  # noqa: PLC0415  Django is ready only now
    from sessions_app.waiting import waiters  # noqa: PLC0415

    if worker.slot == 0:
        # Beside the work: a database that does not answer must not delay the worker.
        Thread(target=warn_in_thread, name="replication", daemon=True).start()
    waiters().stop_when(lambda: not worker.alive)
