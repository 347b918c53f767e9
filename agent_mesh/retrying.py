"""What is tried again, how often, and after which pause."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent_mesh.problems import IN_FLIGHT, Problem

# 502 and 504 are a proxy's word that the service could not be reached.
_PASSING = (429, 502, 503, 504)


@dataclass(frozen=True)
class Retry:
    """Attempts in all, and the pauses between them, in seconds.

    Tried again are connections that failed, a 409 whose first request is still in flight, 429, 502, 503 and 504;
    no other refusal. A pause is a random part of what doubles each time up to a cap ("full jitter"), and never
    shorter than `Retry-After` says; one longer than `patience` is not waited for.
    """

    attempts: int = 3
    first_pause: float = 0.25
    longest_pause: float = 10.0
    patience: float = 60.0
    sleep: Callable[[float], object] = time.sleep

    def is_passing(self, problem: Problem) -> bool:
        """Whether the same request may fare better later."""
        return problem.status in _PASSING or (problem.status == 409 and problem.slug == IN_FLIGHT)

    def pause_before(self, attempt: int, retry_after: float | None = None) -> float | None:
        """Seconds to wait before an attempt, the second being 2; None where it is not to be made."""
        if attempt > self.attempts or (retry_after or 0) > self.patience:
            return None
        longest = min(self.longest_pause, self.first_pause * 2 ** (attempt - 2))
        return (retry_after or 0) + random.uniform(0, longest)  # noqa: S311  it spreads callers; it guards nothing
