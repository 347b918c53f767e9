"""How an attempt ended, and telling it: under one key, for as long as the lease is kept."""

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from agent_mesh.calls.tasks import Tasks
from agent_mesh.connection import new_key
from agent_mesh.keeping import Keeper
from agent_mesh.problems import IN_FLIGHT, NoToken, Refused, Unreachable
from agent_mesh.work import CannotDo, Work

Ending = Callable[[Tasks, str], object]
"""Tells the service, given the calls to do so by and an Idempotency-Key."""

_PASSING = (401, 429, 500, 502, 503, 504)
_NOT_TAKEN = (400, 413)
_LONGEST_PAUSE = 5.0
_PATIENCE = 60.0
_logger = logging.getLogger(__name__)


def completed(work: Work, output: Mapping[str, Any] | None) -> Ending:
    """It is done."""
    return lambda tasks, key: tasks.complete(work.task["task_id"], work.lease_token, output=output, idempotency_key=key)


def failed(work: Work, why: CannotDo) -> Ending:
    """It could not be done."""
    return lambda tasks, key: tasks.fail(
        work.task["task_id"],
        work.lease_token,
        code=why.code[:100],
        message=why.message[:4000],
        retryable=why.retryable,
        idempotency_key=key,
    )


def released(work: Work) -> Ending:
    """Somebody else may have it; one that was called off is cancelled by this."""
    return lambda tasks, key: tasks.release(work.task["task_id"], work.lease_token, idempotency_key=key)


def tell(work: Work, keeper: Keeper, ending: Ending) -> None:
    """Until the service has taken it, or the lease is gone: what was done outlasts a service that restarts.

    An output that cannot be sent, or that the service will not have, fails the task instead. Where the lease is gone
    after an attempt, that may be because it was taken and its answer got lost: one more attempt hears the last word.
    """
    task_id, key, failures, is_fit = work.task["task_id"], new_key(), 0, True
    gone = work.lost
    while not gone:
        gone, after = failures > 0 and work.lost, 0.0
        try:
            keeper.instead(lambda tasks: ending(tasks, key))  # noqa: B023  it is called at once
        except (Unreachable, NoToken) as error:
            _logger.warning("The end of task %s cannot be told yet: %s", task_id, error)
        except Refused as refusal:
            if refusal.status in _NOT_TAKEN and is_fit:
                ending, key, is_fit = failed(work, CannotDo("output-refused", str(refusal))), new_key(), False
            elif refusal.status not in _PASSING and refusal.slug != IN_FLIGHT:
                _logger.warning("The end of task %s is not taken: %s", task_id, refusal)
                return
            else:
                _logger.warning("The end of task %s cannot be told yet: %s", task_id, refusal)
                after = min(_PATIENCE, refusal.problem.retry_after or 0.0)
        except (TypeError, ValueError) as error:
            why = CannotDo("output-refused", f"The output is no JSON: {error}")
            ending, key, is_fit = failed(work, why), new_key(), False
        else:
            return
        failures += 1
        time.sleep(max(after, random.uniform(0.5, 1) * min(_LONGEST_PAUSE, 0.25 * 2**failures)))  # noqa: S311
    _logger.warning("Task %s is no longer this worker's.", task_id)
