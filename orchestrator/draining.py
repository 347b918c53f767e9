"""A gunicorn worker that leaves nobody in the queue when it stops."""

from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Takes every connection that is made already, then no more.

    gunicorn's own worker keeps the socket open, and takes nothing from it, until its last request is answered; what
    came to the queue meanwhile is reset. A proxy that has sent a request on such a connection cannot tell whether it
    was carried out, and must not send it again. A connection that is refused outright it gives to the next instance.
    See docs/adr/0025.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called with False as the worker begins to stop, and whenever it has its hands full."""
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            self._take_all(listener)
            # The other workers, and a master that goes on, have it open still.
            listener.close()

    def _take_all(self, listener: Any) -> None:
        taken = -1
        while taken != self.nr_conns:
            taken = self.nr_conns
            self.accept(listener)
