"""How a command ends: exit codes that scripts can tell apart."""

from agent_mesh.environment import Unusable
from agent_mesh.problems import MeshError, NoToken, Refused

REFUSED, WRONG_USE, AWAY, NOT_FOUND, NO_TOKEN, ENDED_OTHERWISE, TIME_UP, NEEDS_APPROVAL = 1, 2, 3, 4, 5, 6, 7, 8

_BY_STATUS = {400: WRONG_USE, 401: NO_TOKEN, 404: NOT_FOUND, 429: AWAY}


def code(error: MeshError | Unusable) -> int:
    """By what went wrong: 1 refused, 2 wrong use, 3 the service is away, 4 no such thing, 5 no good token."""
    if isinstance(error, Unusable):
        return WRONG_USE
    if isinstance(error, NoToken):
        return NO_TOKEN
    if isinstance(error, Refused):
        return _BY_STATUS.get(error.status, AWAY if error.status >= 500 else REFUSED)
    return AWAY
