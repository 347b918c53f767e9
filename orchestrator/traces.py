"""Which trace a request belongs to: taken from the caller, kept with what the request did, and told in the answer.

W3C Trace Context (https://www.w3.org/TR/trace-context/), of which the trace's id is what is kept.
"""

import re
import secrets
from dataclasses import dataclass

from django.http import HttpRequest

TRACE_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What a trace may be called here. W3C's ids are of this form, and not the other way round."""

# Version 00 has four parts; a later one may have more (section 3.2.2). Two such headers come joined and fit neither.
_PARENT = r"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
_TRACEPARENT = re.compile(rf"00{_PARENT}|(?!00|ff)[0-9a-f]{{2}}{_PARENT}(?:-.*)?")
_W3C_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace's id, our span in it, the caller's span where it named one, and whether the caller samples it."""

    id: str
    span_id: str
    parent_id: str | None = None
    sampled: bool = False

    @property
    def response(self) -> str | None:
        """The header `traceresponse`, in the form of `traceparent`: our span. None where the id is not of W3C's form.

        https://w3c.github.io/trace-context/#traceresponse-header
        """
        return f"00-{self.id}-{self.span_id}-{self.sampled:02x}" if _W3C_ID.fullmatch(self.id) else None


def trace_of(request: HttpRequest) -> Trace:
    """The trace of `X-Trace-Id`, or that of a `traceparent` (section 3.2), or a new one.

    Where they name different ones, the caller's span is none of ours to tell: it belongs to the other.
    """
    named = request.headers.get("X-Trace-Id", "")
    given = named if TRACE_ID.fullmatch(named) else None
    own = secrets.token_hex(8)
    if parent := _TRACEPARENT.fullmatch(request.headers.get("traceparent", "")):
        trace_id, parent_id, flags = parent.groups()[:3] if parent[1] else parent.groups()[3:]
        if given in (None, trace_id):
            return Trace(trace_id, own, parent_id, bool(int(flags, 16) & _SAMPLED))
    return Trace(given or secrets.token_hex(16), own)
